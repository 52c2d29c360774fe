//! What the crate does not need.
//!
//! Input: the workspace. Output: nothing but a passed test. Not here: what the crate does.

use std::process::Command;

#[test]
fn guests_and_labs_need_no_lua() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", "provium-guest"])
        .args(["--edges", "normal", "--prefix", "none", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let tree = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let packages: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(packages.contains(&"provium-vmm"), "{tree}");
    let lua: Vec<_> = packages.iter().filter(|name| name.contains("lua")).collect();
    assert!(lua.is_empty(), "{lua:?}");
}
