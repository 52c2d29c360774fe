//! A profile: which kernel, with what, a guest boots.
//!
//! Input: a `[profiles.NAME]` section. Output: a [`Profile`]; a key that is absent comes from the profile
//! that `inherits` names, else from the default. Not here: reading or booting what it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use provium_base::cause::Cause;
use provium_base::initrd;
use provium_base::modules;
use provium_base::nearest::nearest;
use provium_debian::guest;
use provium_guest::{DiskOption, GuestSpec, WallClock};
use provium_vmm::host_file;

use super::disks::{self, RawDisk};
use super::out::{Build, Folders, Out, Sources};
use super::shares::{self, RawShare};
use super::table::{Located, Section};
use super::{ConfigError, MEMORY_DEFAULT, check_cpus, check_memory};

/// Every key of a profile.
pub(super) const KEYS: &[&str] = &[
    "build",
    "build_out",
    "cmdline",
    "cmdline_file",
    "cpus",
    "debuginfo",
    "disks",
    "inherits",
    "initrd",
    "inject_agent",
    "kernel",
    "memory",
    "modules",
    "rootfs",
    "shares",
    "tree",
    "wall_clock",
];

/// What a guest boots; a VM can override memory, vCPUs and the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What a VM of the profile boots where its options say nothing; every path is absolute, and the command
    /// line is the content of `cmdline_file`, if any, then `cmdline`.
    pub guest: GuestSpec,
    /// Files with debug information of the kernel and of modules; every path is absolute.
    pub debuginfo: Vec<PathBuf>,
    /// What makes the kernel, if anything.
    pub build: Option<Build>,
    /// Line of each key that names a file.
    pub(crate) lines: BTreeMap<&'static str, usize>,
    /// Line of each disk.
    pub(crate) disk_lines: Vec<usize>,
    /// Line of each shared folder.
    pub(crate) share_lines: Vec<usize>,
}

impl Profile {
    /// A profile that no file has, named by whoever makes it.
    pub fn of_guest(name: &str, guest: GuestSpec) -> Profile {
        Profile {
            name: name.to_owned(),
            guest,
            debuginfo: Vec::new(),
            build: None,
            lines: BTreeMap::new(),
            disk_lines: Vec::new(),
            share_lines: Vec::new(),
        }
    }

    /// Checks that what it boots is there.
    pub(super) fn check_files(&self, shown: &str) -> Result<(), ConfigError> {
        let files = [
            ("kernel", Some(&self.guest.kernel)),
            ("initrd", self.guest.initrd.as_ref()),
            ("rootfs", self.guest.rootfs.as_ref()),
            ("modules", self.guest.modules.as_ref()),
        ];
        let line = |key| self.lines.get(key).copied();
        let files = files.into_iter().map(|(key, path)| (key, path, line(key)));
        let images = self.guest.disks.iter().zip(&self.disk_lines);
        let images = images.map(|(disk, line)| ("disks", disk.image.as_ref(), Some(*line)));
        let debuginfo = self.debuginfo.iter();
        let debuginfo = debuginfo.map(|path| ("debuginfo", Some(path), line("debuginfo")));
        let named = files.chain(images).chain(debuginfo);
        for (key, path, line) in named.filter_map(|(key, path, line)| Some((key, path?, line))) {
            let problem = match std::fs::metadata(path) {
                // Without the agent, it may be a file system that the kernel is told of.
                Ok(metadata) if metadata.is_file() && key == "initrd" && self.guest.inject_agent => {
                    match initrd::problem(path) {
                        Ok(None) => continue,
                        Ok(Some(problem)) => problem.to_owned(),
                        Err(error) => format!("cannot be read: {}", Cause(&error)),
                    }
                }
                Ok(metadata) if metadata.is_file() => continue,
                Ok(metadata) if key == "rootfs" && metadata.is_dir() => continue,
                Ok(metadata) if key == "modules" => match metadata.is_dir() && path.join("kernel").is_dir()
                    || modules::version_of_tree(path).is_some()
                {
                    true => continue,
                    false => "is neither a folder of modules, which has the kernel's version as its name and `kernel` in it, nor a build tree"
                        .to_owned(),
                },
                Ok(_) if key == "rootfs" => "is neither a disk image nor a folder".to_owned(),
                Ok(_) => "is not a file".to_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
                Err(error) => format!("cannot be used: {}", Cause(&error)),
            };
            let hint = match guest::hint(path) {
                _ if path.exists() => String::new(),
                Some(hint) => format!("; {hint}"),
                None if self.build.is_some() => " (and `build` did not make it)".to_owned(),
                None => String::new(),
            };
            let message = format!(
                "`{key}` in [profiles.{}]: {} {problem}{hint}",
                self.name,
                path.display()
            );
            return Err(ConfigError::at(shown, line, message));
        }
        shares::check(&self.guest.shares, &self.share_lines, &self.name, shown)
    }
}

/// A profile as it is written: every key may be absent.
#[derive(Debug, Clone, Default)]
pub(super) struct RawProfile {
    pub(super) header_line: usize,
    inherits: Option<Located<String>>,
    pub(super) kernel: Option<Located<PathBuf>>,
    initrd: Option<Located<PathBuf>>,
    rootfs: Option<Located<PathBuf>>,
    modules: Option<Located<PathBuf>>,
    /// Whether that is this machine's own root.
    host_root: Option<bool>,
    cmdline: Option<Located<String>>,
    cmdline_file: Option<Located<PathBuf>>,
    memory: Option<u64>,
    cpus: Option<u8>,
    debuginfo: Option<Located<Vec<PathBuf>>>,
    disks: Option<Vec<RawDisk>>,
    inject_agent: Option<bool>,
    shares: Option<Vec<RawShare>>,
    wall_clock: Option<WallClock>,
    /// The command, and the profile that says it.
    build: Option<(Located<String>, String)>,
    build_out: Option<Located<PathBuf>>,
    tree: Option<Located<PathBuf>>,
}

impl RawProfile {
    /// The profile `name` as its section has it.
    pub(super) fn read(name: &str, section: &Section<'_, '_>) -> Result<RawProfile, ConfigError> {
        section.allow(KEYS)?;
        let memory = match section.size("memory")? {
            None => None,
            Some(size) => Some(
                check_memory(size.value).map_err(|what| section.mistake_at(size.line, "memory", &what))?,
            ),
        };
        let cpus = match section.integer("cpus")? {
            None => None,
            Some(cpus) => {
                Some(check_cpus(cpus.value).map_err(|what| section.mistake_at(cpus.line, "cpus", &what))?)
            }
        };
        let wall_clock = match section.string("wall_clock")? {
            None => None,
            Some(word) => Some(match word.value.as_str() {
                "corrected" => WallClock::Corrected,
                "kept" => WallClock::Kept,
                other => {
                    let what = format!("`{other}` is neither `corrected` nor `kept`");
                    return Err(section.mistake_at(word.line, "wall_clock", &what));
                }
            }),
        };
        let cmdline = section.string("cmdline")?;
        if let Some(cmdline) = cmdline.as_ref().filter(|cmdline| cmdline.value.trim().is_empty()) {
            return Err(section.mistake_at(
                cmdline.line,
                "cmdline",
                "must not be empty; `quiet` is a good start",
            ));
        }
        Ok(RawProfile {
            header_line: section.doc.line(&section.span),
            inherits: section.string("inherits")?,
            kernel: section.path_or_guest("kernel", |guest| guest.kernel)?,
            initrd: section.path_or_guest("initrd", |guest| guest.initrd)?,
            rootfs: section.path_or_guest("rootfs", |guest| guest.rootfs)?,
            modules: section.path("modules")?,
            host_root: shares::is_host_root(section)?,
            cmdline,
            cmdline_file: section.path("cmdline_file")?,
            memory,
            cpus,
            debuginfo: section.path_or_paths("debuginfo")?,
            disks: disks::read(section)?,
            shares: shares::read(section)?,
            inject_agent: section.boolean("inject_agent")?.map(|value| value.value),
            wall_clock,
            build: section.string("build")?.map(|build| (build, name.to_owned())),
            build_out: section.path("build_out")?,
            tree: section.path("tree")?,
        })
    }

    /// Takes what is absent here from `base`.
    fn or(self, base: RawProfile) -> RawProfile {
        RawProfile {
            header_line: self.header_line,
            inherits: None,
            kernel: self.kernel.or(base.kernel),
            initrd: self.initrd.or(base.initrd),
            host_root: self.host_root.or(base.host_root),
            rootfs: self.rootfs.or(base.rootfs),
            modules: self.modules.or(base.modules),
            cmdline: self.cmdline.or(base.cmdline),
            cmdline_file: self.cmdline_file.or(base.cmdline_file),
            memory: self.memory.or(base.memory),
            cpus: self.cpus.or(base.cpus),
            debuginfo: self.debuginfo.or(base.debuginfo),
            disks: self.disks.or(base.disks),
            shares: self.shares.or(base.shares),
            inject_agent: self.inject_agent.or(base.inject_agent),
            wall_clock: self.wall_clock.or(base.wall_clock),
            build: self.build.or(base.build),
            build_out: self.build_out.or(base.build_out),
            tree: self.tree.or(base.tree),
        }
    }

    fn resolve(
        self,
        name: &str,
        shown: &str,
        dir: &Path,
        sources: Option<&Sources>,
    ) -> Result<Profile, ConfigError> {
        let missing = |key: &str| {
            ConfigError::at(
                shown,
                Some(self.header_line),
                format!("[profiles.{name}] needs the key `{key}`"),
            )
        };
        let kernel = self.kernel.ok_or_else(|| missing("kernel"))?;
        let cmdline = self.cmdline.ok_or_else(|| missing("cmdline"))?;
        let folders = Folders {
            build: self.build,
            out: self.build_out,
            tree: self.tree,
        };
        let out = Out::new(name, shown, dir, &folders, sources)?;
        let path = |key, path: Option<Located<PathBuf>>| path.map(|path| out.expand(key, path)).transpose();
        let kernel = out.expand("kernel", kernel)?;
        let (initrd, rootfs) = (path("initrd", self.initrd)?, path("rootfs", self.rootfs)?);
        let modules = path("modules", self.modules)?;
        let mut lines = BTreeMap::from([("kernel", kernel.line)]);
        lines.extend(initrd.as_ref().map(|initrd| ("initrd", initrd.line)));
        lines.extend(modules.as_ref().map(|modules| ("modules", modules.line)));
        lines.extend(rootfs.as_ref().map(|rootfs| ("rootfs", rootfs.line)));
        let mut debuginfo = Vec::new();
        if let Some(Located { value, line }) = self.debuginfo {
            lines.insert("debuginfo", line);
            for value in value {
                debuginfo.push(out.expand("debuginfo", Located { value, line })?.value);
            }
        }
        let cmdline_file = match path("cmdline_file", self.cmdline_file)? {
            None => None,
            Some(file) => Some(read_cmdline(&file.value).map_err(|error| {
                let shown_file = file.value.display();
                let message = format!(
                    "`cmdline_file` in [profiles.{name}]: cannot read {shown_file}: {}",
                    Cause(&error)
                );
                ConfigError::at(shown, Some(file.line), message)
            })?),
        };
        let (mut disks, mut disk_lines) = (Vec::new(), Vec::new());
        for disk in self.disks.unwrap_or_default() {
            disk_lines.push(disk.line);
            let image = path("path", disk.image)?.map(|image| image.value);
            disks.push(DiskOption { image, ..disk.option });
        }
        let (shares, share_lines) = shares::expand(self.shares.unwrap_or_default(), &out)?;
        let host_root = self.host_root.unwrap_or_default();
        let build = folders.build.as_ref().map(|(build, _)| out.build(&build.value));
        let words = cmdline_file
            .iter()
            .map(String::as_str)
            .chain([cmdline.value.trim()]);
        Ok(Profile {
            name: name.to_owned(),
            guest: GuestSpec {
                kernel: kernel.value,
                initrd: initrd.map(|initrd| initrd.value),
                rootfs: rootfs.filter(|_| !host_root).map(|rootfs| rootfs.value),
                host_root,
                modules: modules.map(|modules| modules.value),
                cmdline: words
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(" "),
                memory: self.memory.unwrap_or(MEMORY_DEFAULT),
                cpus: self.cpus.unwrap_or(1),
                disks,
                shares,
                inject_agent: self.inject_agent.unwrap_or(true),
                wall_clock: self.wall_clock.unwrap_or_default(),
            },
            debuginfo,
            build,
            lines,
            disk_lines,
            share_lines,
        })
    }
}

/// Resolves `inherits` and the defaults of all profiles.
pub(super) fn resolve(
    raw: &BTreeMap<String, RawProfile>,
    shown: &str,
    dir: &Path,
    sources: Option<&Sources>,
) -> Result<BTreeMap<String, Profile>, ConfigError> {
    let mut profiles = BTreeMap::new();
    for name in raw.keys() {
        let merged = inherited(raw, name, shown, &mut Vec::new())?;
        profiles.insert(name.clone(), merged.resolve(name, shown, dir, sources)?);
    }
    Ok(profiles)
}

/// The profile with everything it inherits; `seen` is the chain that led here.
fn inherited(
    raw: &BTreeMap<String, RawProfile>,
    name: &str,
    shown: &str,
    seen: &mut Vec<String>,
) -> Result<RawProfile, ConfigError> {
    let profile = raw[name].clone();
    seen.push(name.to_owned());
    let Some(base) = profile.inherits.clone() else {
        return Ok(profile);
    };
    let mistake = |what: String| {
        ConfigError::at(
            shown,
            Some(base.line),
            format!("`inherits` in [profiles.{name}]: {what}"),
        )
    };
    if seen.contains(&base.value) {
        return Err(mistake(format!(
            "a circle, {} -> {}",
            seen.join(" -> "),
            base.value
        )));
    }
    if !raw.contains_key(&base.value) {
        let hint = match nearest(&base.value, raw.keys().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        return Err(mistake(format!("there is no profile `{}`{hint}", base.value)));
    }
    Ok(profile.or(inherited(raw, &base.value, shown, seen)?))
}

/// The file's words on one line.
fn read_cmdline(path: &Path) -> std::io::Result<String> {
    Ok(host_file::read_to_string(path)?
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" "))
}
