//! `provium fixture`, as a user runs it, as far as it needs no guest.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

fn project(files: &[&str]) -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    let toml = "[provium]\nroots = ['tests']\ncache_dir = 'cache'\n";
    fs::write(dir.path().join("provium.toml"), toml).expect("write");
    fs::create_dir(dir.path().join("tests")).expect("a folder");
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, "return nil\n").expect("write");
    }
    dir
}

/// Exit code, stdout and stderr of `provium fixture ARGS`.
fn fixture(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provium"));
    command
        .current_dir(dir)
        .arg("fixture")
        .args(args)
        .stdin(Stdio::null());
    let output = command
        .env_remove("PROVIUM_LOG")
        .output()
        .expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_project_whose_fixtures_were_never_built() {
    let dir = project(&[
        "tests/base.fixture.lua",
        "tests/net/router.fixture.lua",
        "fixtures/old.lua",
    ]);
    let of = |args: &[&str]| {
        let (code, stdout, stderr) = fixture(dir.path(), args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        stdout
    };
    assert_eq!(
        of(&["list"]),
        "base        not built         -  -               tests/base.fixture.lua\n\
         net/router  not built         -  -               tests/net/router.fixture.lua\n\
         old         not built         -  -               fixtures/old.lua\n"
    );
    assert_eq!(
        of(&["stale"]),
        "base: never built\nnet/router: never built\nold: never built\n"
    );
    assert_eq!(of(&["why", "router"]), "net/router: never built\n");
    assert_eq!(of(&["why", "tests/net"]), "net/router: never built\n");
    assert_eq!(of(&["clean"]), "nothing to remove\n");
    assert!(!dir.path().join("cache").exists(), "asking makes nothing");
    let json: serde_json::Value = serde_json::from_str(&of(&["list", "--json"])).expect("JSON");
    assert_eq!(json["fixtures"][1]["name"], "net/router");
    assert_eq!(json["fixtures"][1]["state"], "not_built");
    assert_eq!(json["fixtures"][1]["bytes"], serde_json::Value::Null);
    assert_eq!(json["others"], serde_json::json!([]));
}

#[test]
fn mistakes_are_answered_with_what_there_is() {
    let dir = project(&["tests/base.fixture.lua"]);
    let error = |args: &[&str]| {
        let (code, stdout, stderr) = fixture(dir.path(), args);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}");
        stderr
    };
    let message = "provium: error: there is no fixture `bsae`; did you mean `base`?\n";
    assert_eq!(error(&["why", "bsae"]), message);
    assert_eq!(error(&["build", "bsae"]), message);
    fs::create_dir(dir.path().join("empty")).expect("a folder");
    assert_eq!(
        error(&["list", "empty"]),
        "provium: error: there are no fixtures in empty\n"
    );
    assert!(error(&["bild"]).contains("a similar subcommand exists: 'build'"));
    assert!(error(&["list", "--config", "none.toml"]).contains("none.toml: No such file"));
    let dir = project(&[]);
    let (code, stdout, _) = fixture(dir.path(), &["list"]);
    assert_eq!(
        (code, stdout.as_str()),
        (
            Some(0),
            "no fixtures (NAME.fixture.lua under a root, or fixtures/NAME.lua)\n"
        )
    );
}

#[test]
fn every_command_takes_a_target_and_a_configuration() {
    let dir = project(&[
        "tests/one.fixture.lua",
        "tests/two.fixture.lua",
        "more/three.fixture.lua",
    ]);
    let other = "[provium]\nroots = ['more']\ncache_dir = 'cache'\n";
    fs::write(dir.path().join("other.toml"), other).expect("write");
    for command in ["list", "stale", "why", "build", "rebuild", "clean"] {
        let said = |args: &[&str]| {
            let (_, stdout, stderr) = fixture(dir.path(), &[&[command], args].concat());
            format!("{stdout}{stderr}")
        };
        let (all, one) = (said(&[]), said(&["one"]));
        let unknown = said(&["three"]);
        assert!(
            unknown.contains("there is no fixture `three`"),
            "{command}: {unknown}"
        );
        let known = said(&["three", "--config", "other.toml"]);
        assert!(!known.contains("there is no fixture"), "{command}: {known}");
        if command != "clean" {
            assert!(all.contains("one") && all.contains("two"), "{command}: {all}");
            assert!(one.contains("one") && !one.contains("two"), "{command}: {one}");
            assert!(known.contains("three"), "{command}: {known}");
        }
    }
}
