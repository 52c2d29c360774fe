//! What is run: arguments, environment and places to look, in the form the kernel takes them.
//!
//! Input: an [`Exec`] of the host.
//! Output: C strings without NUL bytes inside, and words for what went wrong.
//! Not here: looking at the file system; the child does that, in its own folder and with its own rights.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CString;

use provium_protocol::{Exec, OpError};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, CWD};
use rustix::io::Errno;

use super::spawn::{Plan, SpawnError};
use crate::failure::{failed, impossible, shown};

/// The environment of every program that does not ask for another.
const ENVIRONMENT: [(&str, &str); 3] = [("PATH", PATH), ("HOME", "/root"), ("TERM", "dumb")];
/// Where programs are looked for when their environment has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
pub(crate) struct Command {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: Option<CString>,
    /// The PATH that was searched, where one was.
    searched: Option<Vec<u8>>,
}

impl Command {
    /// Checks what the host sent.
    pub(crate) fn new(exec: Exec) -> Result<Command, OpError> {
        let Some(program) = exec.argv.first().map(|program| program.to_vec()) else {
            return Err(impossible("exec: there is no program to run: argv is empty"));
        };
        let path = (!program.contains(&b'/')).then(|| search_path(&exec));
        let mut candidates = Vec::new();
        match &path {
            // An empty name would name the folder itself.
            None => candidates.push(c_string(program, "the program")?),
            Some(_) if program.is_empty() => candidates.push(CString::default()),
            Some(path) => {
                for folder in path.split(|byte| *byte == b':') {
                    let folder = if folder.is_empty() { b"." } else { folder };
                    candidates.push(c_string([folder, b"/", &program].concat(), "the program")?);
                }
            }
        }
        let env = environment(&exec)?;
        let argv = exec.argv.into_iter().enumerate();
        let argv = argv.map(|(at, argument)| c_string(argument.into_vec(), &format!("argument {at}")));
        Ok(Command {
            candidates,
            argv: argv.collect::<Result<_, _>>()?,
            env,
            cwd: exec.cwd.map(|cwd| c_string(cwd.into_vec(), "cwd")).transpose()?,
            searched: path,
        })
    }

    /// The error of something done for this program: what it was, then the kernel's words.
    pub(crate) fn failed(&self, what: &str, errno: Errno) -> OpError {
        failed(format_args!("{}: {what}", self.name()), errno)
    }

    /// The program's name for a message.
    fn name(&self) -> String {
        let program = self.argv.first().map(|program| program.to_bytes());
        format!("exec `{}`", shown(program.unwrap_or_default()))
    }

    /// The plan for a new process, with these as standard input, output and error, and perhaps a terminal.
    pub(super) fn plan<'a>(&'a self, stdio: [&'a OwnedFd; 3], terminal: Option<&'a OwnedFd>) -> Plan<'a> {
        Plan {
            candidates: &self.candidates,
            argv: &self.argv,
            env: &self.env,
            cwd: self.cwd.as_deref(),
            stdio: stdio.map(|fd| fd.as_fd()),
            terminal: terminal.map(|fd| fd.as_fd()),
        }
    }

    /// A failed spawn as the test's author reads it.
    pub(super) fn explain(&self, error: SpawnError) -> OpError {
        let what = self.name();
        match error {
            SpawnError::Fork(errno) => failed(format_args!("{what}: cannot fork"), errno),
            SpawnError::SetUp(errno) => failed(format_args!("{what}: cannot set up the child"), errno),
            SpawnError::Cwd(errno) => {
                let cwd = self.cwd.as_ref().map(|cwd| cwd.to_bytes()).unwrap_or_default();
                failed(
                    format_args!("{what}: cannot change to cwd `{}`", shown(cwd)),
                    errno,
                )
            }
            SpawnError::Exec(errno) => {
                let mut error = failed(what, errno);
                if let (Errno::NOENT, Some(path)) = (errno, &self.searched) {
                    error.message += &format!(" (PATH is `{}`)", shown(path));
                } else if errno == Errno::NOENT && self.exists() {
                    error.message += " (the file exists; the interpreter or loader it asks for does not)";
                }
                error
            }
        }
    }

    /// Whether a program given by its whole path is there after all.
    fn exists(&self) -> bool {
        self.candidates.iter().any(|candidate| {
            candidate.to_bytes().starts_with(b"/")
                && rustix::fs::accessat(CWD, candidate, Access::EXISTS, rustix::fs::AtFlags::empty()).is_ok()
        })
    }
}

/// The PATH in the child's environment.
fn search_path(exec: &Exec) -> Vec<u8> {
    let given = exec.env.iter().rev().find(|(name, _)| name.as_slice() == b"PATH");
    given
        .map_or(PATH.as_bytes(), |(_, value)| value.as_slice())
        .to_vec()
}

/// The child's environment, `NAME=value` of every variable, each name once.
fn environment(exec: &Exec) -> Result<Vec<CString>, OpError> {
    let base: &[(&str, &str)] = if exec.env_clear { &[] } else { &ENVIRONMENT };
    let base = base
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let wrong = |name: &[u8]| name.is_empty() || name.contains(&b'=');
    if let Some((name, _)) = exec.env.iter().find(|(name, _)| wrong(name)) {
        let why = "a variable's name must not be empty or contain `=`";
        return Err(impossible(format!("exec: env: `{}`: {why}", shown(name))));
    }
    let given = exec.env.iter();
    let given = given.map(|(name, value)| (name.as_slice(), value.as_slice()));
    let variables = last_of_each(base.chain(given)).into_iter();
    variables
        .map(|(name, value)| c_string([name, b"=", value].concat(), "env"))
        .collect()
}

/// Each name once, in the order in which they came first, with the value that came last.
fn last_of_each<N: Ord + Copy, V>(variables: impl Iterator<Item = (N, V)>) -> Vec<(N, V)> {
    let (mut list, mut places) = (Vec::new(), BTreeMap::new());
    for (name, value) in variables {
        match places.entry(name) {
            Entry::Vacant(place) => {
                place.insert(list.len());
                list.push((name, value));
            }
            Entry::Occupied(place) => list[*place.get()].1 = value,
        }
    }
    list
}

fn c_string(bytes: Vec<u8>, what: &str) -> Result<CString, OpError> {
    CString::new(bytes).map_err(|error| {
        let at = error.nul_position();
        impossible(format!(
            "exec: {what}: `{}` has a NUL byte at {at}",
            shown(&error.into_vec())
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::*;

    thread_local! {
        static COMPARISONS: Cell<u64> = const { Cell::new(0) };
    }

    /// A name that counts how often it is compared.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Name(u32);

    impl PartialOrd for Name {
        fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Name {
        fn cmp(&self, other: &Name) -> Ordering {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn of_each_name_the_last_value_counts_and_the_first_place() {
        let list = last_of_each([("a", 1), ("b", 2), ("a", 3)].into_iter());
        assert_eq!(list, [("a", 3), ("b", 2)]);
    }

    #[test]
    fn ten_thousand_variables_are_not_compared_with_each_other() {
        let count = 10_000;
        let list = last_of_each((0..count).rev().map(|number| (Name(number), ())));
        assert_eq!(list.len(), count as usize);
        // Some fourteen to find a place in a tree of as many; a node of eleven may be looked through.
        let comparisons = COMPARISONS.get();
        assert!(comparisons < u64::from(count) * 50, "{comparisons} comparisons");
    }
}
