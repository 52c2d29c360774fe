//! The built command in a folder of its own, as tests run it.
//!
//! Input: files of a project, arguments. Output: exit code and texts. Not here: what they should be.

#![allow(dead_code, reason = "each file of tests uses some of it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with these files in it.
pub(crate) fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    for (name, content) in files {
        write(&dir, name, content);
    }
    dir
}

/// Writes a file of the project.
pub(crate) fn write(dir: &TempDir, name: &str, content: &str) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, content).expect("write");
}

/// The command in that folder, with no environment that would change what it says.
pub(crate) fn provium(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provium"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in [
        "NO_COLOR",
        "GITHUB_ACTIONS",
        "GITHUB_WORKSPACE",
        "GITLAB_CI",
        "PROVIUM_LOG",
        "PROVIUM_PRESET",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Runs the command in that folder.
pub(crate) fn run(dir: &TempDir, args: &[&str]) -> Ran {
    finished(provium(dir.path(), args).output().expect("the command starts"))
}

/// What an ended command came to.
pub(crate) fn finished(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
