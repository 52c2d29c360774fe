//! What `provium run` boots: a profile, a kernel alone, or a fixture.
//!
//! Input: the arguments, `provium.toml` where there is one. Output: a configuration that has the profile, and
//! its name. Not here: booting it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use provium_base::initrd;
use provium_base::kernel::{IN_TREE, image_in};
use provium_debian::guest::{self, DebianGuest};
use provium_guest::GuestSpec;

use super::{busybox, shared};
use crate::cli::args::GuestRunArgs;
use crate::cli::project::{Project, configuration};
use crate::config::{Config, HOST_ROOT, Profile};

/// The profile of a guest that no profile describes.
const NAME: &str = "run";

/// What is booted.
pub(super) struct Chosen {
    pub(super) project: Project,
    /// The profile that boots; a fixture has its own.
    pub(super) profile: Option<Profile>,
}

impl Chosen {
    /// What the arguments mean.
    ///
    /// # Errors
    /// What is not there, or is not enough, and what to write.
    pub(super) fn of(args: &GuestRunArgs) -> Result<Chosen> {
        let cwd = std::env::current_dir().context("the current folder cannot be used")?;
        let config = configuration(args.config.as_deref(), &cwd, &[], None, Vec::new(), None);
        let config = config.map_err(|error| anyhow!(error))?;
        if args.fixture.is_some() {
            let config = Arc::new(config);
            return Ok(Chosen {
                project: Project { cwd, config },
                profile: None,
            });
        }
        let mut profile = profile(args, &config, &cwd)?;
        change(&mut profile, args, &cwd)?;
        let config = Config {
            profiles: [(profile.name.clone(), profile.clone())].into(),
            ..config
        };
        Ok(Chosen {
            project: Project {
                cwd,
                config: Arc::new(config),
            },
            profile: Some(profile),
        })
    }

    /// Whether the project's cache holds what is booted, or is to hold it.
    pub(super) fn needs_the_cache(&self) -> bool {
        let of_profile = |profile: &Profile| profile.guest.rootfs.as_deref().is_some_and(Path::is_dir);
        self.profile.as_ref().is_none_or(of_profile)
    }

    /// Checks that what the configuration names is there, once it was built.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn check(&self) -> Result<()> {
        match &self.profile {
            Some(profile) => Ok(self.project.config.check_profile(profile)?),
            None => Ok(self.project.config.check_files()?),
        }
    }
}

/// The ready guest's files.
fn ready() -> Result<DebianGuest> {
    Ok(DebianGuest::at(&provium_debian::cache::base()?))
}

/// The profile that is named, or the only one, or one of a kernel alone; the ready guest's where there is
/// nothing to choose from.
fn profile(args: &GuestRunArgs, config: &Config, cwd: &Path) -> Result<Profile> {
    if let Some(name) = &args.profile {
        return Ok(config.profile(name).map_err(anyhow::Error::msg)?.clone());
    }
    if let Some(given) = &args.kernel {
        let mut guest = GuestSpec::new(kernel(given, cwd)?);
        if given.as_os_str() == guest::NAME {
            guest.initrd = Some(ready()?.initrd);
        }
        return Ok(Profile::of_guest(NAME, guest));
    }
    let mut profiles = config.profiles.values();
    match (profiles.next(), profiles.next()) {
        (Some(only), None) => Ok(only.clone()),
        (Some(_), Some(_)) => {
            let names: Vec<_> = config.profiles.keys().map(String::as_str).collect();
            bail!("which profile? There are {}", names.join(", "))
        }
        (None, _) => {
            let ready = ready()?;
            if !ready.kernel.is_file() {
                bail!(
                    "what is to boot? Give a kernel or a build tree (-k bzImage, -k .), or a profile of a provium.toml; \
                     or type `provium guest fetch` once, whose kernel is taken where nothing is given"
                );
            }
            let mut guest = GuestSpec::new(ready.kernel);
            guest.initrd = Some(ready.initrd);
            Ok(Profile::of_guest(NAME, guest))
        }
    }
}

/// Puts in what the arguments say in place of the profile.
fn change(profile: &mut Profile, args: &GuestRunArgs, cwd: &Path) -> Result<()> {
    let guest = &mut profile.guest;
    if let Some(given) = &args.kernel {
        guest.kernel = kernel(given, cwd)?;
        // What would be built is not what boots.
        profile.build = None;
    }
    if let Some(rootfs) = &args.rootfs {
        guest.host_root = rootfs.as_os_str() == HOST_ROOT;
        guest.rootfs = match guest.host_root {
            true => None,
            false => Some(present(rootfs, "--rootfs", cwd, |ready| ready.rootfs)?),
        };
    }
    guest
        .shares
        .extend(shared::folders(&args.share, guest.host_root, cwd)?);
    if let Some(given) = &args.initrd {
        let path = present(given, "--initrd", cwd, |ready| ready.initrd)?;
        if path.is_dir() {
            bail!(
                "--initrd: {} is a folder; --rootfs takes folders",
                given.display()
            );
        }
        if guest.inject_agent
            && let Some(problem) = initrd::problem(&path).with_context(|| given.display().to_string())?
        {
            bail!("--initrd: {} {problem}", given.display());
        }
        guest.initrd = Some(path);
    }
    if !guest.inject_agent {
        bail!(
            "profile `{}` has `inject_agent = false`: without the agent there is nobody who runs the command",
            profile.name
        );
    }
    if guest.initrd.is_none() && guest.rootfs.is_none() && !guest.host_root {
        guest.initrd = Some(busybox::initrd(&provium_debian::cache::base()?.join("provium"))?);
    }
    guest.memory = args.memory.unwrap_or(guest.memory);
    guest.cpus = args.cpus.unwrap_or(guest.cpus);
    let mut words = vec![guest.cmdline.as_str()];
    if args.console {
        // The last of these holds, whatever the profile says.
        words.push("loglevel=7");
    }
    words.extend(args.append.iter().map(String::as_str));
    guest.cmdline = words.join(" ");
    Ok(())
}

/// The kernel that a file or a build tree is.
fn kernel(given: &Path, cwd: &Path) -> Result<PathBuf> {
    let path = present(given, "--kernel", cwd, |ready| ready.kernel)?;
    if !path.is_dir() {
        return Ok(path);
    }
    image_in(&path).ok_or_else(|| {
        anyhow!(
            "--kernel: {} is a folder without {}; build the kernel first (make bzImage)",
            given.display(),
            IN_TREE.join(", ")
        )
    })
}

/// The absolute path of what a flag names: `of` the ready guest where it names that.
fn present(given: &Path, flag: &str, cwd: &Path, of: fn(DebianGuest) -> PathBuf) -> Result<PathBuf> {
    let path = match given.as_os_str() == guest::NAME {
        true => of(ready()?),
        false => cwd.join(given),
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => Ok(path),
        Ok(_) => bail!("{flag}: {} is neither a file nor a folder", given.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let hint = guest::hint(&path).map(|hint| format!("; {hint}"));
            bail!(
                "{flag}: {} does not exist{}",
                given.display(),
                hint.unwrap_or_default()
            )
        }
        Err(error) => Err(error).with_context(|| format!("{flag}: {}", given.display())),
    }
}
