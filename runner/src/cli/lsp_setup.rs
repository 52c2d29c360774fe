//! `provium lsp-setup`: what an editor with LuaLS needs to know the API.
//!
//! Input: a folder. Output: the stubs and a `.luarc.json` in it that points to them. Not here: editors' own
//! settings, and merging with a `.luarc.json` that somebody wrote.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use provium_base::exit;

use super::args::LspSetupArgs;
use super::print::print;
use super::project::configuration;
use crate::lua;

/// Where the stubs are; hidden, so that no tests are looked for there.
const LIBRARY: &str = ".provium";

pub(super) fn lsp_setup(args: &LspSetupArgs) -> anyhow::Result<u8> {
    let cwd = std::env::current_dir().context("the current folder cannot be used")?;
    let start = args.dir.as_ref().map_or(cwd.clone(), |dir| cwd.join(dir));
    anyhow::ensure!(start.is_dir(), "no such folder: {}", start.display());
    let config = configuration(None, &start, &[], None, Vec::new(), None)?;
    let folder = match args.dir {
        Some(_) => start,
        None => config.project.clone(),
    };
    let files = files(&folder, &config.roots);
    let written = write(&files, args.force)?;
    for (path, new) in written {
        let what = if new { "wrote" } else { "unchanged:" };
        print(&format!("{what} {}\n", path.display()))?;
    }
    Ok(exit::SUCCESS)
}

/// The files of a folder and what is in them.
pub(super) fn files(folder: &Path, roots: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let mut path = Vec::new();
    for root in roots.iter().map(PathBuf::as_path).chain([folder]) {
        // What is elsewhere is named in full.
        let root = root.strip_prefix(folder).unwrap_or(root);
        for pattern in ["?.lua", "?/init.lua"] {
            let pattern = root.join(pattern).to_string_lossy().into_owned();
            if !path.contains(&pattern) {
                path.push(pattern);
            }
        }
    }
    let settings = serde_json::json!({
        "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
        "runtime.version": "Lua 5.4",
        "runtime.path": path,
        "runtime.pathStrict": true,
        "runtime.builtin": {"debug": "disable"},
        "workspace.library": [LIBRARY],
        "workspace.checkThirdParty": false,
    });
    vec![
        (folder.join(LIBRARY).join("provium.lua"), lua::stubs()),
        (folder.join(".luarc.json"), format!("{settings:#}\n")),
    ]
}

/// Writes the files, all or none; says of each whether it changed.
fn write(files: &[(PathBuf, String)], force: bool) -> anyhow::Result<Vec<(&Path, bool)>> {
    let mut done = Vec::new();
    for (path, content) in files {
        let new = match std::fs::read(path) {
            Ok(there) => there != content.as_bytes(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => anyhow::bail!("{}: {error}", path.display()),
        };
        if new && path.exists() && !force {
            let hint = match path.ends_with(".luarc.json") {
                true => format!(", or add \"workspace.library\": [\"{LIBRARY}\"] to it yourself"),
                false => String::new(),
            };
            anyhow::bail!(
                "{} is there and different; nothing was written. --force replaces it{hint}",
                path.display()
            );
        }
        done.push((path.as_path(), new));
    }
    for ((path, content), _) in files.iter().zip(&done).filter(|(_, (_, new))| *new) {
        let failed = || format!("{} cannot be written", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        std::fs::write(path, content).with_context(failed)?;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_are_left_alone_unless_forced() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = files(dir.path(), &[]);
        let changes = |force| -> anyhow::Result<Vec<bool>> {
            Ok(write(&files, force)?.iter().map(|(_, new)| *new).collect())
        };
        let (stubs, settings) = (&files[0].0, &files[1].0);
        std::fs::write(settings, "{}").expect("a file");
        let error = changes(false).expect_err("it is there").to_string();
        assert!(error.contains(".luarc.json is there and different"), "{error}");
        assert!(
            error.contains("add \"workspace.library\": [\".provium\"] to it"),
            "{error}"
        );
        assert!(!stubs.exists(), "nothing was written");

        assert_eq!(changes(true).expect("forced"), [true, true]);
        assert_eq!(changes(false).expect("the same"), [false, false]);
        assert_eq!(std::fs::read_to_string(stubs).expect("a file"), lua::stubs());

        std::fs::write(stubs, "-- mine").expect("a file");
        let error = changes(false).expect_err("it is different").to_string();
        assert!(error.contains("provium.lua is there and different"), "{error}");
        assert_eq!(changes(true).expect("forced"), [true, false]);
    }

    #[test]
    fn settings_name_the_roots() {
        let roots = ["/p/tests".into(), "/elsewhere".into(), "/p".into()];
        let files = files(Path::new("/p"), &roots);
        let settings: serde_json::Value = serde_json::from_str(&files[1].1).expect("JSON");
        let path = [
            "tests/?.lua",
            "tests/?/init.lua",
            "/elsewhere/?.lua",
            "/elsewhere/?/init.lua",
            "?.lua",
            "?/init.lua",
        ];
        assert_eq!(settings["runtime.path"], serde_json::json!(path));
        assert_eq!(settings["workspace.library"], serde_json::json!([".provium"]));
        assert_eq!(files[0].0, Path::new("/p/.provium/provium.lua"));
    }
}
