//! Running other programs, with errors that say what was run and what it said.
//!
//! Input: a command. Output: its exit status, its output, or an error. Not here: a shell. Arguments are
//! passed as they are.

use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program with this process's output; stdin is empty.
///
/// # Errors
/// When it cannot be started or does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if status.success() {
        return Ok(());
    }
    bail!("{}: {status}", shown(command))
}

/// Runs a program with this process's output and returns how it ended; stdin is empty.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))
}

/// Runs a program and returns what it wrote to stdout.
///
/// # Errors
/// When it cannot be started, does not exit with 0 (the message ends with its stderr), or writes
/// something that is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("cannot start {}", shown(command)))?;
    if !done.status.success() {
        bail!(
            "{}: {}\n{}",
            shown(command),
            done.status,
            String::from_utf8_lossy(&done.stderr).trim_end()
        );
    }
    String::from_utf8(done.stdout).with_context(|| format!("{}: output is not text", shown(command)))
}

/// The command as one would type it, long argument lists shortened.
pub(crate) fn shown(command: &Command) -> String {
    const SHOWN: usize = 12;
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    let arguments: Vec<_> = command.get_args().collect();
    words.extend(
        arguments
            .iter()
            .take(SHOWN)
            .map(|word| word.to_string_lossy().into_owned()),
    );
    if arguments.len() > SHOWN {
        words.push(format!("… ({} more)", arguments.len() - SHOWN));
    }
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo went wrong >&2; exit 3"]);
        let message = output(&mut command).unwrap_err().to_string();
        assert!(
            message.contains("`sh -c echo went wrong") && message.contains("3"),
            "{message}"
        );
        assert!(message.ends_with("went wrong"), "{message}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let message = format!(
            "{:#}",
            run(&mut Command::new("no-such-program-here")).unwrap_err()
        );
        assert!(
            message.contains("cannot start `no-such-program-here`"),
            "{message}"
        );
    }
}
