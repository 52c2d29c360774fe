//! What the inputs of a project's fixtures are, here and now.
//!
//! Input: the configuration, this machine, the agent that boots get. Output: the cache's [`ProjectWorld`].
//! Not here: which of these inputs a fixture has; its build notes that.

use std::sync::Arc;

use provium_cache::{Digest, FixtureError, HostIdentity, ProfileInputs, ProjectFiles, ProjectWorld, Store};
use provium_guest::{NOTE_VERSION, agent_archive};
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
    ProfileInputs {
        kernel: profile.kernel.clone(),
        initrd: profile.initrd.clone(),
        rootfs: profile.rootfs.clone(),
        agent: profile.inject_agent,
        settings: vec![
            profile.cmdline.clone().into_bytes(),
            profile.memory.to_le_bytes().to_vec(),
            vec![profile.cpus],
            vec![u8::from(profile.wall_clock == WallClock::Kept)],
        ],
    }
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
