//! What is kept of a failed test: what it wanted kept, and all that its report leaves out.
//!
//! Input: artifacts, the failure, its guests. Output: files in the test's folder of the run's artifacts,
//! whose name the failure then has. A test that does not fail leaves nothing, and reads nothing from its
//! guests. Not here: where that folder is.

use std::fmt::Write as _;

use provium_base::failure::Failure;

use super::artifact::Content;
use super::file::File;
use super::run::TestRun;
use crate::session::artifacts::TestArtifacts;

/// Keeps all there is of a failure in a folder of its own, which the failure then names; the test without a
/// run is the file's own code. Where that cannot be done, the log says why.
pub(super) fn keep(
    file: &File,
    test: &str,
    run: Option<&TestRun>,
    log: &mut Vec<String>,
    failure: &mut Failure,
) {
    let Some(artifacts) = &file.job().artifacts else {
        return;
    };
    let kept = artifacts.of_test(&file.job().shown, test).and_then(|folder| {
        write_all(&folder, file, run, log, failure)?;
        Ok(folder.shown().to_owned())
    });
    match kept {
        Ok(folder) => failure.artifacts = Some(folder),
        Err(error) => log.push(format!(
            "the artifacts of this test could not be written: {error}"
        )),
    }
}

fn write_all(
    folder: &TestArtifacts<'_>,
    file: &File,
    run: Option<&TestRun>,
    log: &[String],
    failure: &Failure,
) -> std::io::Result<()> {
    // The test's own first, so that they have the names it gave them.
    let mut problems = String::new();
    for artifact in run.map(|run| run.artifacts.take()).unwrap_or_default() {
        match read(artifact.content, file) {
            Ok(data) => {
                let (stem, extension) = match artifact.name.rsplit_once('.') {
                    Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
                    _ => (artifact.name.as_str(), String::new()),
                };
                folder.write(stem, &extension, &data)?;
            }
            Err(error) => drop(writeln!(problems, "{}: {error}", artifact.name)),
        }
    }
    folder.write("message", ".txt", format!("{}\n", failure.message).as_bytes())?;
    if !log.is_empty() {
        folder.write("log", ".txt", format!("{}\n", log.join("\n")).as_bytes())?;
    }
    for splat in &failure.splats {
        folder.write(&format!("splat-{}", splat.vm), ".txt", splat.text.as_bytes())?;
    }
    let mut written = Ok(());
    file.scopes.ask_witnesses(|asked| {
        let vm = asked.witness.vm();
        let console = asked.witness.console_after(None);
        let mut write = |stem: &str, data: &[u8]| {
            if written.is_ok() && !data.is_empty() {
                written = folder.write(&format!("{stem}-{vm}"), ".txt", data);
            }
        };
        write("console", &console);
        match asked.witness.kernel_log() {
            Ok(log) => write("dmesg", &log),
            Err(_) if asked.witness.death().is_some() => {}
            Err(error) => drop(writeln!(problems, "dmesg of VM `{vm}`: {error}")),
        }
    });
    written?;
    match problems.is_empty() {
        true => Ok(()),
        false => folder.write("not-kept", ".txt", problems.as_bytes()),
    }
}

/// The content of an artifact as it is now.
fn read(content: Content, file: &File) -> Result<Vec<u8>, String> {
    let (vm, path) = match content {
        Content::Data(data) => return Ok(data),
        Content::Guest { vm, path } => (vm, path),
    };
    let mut content = match &vm {
        Some(vm) => Err(format!("there is no VM `{vm}` any more")),
        None => Err("there is no VM".to_owned()),
    };
    file.scopes.ask_witnesses(|asked| {
        let is_meant = vm.as_ref().is_none_or(|vm| *vm == asked.witness.vm());
        if is_meant && content.is_err() {
            content = asked.witness.read_file(&path);
        }
    });
    content
}
