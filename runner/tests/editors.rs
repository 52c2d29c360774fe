//! `provium lsp-setup` and `provium completions`: what an editor and a shell need.

mod support;

use std::fs;

use support::{project, run, write};

#[test]
fn lsp_setup_writes_into_its_folder_and_replaces_by_force_alone() {
    let dir = project(&[("editor/readme.txt", "")]);
    assert_eq!(run(&dir, &["lsp-setup", "editor"]).code, Some(0));
    let settings = dir.path().join("editor/.luarc.json");
    let right = fs::read_to_string(&settings).expect("the settings");
    assert!(dir.path().join("editor/.provium/provium.lua").exists());
    assert!(!dir.path().join(".luarc.json").exists());
    write(&dir, "editor/.luarc.json", "{}");
    let ran = run(&dir, &["lsp-setup", "editor"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--force"), "{ran:?}");
    assert_eq!(run(&dir, &["lsp-setup", "editor", "--force"]).code, Some(0));
    assert_eq!(fs::read_to_string(&settings).expect("the settings"), right);
}

#[test]
fn completions_are_a_script_of_the_shell_that_is_named() {
    let dir = project(&[]);
    let script = |shell| {
        let ran = run(&dir, &["completions", shell]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains("fail-fast"), "{}", ran.stdout);
        ran.stdout
    };
    assert!(script("bash").contains("complete -F"));
    assert!(script("zsh").starts_with("#compdef provium"));
}
