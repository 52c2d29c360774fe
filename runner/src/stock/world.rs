//! What the inputs of a project's fixtures are, here and now.
//!
//! Input: the configuration, this machine, the agent that boots get. Output: the cache's [`ProjectWorld`].
//! Not here: which of these inputs a fixture has; its build notes that.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use provium_cache::{Digest, FixtureError, HostIdentity, ProfileInputs, ProjectFiles, ProjectWorld, Store};
use provium_guest::{NOTE_VERSION, agent_archive, modules_archive};
use provium_vmm::HostModel;
use provium_vmm::snapshot::FORMAT_VERSION;

use crate::config::{Config, Profile, WallClock};

/// The world of a project, whose files' digests `store` remembers.
///
/// # Errors
/// When the project's folders cannot be searched for fixtures.
pub(super) fn project_world(config: &Config, store: &Store) -> Result<ProjectWorld, FixtureError> {
    let agent = Digest::of(agent_archive());
    ProjectWorld::new(
        project_files(config),
        agent,
        this_machine(),
        Arc::clone(store.digests()),
    )
}

/// What of the configuration can be an input of a fixture.
fn project_files(config: &Config) -> ProjectFiles {
    let profiles = config.profiles.iter();
    ProjectFiles {
        project: config.project.clone(),
        roots: config.roots.clone(),
        cache_dir: config.cache_dir.clone(),
        profiles: profiles
            .map(|(name, profile)| (name.clone(), profile_inputs(profile)))
            .collect(),
    }
}

/// All of a profile that a guest can see; a key that `Profile` gains belongs in here.
fn profile_inputs(profile: &Profile) -> ProfileInputs {
    let mut settings = vec![
        profile.guest.cmdline.clone().into_bytes(),
        profile.guest.memory.to_le_bytes().to_vec(),
        vec![profile.guest.cpus],
        vec![u8::from(profile.guest.wall_clock == WallClock::Kept)],
    ];
    // Their images are inputs of their own, of whoever boots with them.
    settings.extend(profile.guest.disks.iter().map(|disk| {
        let flags = [u8::from(disk.readonly), u8::from(disk.image.is_some())];
        let size = disk.size.unwrap_or(0).to_le_bytes();
        [&flags[..], &size, disk.id.as_bytes()].concat()
    }));
    // What is in a shared folder is declared by whoever reads it, or changes with the guest running.
    settings.extend(profile.guest.shares.iter().map(|share| {
        let host = share.host.as_os_str().as_bytes();
        [
            share.mode.word().as_bytes(),
            b" ",
            share.guest.as_bytes(),
            b"\0",
            host,
        ]
        .concat()
    }));
    if let Some(folder) = profile.guest.modules() {
        settings.push(match modules_archive(&folder) {
            Ok(archive) => Digest::of(&archive).as_bytes().to_vec(),
            // A boot says so.
            Err(error) => error.to_string().into_bytes(),
        });
        settings.push(b"all of them at /lib/modules".to_vec());
    }
    if profile.guest.host_root {
        settings.push(host_root_state());
    }
    ProfileInputs {
        kernel: profile.guest.kernel.clone(),
        initrd: profile.guest.initrd.clone(),
        rootfs: profile.guest.rootfs.clone(),
        agent: profile.guest.inject_agent,
        settings,
    }
}

/// What changes when programs are installed on this machine, whose root guests have: files of its release and
/// of its package managers, by size and time.
fn host_root_state() -> Vec<u8> {
    const FILES: [&str; 6] = [
        "/etc/os-release",
        "/var/lib/dpkg/status",
        "/var/lib/rpm/rpmdb.sqlite",
        "/usr/lib/sysimage/rpm/rpmdb.sqlite",
        "/var/lib/pacman/local",
        "/lib/apk/db/installed",
    ];
    let state = FILES.iter().map(|path| match std::fs::metadata(path) {
        Ok(found) => format!("{path} {} {}.{}", found.len(), found.mtime(), found.mtime_nsec()),
        Err(_) => path.to_string(),
    });
    state.collect::<Vec<_>>().join("\n").into_bytes()
}

/// What this machine adds to every fixture's key.
fn this_machine() -> HostIdentity {
    HostIdentity {
        // A host without KVM can list fixtures and build none.
        cpu_model: HostModel::of_this_host()
            .map_or_else(|error| error.to_string(), |model| model.to_string()),
        snapshot_format: format!("{FORMAT_VERSION}.{NOTE_VERSION}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn disks_of_a_profile_are_inputs() {
        let settings = |disks: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let toml = format!("[profiles.p]\nkernel = 'k'\ncmdline = 'q'\n{disks}");
            std::fs::write(folder.path().join("provium.toml"), toml).expect("a file");
            let config = Config::load(None, folder.path(), &[], &Environment::default());
            profile_inputs(&config.expect("a good file").profiles["p"]).settings
        };
        let disk = |keys: &str| settings(&format!("[[profiles.p.disks]]\n{keys}"));
        let all = [
            settings(""),
            disk("path = 'x'"),
            disk("scratch = 512"),
            disk("scratch = 1024"),
            disk("scratch = 512\nid = 'a'"),
            disk("scratch = 512\nreadonly = true"),
            disk("scratch = 512\n[[profiles.p.disks]]\nscratch = 512"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}: {one:?}");
        }
    }

    #[test]
    fn what_is_loaded_of_a_kernels_modules_is_an_input() {
        let settings = |content: Option<&str>| {
            let folder = tempfile::tempdir().expect("a folder");
            let toml = "[profiles.p]\nkernel = 'k'\ncmdline = 'q'\nmodules = '6.1-x'\n";
            std::fs::write(folder.path().join("provium.toml"), toml).expect("a file");
            let drivers = folder.path().join("6.1-x/kernel");
            std::fs::create_dir_all(&drivers).expect("a folder");
            if let Some(content) = content {
                std::fs::write(drivers.join("virtio_mmio.ko"), content).expect("a file");
            }
            let config = Config::load(None, folder.path(), &[], &Environment::default());
            profile_inputs(&config.expect("a good file").profiles["p"]).settings
        };
        let all = [settings(None), settings(Some("one")), settings(Some("other"))];
        assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
        assert_eq!(all[1], settings(Some("one")));
    }
}
