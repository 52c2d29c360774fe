//! `provium init` and `provium guest fetch`: from nothing to a project and its guest.
//!
//! Input: folders, and programs that stand in for apt's. Output: what the commands write and say. Not here:
//! Debian's real packages, which `cargo xtask guest` fetches by the same code and `examples/hello` boots.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use provium_debian::guest::DebianGuest;
use support::{Ran, finished, project, provium, write};
use tempfile::TempDir;

/// The command, whose cache is the folder `cache`.
fn cached(dir: &TempDir, args: &[&str]) -> Ran {
    let mut command = provium(dir.path(), args);
    command.env("XDG_CACHE_HOME", dir.path().join("cache"));
    finished(command.output().expect("the command starts"))
}

fn text(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn init_makes_a_project_and_leaves_alone_what_is_there() {
    let dir = project(&[
        ("new/.gitignore", "mine\n"),
        ("new/arch/x86/boot/bzImage", "a kernel"),
    ]);
    let ran = cached(&dir, &["init", "new"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(text(&dir, "new/provium.toml").contains("kernel = \"arch/x86/boot/bzImage\""));
    assert_eq!(text(&dir, "new/.gitignore"), "mine\n");
    assert!(
        ran.stdout.contains("is there, left alone: new/.gitignore"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("cd new\n  provium guest fetch"),
        "{}",
        ran.stdout
    );
    assert!(dir.path().join("new/.provium/provium.lua").is_file());
    // The tests are found where the project says, and its configuration is read.
    let mut list = provium(&dir.path().join("new"), &["list"]);
    let listed = finished(
        list.env("XDG_CACHE_HOME", dir.path().join("cache"))
            .output()
            .expect("starts"),
    );
    assert!(
        listed.stdout.contains("a file is there once it was written"),
        "{listed:?}"
    );
    let again = cached(&dir, &["init", "new"]);
    assert!(
        again.code == Some(2) && again.stderr.contains("is there already"),
        "{again:?}"
    );
}

#[test]
fn init_takes_the_kernel_that_is_named() {
    let dir = project(&[
        ("built/bzImage", "a kernel"),
        ("arch/x86/boot/bzImage", "another"),
    ]);
    assert_eq!(cached(&dir, &["init", "--kernel", "built/bzImage"]).code, Some(0));
    let named = format!("kernel = \"{}\"", dir.path().join("built/bzImage").display());
    assert!(
        text(&dir, "provium.toml").contains(&named),
        "{}",
        text(&dir, "provium.toml")
    );
    assert_eq!(
        cached(&dir, &["init", "debian", "--kernel", "guest:debian"]).code,
        Some(0)
    );
    assert!(text(&dir, "debian/provium.toml").contains("kernel = \"guest:debian\""));
    let wrong = cached(&dir, &["init", "wrong", "--kernel", "absent"]);
    assert!(
        wrong.code == Some(2) && wrong.stderr.contains("absent is no file"),
        "{wrong:?}"
    );
    assert!(!dir.path().join("wrong").exists());
}

#[test]
fn init_asks_on_a_terminal() {
    let dir = project(&[("arch/x86/boot/bzImage", "a kernel")]);
    let program = provium(dir.path(), &[]).get_program().to_owned();
    let line = format!("'{}' init", program.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script
        .current_dir(dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"));
    let input = dir.path().join("typed");
    // The last that it offers, or the first again: whatever else this machine has stands between.
    fs::write(&input, "0\n1\n").expect("a file");
    script.stdin(fs::File::open(input).expect("a file"));
    let ran = finished(script.output().expect("script (package bsdutils) starts"));
    assert!(
        ran.stdout.contains("Which kernel?") && ran.stdout.contains("a number from 1 to"),
        "{ran:?}"
    );
    assert!(text(&dir, "provium.toml").contains("arch/x86/boot/bzImage"));
}

/// Programs that stand in for apt's: packages are folders in `packages`, and unpacking one copies it.
fn apt(dir: &TempDir) -> String {
    let bin = dir.path().join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let packages = dir.path().join("packages").display().to_string();
    for (name, body) in [
        ("apt-cache", "eval name=\\${$#}; cat PACKAGES/$name/about"),
        (
            "apt-get",
            "eval name=\\${$#}; case $1 in install|remove) exit 9;; esac; echo ${name%%=*} >one.deb",
        ),
        ("dpkg-deb", "cp -R PACKAGES/$(cat $2)/tree/. $3"),
        (
            "debootstrap",
            "for tree; do :; done; mkdir -p $tree/etc; echo \"$*\" >$tree/etc/how",
        ),
        (
            "mke2fs",
            "while [ \"$1\" != -d ]; do shift; done; cat $2/etc/how >$3",
        ),
    ] {
        let script = format!("#!/bin/sh\nset -e\n{}\n", body.replace("PACKAGES", &packages));
        fs::write(bin.join(name), script).expect("a script");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let about = |name: &str, version: &str, depends: &str| {
        let text = format!("Package: {name}\nVersion: {version}\nDepends: {depends}\n");
        write(dir, &format!("packages/{name}/about"), &text);
    };
    about(
        "linux-image-cloud-amd64",
        "9.1-1",
        "linux-image-9.1-cloud-amd64 (= 9.1-1)",
    );
    about("linux-image-9.1-cloud-amd64", "9.1-1", "kmod");
    about("busybox-static", "1", "");
    for name in provium_debian::userland::PACKAGES {
        about(name, "1", "");
    }
    let tree = "packages/linux-image-9.1-cloud-amd64/tree";
    write(dir, &format!("{tree}/boot/vmlinuz-9.1-cloud-amd64"), "the kernel");
    write(
        dir,
        &format!("{tree}/boot/config-9.1-cloud-amd64"),
        "CONFIG_X=y\n",
    );
    let built_in = provium_base::modules::GUEST_NEEDS
        .map(|name| format!("kernel/{name}.ko\n"))
        .concat();
    let modules = format!("{tree}/lib/modules/9.1-cloud-amd64/modules.builtin");
    write(dir, &modules, &built_in);
    let busybox = dir.path().join("packages/busybox-static/tree/bin/busybox");
    fs::create_dir_all(busybox.parent().expect("a parent")).expect("a folder");
    fs::write(&busybox, "#!/bin/sh\necho bin/sh\n").expect("a script");
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).expect("a mode");
    format!("{}:/usr/bin:/bin", bin.display())
}

fn fetch(dir: &TempDir, path: &str, args: &[&str]) -> Ran {
    let mut command = provium(dir.path(), &[&["guest", "fetch"], args].concat());
    command
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .env("PATH", path);
    finished(command.output().expect("the command starts"))
}

#[test]
fn a_fetched_guest_is_at_hand_in_any_project() {
    let profile = "[profiles.p]\nkernel = 'guest:debian'\ninitrd = 'guest:debian'\ncmdline = 'quiet'\n";
    let dir = project(&[
        ("provium.toml", profile),
        ("a.test.lua", "test('one', function() end)\n"),
    ]);
    let before = cached(&dir, &[]);
    assert_eq!(before.code, Some(2));
    assert!(
        before.stderr.contains("`provium guest fetch` makes it"),
        "{}",
        before.stderr
    );
    let path = apt(&dir);
    let ran = fetch(&dir, &path, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "kernel = \"guest:debian\"\ninitrd = \"guest:debian\"\n"
    );
    let kernel = ready_kernel(&dir);
    assert_eq!(fs::read_to_string(&kernel).expect("a kernel"), "the kernel");
    assert!(kernel.with_file_name("lib/modules/9.1-cloud-amd64").is_dir());
    let checked = cached(&dir, &["--accel", "kvm"]);
    assert!(!checked.stderr.contains("guest fetch"), "{}", checked.stderr);

    // The same again downloads nothing; a newer package takes the place of the older.
    assert!(!fetch(&dir, &path, &[]).stderr.contains("downloading"));
    let about = "Package: linux-image-9.1-cloud-amd64\nVersion: 9.1-2\nDepends: kmod\n";
    write(&dir, "packages/linux-image-9.1-cloud-amd64/about", about);
    let newer = "packages/linux-image-9.1-cloud-amd64/tree/boot/vmlinuz-9.1-cloud-amd64";
    write(&dir, newer, "a newer kernel");
    assert_eq!(fetch(&dir, &path, &[]).code, Some(0));
    assert_eq!(fs::read_to_string(&kernel).expect("a kernel"), "a newer kernel");
}

#[test]
fn the_userland_is_there_when_it_is_asked_for() {
    let dir = project(&[]);
    let path = apt(&dir);
    let ran = fetch(&dir, &path, &["--userland"]);
    if !rustix::process::geteuid().is_root() {
        assert!(
            ran.code == Some(2) && ran.stderr.contains("has to be root"),
            "{ran:?}"
        );
        return;
    }
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.ends_with("rootfs = \"guest:debian\"\n"),
        "{}",
        ran.stdout
    );
    let image = dir.path().join("cache/provium/guest/debian-userland/debian.ext4");
    let how = fs::read_to_string(image).expect("an image");
    for package in ["curl", "iproute2", "python3-minimal"] {
        assert!(how.contains(package), "{how}");
    }
}

#[test]
fn a_machine_without_apt_is_told_so() {
    let dir = project(&[("bin/readme", "")]);
    let ran = fetch(&dir, &dir.path().join("bin").display().to_string(), &[]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("this machine has no apt"),
        "{ran:?}"
    );
}

#[test]
fn a_run_takes_the_ready_guest_where_nothing_is_named() {
    let dir = project(&[]);
    let args = ["run", "--accel", "kvm", "--", "true"];
    let ran = cached(&dir, &args);
    assert_eq!(ran.code, Some(125), "{ran:?}");
    assert!(ran.stderr.contains("what is to boot?"), "{ran:?}");
    for name in ["vmlinuz", "initrd.cpio"] {
        write(&dir, &format!("cache/provium/guest/cloud-1/{name}"), "no kernel");
    }
    let link = ready_kernel(&dir);
    symlink("cloud-1", link.parent().expect("the link")).expect("a link");
    let ran = cached(&dir, &args);
    assert_eq!(ran.code, Some(125), "{ran:?}");
    assert!(!ran.stderr.contains("what is to boot?"), "{ran:?}");
}

/// Where the ready guest's kernel is, or would be.
fn ready_kernel(dir: &TempDir) -> PathBuf {
    DebianGuest::at(&dir.path().join("cache")).kernel
}

#[test]
fn a_kernel_of_the_command_line_can_be_the_ready_one() {
    let profile = "[profiles.p]\nkernel = 'k'\ncmdline = 'quiet'\n";
    let dir = project(&[("provium.toml", profile), ("k", "a kernel")]);
    let ran = cached(&dir, &["list", "--kernel", "p=guest:debian"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("`provium guest fetch` makes it"),
        "{ran:?}"
    );
    write(&dir, "cache/provium/guest/cloud-1/vmlinuz", "a kernel");
    let link = ready_kernel(&dir);
    symlink("cloud-1", link.parent().expect("the link")).expect("a link");
    let ran = cached(&dir, &["list", "--kernel", "p=guest:debian"]);
    assert!(!ran.stderr.contains("guest fetch"), "{ran:?}");
}
