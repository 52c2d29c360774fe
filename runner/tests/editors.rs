//! `provium lsp-setup`, `man` and `completions`: what an editor and a shell need.

mod support;

use std::fs;

use support::{finished, project, provium, run, write};

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
        assert!(ran.stdout.contains("PROVIUM_COMPLETE"), "{}", ran.stdout);
        ran.stdout
    };
    assert!(script("bash").contains("-F _clap_complete_provium provium"));
    assert!(script("zsh").starts_with("#compdef provium"));
}

#[test]
fn a_shell_is_told_of_flags_names_and_tags() {
    let test =
        "test('answers ping', {tags = {'net', 'new'}}, print)\ntest('boots', {tags = 'fast'}, print)\n";
    let dir = project(&[("tests/a.test.lua", test)]);
    let asked = |shell: &str, words: &[&str]| {
        let mut command = provium(dir.path(), &["--", "provium"]);
        command.args(words).env("PROVIUM_COMPLETE", shell);
        if shell == "bash" {
            let index = words.len().to_string();
            command
                .env("_CLAP_COMPLETE_INDEX", index)
                .env("_CLAP_COMPLETE_COMP_TYPE", "9")
                .env("_CLAP_IFS", "\n");
        }
        let ran = finished(command.output().expect("the command starts"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked("bash", &["--fail-f"]), ["--fail-fast"]);
    assert_eq!(asked("bash", &["--tag", "n"]), ["net", "new"]);
    assert_eq!(asked("bash", &["--no-tag", "f"]), ["fast"]);
    assert_eq!(asked("fish", &["--filter", "a"]), ["answers ping"]);
    assert_eq!(asked("bash", &["--filter", "a"]), ["answers\\ ping"]);
    assert_eq!(asked("fish", &["-k", "not p"]), ["not ping"]);
}

#[test]
fn the_manual_is_a_page_or_one_for_each_command() {
    let dir = project(&[]);
    let page = run(&dir, &["man"]);
    assert!(
        page.code == Some(0) && page.stdout.contains(".TH provium 1"),
        "{}",
        page.stdout
    );
    assert!(page.stdout.contains("fail\\-fast"), "{}", page.stdout);
    let ran = run(&dir, &["man", "new/man1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    let names = |name| dir.path().join("new/man1").join(name).exists();
    assert!(names("provium.1") && names("provium-fixture-build.1"));
    assert!(
        !names("provium-emulated-host-init.1"),
        "what is hidden has no page"
    );
}

#[test]
fn help_wraps_at_words_and_ends_with_examples() {
    let dir = project(&[]);
    for flag in ["-h", "--help"] {
        let mut command = provium(dir.path(), &[flag]);
        let ran = finished(command.env("COLUMNS", "60").output().expect("the command starts"));
        let words: Vec<_> = ran.stdout.split_whitespace().collect();
        let wide = ran.stdout.lines().filter(|line| line.chars().count() > 60);
        assert_eq!(wide.collect::<Vec<_>>(), [""; 0], "of {flag}");
        assert!(
            words.contains(&"processors]") && words.contains(&"NO_COLOR"),
            "{}",
            ran.stdout
        );
        let end = ran.stdout.split_once("Examples:").expect("examples").1;
        assert!(
            end.contains("provium doctor") && end.contains("Exit codes:"),
            "{end}"
        );
    }
}
