//! From a request to the shape of a QEMU and to what is run in it.
//!
//! Input: an [`EmulatedRun`], this process's identity and limits. Output: a [`Shape`] for QEMU, a [`Plan`]
//! for Provium inside. Not here: starting either.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use serde_bytes::ByteBuf;

use crate::environment::{ATTEMPT, INSIDE};
use crate::error::{EmulatedError, LEAST_MEMORY};
use crate::frame::Plan;
use crate::qemu::Shape;
use crate::request::EmulatedRun;

/// Most memory that is taken by default, in MiB.
const DEFAULT_MEMORY: u64 = 6144;

/// Default memory of an emulated host in MiB: 6 GiB, or 60 % of the available memory if that is less.
pub fn default_memory_mib() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available_mib(&info).map_or(DEFAULT_MEMORY, |available| DEFAULT_MEMORY.min(available * 6 / 10))
}

/// Available memory in MiB, from the text of `/proc/meminfo`.
fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

/// The shape of the QEMU for a request.
///
/// # Errors
/// [`EmulatedError`] when the memory is too small, or a folder cannot be shared for writing.
pub(crate) fn shape(request: &EmulatedRun<'_>) -> Result<Shape, EmulatedError> {
    let memory_mib = request.memory_mib.unwrap_or_else(default_memory_mib);
    if memory_mib < LEAST_MEMORY {
        return Err(EmulatedError::Memory(memory_mib));
    }
    let mut folders = Vec::new();
    for path in &request.writable {
        let error = |reason: String| EmulatedError::Folder {
            path: path.clone(),
            reason,
        };
        let folder = fs::canonicalize(path).map_err(|source| error(source.to_string()))?;
        match folder {
            folder if !folder.is_dir() => return Err(error("it is not a folder".into())),
            folder if folder == Path::new("/") => {
                return Err(error(
                    "all of the file system cannot be; name the folders that need it".into(),
                ));
            }
            folder => folders.push(folder),
        }
    }
    Ok(Shape {
        memory_mib,
        cpus: request.cpus,
        writable: outermost(folders),
        exe: match &request.exe {
            Some(exe) => fs::canonicalize(exe)?,
            None => env::current_exe()?,
        },
    })
}

/// The folders without those that lie in other ones, sorted.
fn outermost(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    folders.sort();
    folders.dedup();
    let all = folders.clone();
    folders.retain(|folder| {
        !all.iter()
            .any(|other| other != folder && folder.starts_with(other))
    });
    folders
}

/// The plan for start number `start`. The time and the terminal are added when it is sent.
pub(crate) fn plan(request: &EmulatedRun<'_>, shape: &Shape, start: u32) -> Plan {
    let bytes = |text: &OsStr| ByteBuf::from(text.as_bytes());
    let ours = |key: &OsStr| [INSIDE, ATTEMPT].iter().any(|name| key == *name);
    let mut environment: Vec<_> = env::vars_os().filter(|(key, _)| !ours(key)).collect();
    environment.push((INSIDE.into(), "1".into()));
    environment.push((ATTEMPT.into(), start.to_string().into()));
    let open_files = getrlimit(Resource::Nofile);
    Plan {
        argv: request.argv.iter().map(|word| bytes(word)).collect(),
        env: environment
            .iter()
            .map(|(key, value)| (bytes(key), bytes(value)))
            .collect(),
        cwd: bytes(request.cwd.as_os_str()),
        writable: shape.writable.clone(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: rustix::process::getgroups()
            .unwrap_or_default()
            .iter()
            .map(|group| group.as_raw())
            .collect(),
        umask: umask(),
        open_files: (open_files.current, open_files.maximum),
        now: Duration::ZERO,
        terminal: None,
    }
}

/// This process's file mode creation mask. It is read from `/proc`, since the system call would change it.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use provium_base::events::Discard;

    use super::*;

    #[test]
    fn a_folder_in_a_shared_folder_is_shared_with_it() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let given = paths(&[
            "/home/me/project/target",
            "/home/me/project",
            "/home/me/project2",
            "/home/me/project",
            "/cache",
        ]);
        assert_eq!(
            outermost(given),
            paths(&["/cache", "/home/me/project", "/home/me/project2"])
        );
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(
            available_mib("MemTotal: 1 kB\nMemAvailable:    2097152 kB\n"),
            Some(2048)
        );
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn folders_that_cannot_be_shared_are_named() {
        for (path, reason) in [
            ("/", "all of"),
            ("/nonexistent", "No such"),
            ("/proc/version", "not a folder"),
        ] {
            let mut request = EmulatedRun::new(vec!["true".into()], &Discard);
            request.writable = vec![path.into()];
            let error = shape(&request).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
        let mut request = EmulatedRun::new(vec!["true".into()], &Discard);
        request.memory_mib = Some(100);
        assert!(matches!(shape(&request), Err(EmulatedError::Memory(100))));
    }

    #[test]
    fn the_plan_says_which_start_it_is_and_whose_it_is() {
        let request = EmulatedRun::new(vec!["true".into()], &Discard);
        let shape = shape(&request).unwrap();
        let plan = plan(&request, &shape, 3);
        let of = |name: &str| {
            let values = plan.env.iter().filter(|(key, _)| key.as_ref() == name.as_bytes());
            values
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(INSIDE), ["1"]);
        assert_eq!(of(ATTEMPT), ["3"]);
        assert_eq!(plan.uid, rustix::process::geteuid().as_raw());
        assert!(plan.umask <= 0o777);
    }
}
