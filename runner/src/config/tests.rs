//! What a configuration comes to, and the exact words for each mistake in one.

use std::fs;
use std::path::{Path, PathBuf};

use provium_debian::guest::DebianGuest;
use provium_guest::DiskOption;
use tempfile::TempDir;

use super::*;

mod mutated;

struct Project(TempDir);

impl Project {
    fn new(toml: &str) -> Project {
        let dir = TempDir::new().expect("a temporary folder");
        fs::write(dir.path().join(FILE_NAME), toml).expect("write");
        Project(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let env = Environment {
            home: Some("/home/u".into()),
            xdg_cache_home: None,
            ..Environment::default()
        };
        Config::load(None, self.0.path(), &[], &env)
    }
}

fn loaded(toml: &str) -> Config {
    Project::new(toml).load().expect(toml)
}

/// The error's text; the project's folder in it is shown as `DIR`.
fn error(toml: &str) -> String {
    let project = Project::new(toml);
    let error = match project.load() {
        Err(error) => error,
        Ok(config) => config.check_files().expect_err(toml),
    };
    error
        .to_string()
        .replace(&*project.0.path().to_string_lossy(), "DIR")
}

#[test]
fn every_key_arrives() {
    let project = Project::new(
        r#"
        [provium]
        roots = ["tests", "/more"]
        cache_dir = "~/cache"
        cache_max_size = "5G"
        disk_max = "1G"
        [profiles.full]
        kernel = "vmlinux"
        initrd = "sub/initrd"
        cmdline = " quiet  loglevel=1 "
        cmdline_file = "cmdline"
        memory = "256M"
        cpus = 2
        inject_agent = false
        build = "make O={out} && echo {out}"
        build_out = "b c"
        "#,
    );
    fs::write(project.path("cmdline"), "root=/dev/vda\n  ro\n").expect("write");
    let config = project.load().expect("a good file");
    assert_eq!(config.roots, [project.path("tests"), "/more".into()]);
    assert_eq!(config.cache_dir, PathBuf::from("/home/u/cache"));
    assert_eq!(config.cache_max_size, 5 << 30);
    assert_eq!(config.disk_max, 1 << 30);
    let profile = config.profile("full").expect("the profile");
    assert_eq!(profile.guest.kernel, project.path("vmlinux"));
    assert_eq!(profile.guest.initrd, Some(project.path("sub/initrd")));
    assert_eq!(profile.guest.cmdline, "root=/dev/vda ro quiet  loglevel=1");
    assert_eq!(
        (
            profile.guest.memory,
            profile.guest.cpus,
            profile.guest.inject_agent
        ),
        (256 << 20, 2, false)
    );
    let out = project.path("b c");
    let build = profile.build.as_ref().expect("a build");
    assert_eq!(
        build.command,
        format!("make O='{0}' && echo '{0}'", out.display())
    );
    assert_eq!(
        (build.out.as_ref(), build.dir.as_path()),
        (Some(&out), project.0.path())
    );
}

#[test]
fn defaults_are_filled_in() {
    let config = loaded("[profiles.p]\nkernel = 'k'\ncmdline = 'quiet'\nmemory = 134217728");
    assert_eq!(config.roots, std::slice::from_ref(&config.project));
    assert_eq!(config.cache_dir, PathBuf::from("/home/u/.cache/provium/fixtures"));
    let profile = config.profile("p").expect("the profile");
    assert_eq!(
        (
            profile.guest.memory,
            profile.guest.cpus,
            profile.guest.inject_agent
        ),
        (128 << 20, 1, true)
    );
    assert_eq!((&profile.guest.initrd, &profile.build), (&None, &None));
}

#[test]
fn files_with_debug_information_arrive_and_are_inherited() {
    let project = Project::new(
        r#"
        [profiles.a]
        kernel = "k"
        cmdline = "q"
        build = "make O={out}"
        build_out = "out"
        debuginfo = "{out}/vmlinux"
        [profiles.b]
        inherits = "a"
        [profiles.c]
        inherits = "a"
        debuginfo = ["vmlinux", "mod.ko"]
        "#,
    );
    let config = project.load().expect("a good file");
    let files = |name| config.profile(name).expect("the profile").debuginfo.clone();
    assert_eq!(files("b"), [project.path("out/vmlinux")]);
    assert_eq!(files("c"), [project.path("vmlinux"), project.path("mod.ko")]);
}

#[test]
fn disks_arrive_and_are_inherited() {
    let project = Project::new(
        r#"
        [profiles.a]
        kernel = "k"
        cmdline = "q"
        [[profiles.a.disks]]
        path = "data.raw"
        id = "data"
        readonly = true
        format = "raw"
        [[profiles.a.disks]]
        scratch = "1M"
        [profiles.b]
        inherits = "a"
        [profiles.c]
        inherits = "a"
        disks = []
        "#,
    );
    let config = project.load().expect("a good file");
    let disks = |name: &str| config.profile(name).expect("the profile").guest.disks.clone();
    let expected = [
        DiskOption {
            id: "data".to_owned(),
            image: Some(project.path("data.raw")),
            raw: true,
            readonly: true,
            size: None,
            writable: false,
        },
        DiskOption {
            id: "disk1".to_owned(),
            image: None,
            raw: false,
            readonly: false,
            size: Some(1 << 20),
            writable: false,
        },
    ];
    assert_eq!(disks("a"), expected);
    assert_eq!(disks("b"), expected);
    assert_eq!(disks("c"), []);
    fs::write(project.path("k"), "").expect("write");
    let error = config.check_files().expect_err("no image").to_string();
    let image = project.path("data.raw");
    assert_eq!(
        error,
        format!(
            "provium.toml:5: `disks` in [profiles.a]: {} does not exist",
            image.display()
        )
    );
}

#[test]
fn out_is_a_folder_of_the_profile_that_says_the_build() {
    let project = Project::new(
        r#"
        [profiles.a]
        kernel = "{out}/arch/bzImage"
        initrd = "{out}"
        rootfs = "{out}/root"
        cmdline = "q"
        build = "make O={out}"
        [[profiles.a.disks]]
        path = "{out}/data.raw"
        [profiles.b]
        inherits = "a"
        kernel = "{out}/other"
        [profiles.c]
        kernel = "k"
        cmdline = "q"
        build = "make"
        "#,
    );
    let config = project.load().expect("a good file");
    let profile = |name: &str| config.profile(name).expect("the profile");
    let (a, b) = (profile("a"), profile("b"));
    let out = project.path("target/provium/a");
    assert_eq!(a.guest.kernel, out.join("arch/bzImage"));
    assert_eq!(a.guest.initrd.as_ref(), Some(&out));
    assert_eq!(a.guest.rootfs, Some(out.join("root")));
    assert_eq!(a.guest.disks[0].image, Some(out.join("data.raw")));
    assert_eq!(b.guest.kernel, out.join("other"));
    assert_eq!(a.build, b.build, "one run of the command serves both");
    let build = a.build.as_ref().expect("a build");
    assert_eq!(
        (build.command.as_str(), build.out.as_ref()),
        (format!("make O={}", out.display()).as_str(), Some(&out))
    );
    let plain = profile("c").build.as_ref().expect("a build");
    assert_eq!((plain.command.as_str(), plain.out.as_ref()), ("make", None));
}

#[test]
fn the_cache_follows_xdg() {
    let cache = |xdg: &str| {
        Environment {
            home: Some("/h".into()),
            xdg_cache_home: Some(xdg.into()),
            ..Environment::default()
        }
        .cache_dir()
    };
    assert_eq!(cache("/x"), PathBuf::from("/x/provium/fixtures"));
    assert_eq!(cache("relative"), PathBuf::from("/h/.cache/provium/fixtures"));
}

#[test]
fn both_spellings_and_inheritance() {
    let config = loaded(
        "[profile.base]\nkernel = 'k'\ncmdline = 'quiet'\ncpus = 2\n\
         [profiles.middle]\ninherits = 'base'\nmemory = '1G'\n\
         [profiles.top]\ninherits = 'middle'\ncmdline = 'debug'",
    );
    let top = config.profile("top").expect("the profile");
    assert_eq!(
        (top.guest.cpus, top.guest.memory, top.guest.cmdline.as_str()),
        (2, 1 << 30, "debug")
    );
    assert_eq!(
        config.profile("middle").expect("the profile").guest.cmdline,
        "quiet"
    );
}

#[test]
fn found_in_a_parent_and_absent_altogether() {
    let project = Project::new("[provium]\nroots = ['tests']");
    let below = project.path("tests/deep");
    fs::create_dir_all(&below).expect("folders");
    let config = Config::load(None, &below, &[], &Environment::default()).expect("found above");
    assert_eq!(config.project, project.0.path());
    assert_eq!(config.file, Some(project.path(FILE_NAME)));

    let empty = Config::without_file(&below, &Environment::default());
    assert_eq!(
        (empty.file.as_ref(), empty.roots.as_slice()),
        (None, [below.clone()].as_slice())
    );
    let message = empty.profile("p").expect_err("no profiles");
    assert!(
        message.starts_with("there is no profile `p`: no provium.toml in "),
        "{message}"
    );
    empty.check_files().expect("nothing named, nothing missing");

    let missing = Config::load(Some("nope.toml".as_ref()), &below, &[], &Environment::default());
    let message = missing.expect_err("missing").to_string();
    assert!(
        message.starts_with("cannot read the configuration ") && message.contains("nope.toml: No such file")
    );
}

#[test]
fn found_where_the_tests_are_when_there_is_none_here() {
    let project = Project::new("[provium]\nroots = ['tests']");
    fs::create_dir_all(project.path("tests/deep")).expect("folders");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let load = |paths: &[PathBuf]| {
        Config::load(None, elsewhere.path(), paths, &Environment::default())
            .expect("no mistake")
            .file
    };
    let found = Some(project.path(FILE_NAME));
    assert_eq!(load(&[project.path("tests/deep/a.test.lua")]), found);
    assert_eq!(load(&[project.path("tests/deep"), project.path("tests")]), found);
    assert_eq!(load(&[project.path("tests"), elsewhere.path().to_owned()]), None);
    assert_eq!(load(&[]), None);
}

#[test]
fn a_wrong_profile_name_finds_the_nearest() {
    let toml =
        "[profiles.minimal]\nkernel = 'k'\ncmdline = 'q'\n[profiles.debug]\nkernel = 'k'\ncmdline = 'q'";
    let config = loaded(toml);
    let message = |name| config.profile(name).expect_err(name);
    assert!(
        message("minmal").ends_with("provium.toml; did you mean `minimal`?"),
        "{}",
        message("minmal")
    );
    assert!(
        message("xyz").ends_with("provium.toml; it has debug, minimal"),
        "{}",
        message("xyz")
    );
}

#[test]
fn mistakes_name_file_line_and_remedy() {
    let good = "kernel = 'k'\ncmdline = 'q'\n";
    let in_profile = |rest: &str| format!("[profiles.p]\n{good}{rest}");
    let cases: &[(String, &str)] = &[
        (
            "[profiles.minimal]\nkernal = 'k'".into(),
            "provium.toml:2: unknown key `kernal` in [profiles.minimal]; did you mean `kernel`?",
        ),
        (
            "[provium]\nzzz = 1".into(),
            "provium.toml:2: unknown key `zzz` in [provium]; valid keys are cache_dir, cache_max_size, disk_max, ignore_splats, known_failures, roots, splats",
        ),
        (
            "\n[provum]\nroots = ['.']".into(),
            "provium.toml:2: unknown key `provum` in the file; did you mean `provium`?",
        ),
        (
            "[provium]\nroots = 'tests'".into(),
            "provium.toml:2: `roots` in [provium] must be an array of strings, got a string",
        ),
        (
            "[provium]\nroots = ['a', 1]".into(),
            "provium.toml:2: `roots` in [provium] must be an array of strings, got an array with other values in it",
        ),
        (
            "[provium]\nroots = []".into(),
            "provium.toml:2: `roots` in [provium]: must name at least one folder",
        ),
        (
            "[provium]\nroots = ['']".into(),
            "provium.toml:2: `roots` in [provium]: an empty path",
        ),
        (
            "[provium]\nroots = ['nope']".into(),
            "provium.toml:2: `roots` in [provium]: nope does not exist",
        ),
        (
            "[provium]\nroots = ['provium.toml']".into(),
            "provium.toml:2: `roots` in [provium]: provium.toml is no folder",
        ),
        (
            "[profile]\ncmdline = 'q'\nkernel = 'k'".into(),
            "provium.toml:1: a profile needs a name: [profile.NAME] with `cmdline` below it",
        ),
        (
            "[profiles.p]\nkernel = 'k'\n\n[profiles.p]\ncmdline = 'q'".into(),
            "provium.toml:4: [profiles.p] is there twice (first on line 1)",
        ),
        (
            "[profiles.p]\nkernel = 'k'\nkernel = 'l'".into(),
            "provium.toml:3: duplicate key",
        ),
        (
            in_profile("memory = 512"),
            "provium.toml:4: `memory` in [profiles.p]: memory must be 64M to 64G, got 512 bytes; write \"512M\"",
        ),
        (
            in_profile("memory = 1"),
            "provium.toml:4: `memory` in [profiles.p]: memory must be 64M to 64G, got 1",
        ),
        (
            "[provium]\ncache_max_size = 'big'".into(),
            "provium.toml:2: `cache_max_size` in [provium]: `big` is not a size; write bytes, or a number with K, M or G such as `256M`",
        ),
        (
            "[provium]\ncache_max_size = -1".into(),
            "provium.toml:2: `cache_max_size` in [provium]: must not be negative",
        ),
        (
            "profiles = 3".into(),
            "provium.toml:1: `profiles` in the file must be a table, got an integer",
        ),
        (
            "[profiles]\np = 3".into(),
            "provium.toml:2: `p` in [profiles] must be a table, got an integer",
        ),
        (
            "[profiles.p]\ncmdline = 'q'".into(),
            "provium.toml:1: [profiles.p] needs the key `kernel`",
        ),
        (
            "\n[profiles.p]\nkernel = 'k'".into(),
            "provium.toml:2: [profiles.p] needs the key `cmdline`",
        ),
        (
            "[profiles.p]\nkernel = 'k'\ncmdline = '  '".into(),
            "provium.toml:3: `cmdline` in [profiles.p]: must not be empty; `quiet` is a good start",
        ),
        (
            in_profile("cpus = '2'"),
            "provium.toml:4: `cpus` in [profiles.p] must be a whole number, got a string",
        ),
        (
            in_profile("cpus = 1.5"),
            "provium.toml:4: `cpus` in [profiles.p] must be a whole number, got a float",
        ),
        (
            in_profile("cpus = 0"),
            "provium.toml:4: `cpus` in [profiles.p]: cpus must be 1 to 32, got 0",
        ),
        (
            in_profile("cpus = 33"),
            "provium.toml:4: `cpus` in [profiles.p]: cpus must be 1 to 32, got 33",
        ),
        (
            in_profile("memory = '32M'"),
            "provium.toml:4: `memory` in [profiles.p]: memory must be 64M to 64G, got 32M",
        ),
        (
            in_profile("memory = '65G'"),
            "provium.toml:4: `memory` in [profiles.p]: memory must be 64M to 64G, got 65G",
        ),
        (
            in_profile("memory = '65537K'"),
            "provium.toml:4: `memory` in [profiles.p]: memory must be in whole pages of 4096 bytes, got 65537K",
        ),
        (
            in_profile("memory = true"),
            "provium.toml:4: `memory` in [profiles.p] must be a size, such as \"256M\", got a boolean",
        ),
        (
            in_profile("inject_agent = 1"),
            "provium.toml:4: `inject_agent` in [profiles.p] must be true or false, got an integer",
        ),
        (
            in_profile("rootfs = 7"),
            "provium.toml:4: `rootfs` in [profiles.p] must be a string, got an integer",
        ),
        (
            in_profile("cmdline_file = 'nope'"),
            "provium.toml:4: `cmdline_file` in [profiles.p]: cannot read DIR/nope: No such file or directory",
        ),
        (
            in_profile("build_out = 'o'"),
            "provium.toml:4: `build_out` in [profiles.p] is for `build`, which is not there",
        ),
        (
            in_profile("initrd = '{out}/i'"),
            "provium.toml:4: `initrd` in [profiles.p] has {out}, but there is no `build`",
        ),
        (
            in_profile("initrd = 'x/{out}/i'\nbuild = 'make'"),
            "provium.toml:4: `initrd` in [profiles.p] has {out} in the middle; it is a folder, for the beginning of a path",
        ),
        (
            in_profile("disks = 7"),
            "provium.toml:4: `disks` in [profiles.p] must be an array of tables, got an integer",
        ),
        (
            in_profile("[[profiles.p.disks]]\nimage = 'x'"),
            "provium.toml:5: unknown key `image` in [[profiles.p.disks]]; valid keys are format, id, path, readonly, scratch",
        ),
        (
            in_profile("[[profiles.p.disks]]\nid = 'x'"),
            "provium.toml:4: `path` in [[profiles.p.disks]]: give `path`, or `scratch` for scratch",
        ),
        (
            in_profile("[[profiles.p.disks]]\npath = 'x'\nformat = 'qcow2'"),
            "provium.toml:6: `format` in [[profiles.p.disks]]: `qcow2` is not supported, only `raw`; convert it: qemu-img convert -O raw IMAGE IMAGE.raw",
        ),
        (
            in_profile(
                "[[profiles.p.disks]]\nscratch = 512\n[[profiles.p.disks]]\nscratch = 512\nid = 'disk0'",
            ),
            "provium.toml:6: `id` in [[profiles.p.disks]]: two disks have the id `disk0`",
        ),
        (
            in_profile("inherits = 'q'"),
            "provium.toml:4: `inherits` in [profiles.p]: there is no profile `q`",
        ),
        (
            in_profile("inherits = 'p'"),
            "provium.toml:4: `inherits` in [profiles.p]: a circle, p -> p",
        ),
        (
            in_profile("[profiles.base]\nkernel = 'k'\ncmdline = 'q'\n[profiles.top]\ninherits = 'bas'"),
            "provium.toml:8: `inherits` in [profiles.top]: there is no profile `bas`; did you mean `base`?",
        ),
        (
            in_profile("[profile.p]\nkernel = 'k'\ncmdline = 'q'"),
            "provium.toml:4: there are two profiles `p`",
        ),
        (
            in_profile(""),
            "provium.toml:2: `kernel` in [profiles.p]: DIR/k does not exist",
        ),
        (
            "[profiles.p]\nkernel = '.'\ncmdline = 'q'".into(),
            "provium.toml:2: `kernel` in [profiles.p]: DIR is not a file",
        ),
        (
            "[profiles.p]\nkernel = 'provium.toml'\ninitrd = 'nope'\ncmdline = 'q'".into(),
            "provium.toml:3: `initrd` in [profiles.p]: DIR/nope does not exist",
        ),
        (
            "[profiles.p]\nkernel = 'provium.toml'\ncmdline = 'q'\ndebuginfo = ['provium.toml', 'gone.ko']"
                .into(),
            "provium.toml:4: `debuginfo` in [profiles.p]: DIR/gone.ko does not exist",
        ),
        (
            in_profile("debuginfo = 3"),
            "provium.toml:4: `debuginfo` in [profiles.p] must be a string or an array of strings, got an integer",
        ),
        (
            "[profiles.p]\nkernel = 'provium.toml'\nrootfs = '/dev/null'\ncmdline = 'q'".into(),
            "provium.toml:3: `rootfs` in [profiles.p]: /dev/null is neither a disk image nor a folder",
        ),
        (
            in_profile("build = 'true'"),
            "provium.toml:2: `kernel` in [profiles.p]: DIR/k does not exist (and `build` did not make it)",
        ),
    ];
    for (toml, message) in cases {
        assert_eq!(error(toml), *message, "{toml}");
    }
}

#[test]
fn broken_toml_has_its_line() {
    for (toml, line) in [
        ("[provium]\nroots = [", 2),
        ("a = 1\nb == 2", 2),
        ("[a]\n[a]", 2),
        ("x = \"\u{1}\"", 1),
    ] {
        let message = error(toml);
        assert!(
            message.starts_with(&format!("provium.toml:{line}: ")),
            "{toml}: {message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn home_must_be_known_where_it_is_used() {
    let project = Project::new("[provium]\ncache_dir = '~/x'");
    let error = Config::load(None, project.0.path(), &[], &Environment::default()).expect_err("no HOME");
    assert_eq!(
        error.to_string(),
        "provium.toml:2: `cache_dir` in [provium]: `~` needs HOME, which is not set"
    );
}

#[test]
fn limits_name_the_value() {
    assert_eq!(check_memory(64 << 20), Ok(64 << 20));
    assert_eq!(check_memory(64 << 30), Ok(64 << 30));
    assert_eq!(
        check_memory((64 << 20) - 1),
        Err("memory must be 64M to 64G, got 67108863".into())
    );
    assert_eq!(check_memory((64 << 20) + 4096), Ok((64 << 20) + 4096));
    assert_eq!(
        check_memory((64 << 20) + 1024),
        Err("memory must be in whole pages of 4096 bytes, got 65537K".into())
    );
    assert_eq!(check_cpus(32), Ok(32));
    assert_eq!(check_cpus(-1), Err("cpus must be 1 to 32, got -1".into()));
    assert_eq!(check_cpus(257), Err("cpus must be 1 to 32, got 257".into()));
}

#[test]
fn what_has_the_name_of_the_file_is_meant() {
    let project = Project::new("");
    let file = project.path(FILE_NAME);
    let error = || {
        let error = project.load().expect_err("no configuration").to_string();
        error.replace(&*project.0.path().to_string_lossy(), "DIR")
    };
    fs::write(&file, b"# \xff").expect("write");
    assert_eq!(
        error(),
        "cannot read the configuration DIR/provium.toml: stream did not contain valid UTF-8"
    );
    fs::remove_file(&file).expect("remove");
    std::os::unix::fs::symlink("nowhere", &file).expect("a link");
    assert_eq!(
        error(),
        "cannot read the configuration DIR/provium.toml: it is a link to what does not exist"
    );
    fs::remove_file(&file).expect("remove");
    fs::create_dir(&file).expect("a folder");
    assert_eq!(
        error(),
        "cannot read the configuration DIR/provium.toml: it is a folder"
    );
    fs::remove_dir(&file).expect("remove");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &file, kind, mode, 0).expect("a pipe");
    assert_eq!(
        error(),
        "cannot read the configuration DIR/provium.toml: it is not a regular file"
    );
    fs::remove_file(&file).expect("remove");
    let profile = "[profiles.p]\nkernel = 'k'\ncmdline = 'q'\ncmdline_file = 'pipe'";
    fs::write(&file, profile).expect("write");
    rustix::fs::mknodat(rustix::fs::CWD, project.path("pipe"), kind, mode, 0).expect("a pipe");
    assert!(
        error().ends_with("cannot read DIR/pipe: it is not a regular file but a pipe"),
        "{}",
        error()
    );
}

#[test]
fn a_root_that_is_missing_has_a_neighbour() {
    let project = Project::new("[provium]\nroots = ['test']");
    for folder in ["tests", "docs"] {
        fs::create_dir(project.path(folder)).expect("a folder");
    }
    let config = project.load().expect("a good file");
    let error = config.check_roots().expect_err("no root").to_string();
    assert_eq!(
        error,
        "provium.toml:2: `roots` in [provium]: test does not exist; did you mean `tests`?"
    );
}

#[test]
fn an_initrd_that_no_kernel_unpacks_is_refused() {
    let toml = "[profiles.p]\nkernel = 'k'\ncmdline = 'q'\ninitrd = 'i'\n";
    let project = Project::new(toml);
    fs::write(project.path("k"), "").expect("write");
    fs::write(project.path("i"), "root:x:0:0").expect("write");
    let check = |project: &Project| project.load().expect("a good file").check_files();
    let error = check(&project).expect_err("no archive").to_string();
    assert!(
        error.starts_with("provium.toml:4: `initrd` in [profiles.p]: /")
            && error
                .ends_with("/i is no newc cpio archive, nor one in gzip, bzip2, lzma, xz, lzo, lz4 or zstd"),
        "{error}"
    );
    // Whoever brings an agent may boot from a file system.
    fs::write(project.path(FILE_NAME), format!("{toml}inject_agent = false\n")).expect("write");
    check(&project).expect("nothing to say");
    fs::write(project.path(FILE_NAME), toml).expect("write");
    fs::write(project.path("i"), b"\x1f\x8b").expect("write");
    check(&project).expect("an archive");
    fs::write(project.path("i"), "070701").expect("write");
    let error = check(&project).expect_err("no end").to_string();
    assert!(error.contains("truncated"), "{error}");
}

#[test]
fn modules_are_a_folder_as_kernels_install_them() {
    let project = Project::new("[profiles.p]\nkernel = 'k'\ncmdline = 'q'\nmodules = 'lib/6.1-x'\n");
    fs::write(project.path("k"), "").expect("write");
    let check = |project: &Project| project.load().expect("a good file").check_files();
    let error = check(&project).expect_err("no folder").to_string();
    assert!(
        error.starts_with("provium.toml:4: `modules` in [profiles.p]: /")
            && error.ends_with("does not exist"),
        "{error}"
    );
    fs::create_dir_all(project.path("lib/6.1-x")).expect("a folder");
    let error = check(&project).expect_err("no modules").to_string();
    assert!(error.contains("is neither a folder of modules"), "{error}");
    fs::create_dir(project.path("lib/6.1-x/kernel")).expect("a folder");
    check(&project).expect("nothing to say");
}

#[test]
fn a_ready_guest_stands_for_its_files() {
    let profile = |kernel: &str| {
        format!(
            "[profiles.p]\nkernel = '{kernel}'\ninitrd = 'guest:debian'\nrootfs = 'guest:debian'\ncmdline = 'quiet'\n"
        )
    };
    let config = loaded(&profile("guest:debian"));
    let guest = &config.profile("p").expect("a profile").guest;
    let ready = DebianGuest::at(Path::new("/home/u/.cache"));
    assert_eq!(guest.kernel, ready.kernel);
    assert_eq!(guest.initrd, Some(ready.initrd));
    assert_eq!(guest.rootfs, Some(ready.rootfs));
    assert_eq!(
        error(&profile("guest:debain")),
        "provium.toml:2: `kernel` in [profiles.p]: there is no guest `guest:debain`; there is `guest:debian`"
    );
    assert_eq!(
        error(&profile("guest:debian")),
        format!(
            "provium.toml:2: `kernel` in [profiles.p]: {} does not exist; `provium guest fetch` makes it",
            ready.kernel.display()
        )
    );
}

#[test]
fn shared_folders_and_the_hosts_root_arrive() {
    let toml = "[profiles.p]\nkernel = 'k'\ncmdline = 'q'\nrootfs = 'host'\n\
                shares = [{host = 'a', guest = '/a'}, {host = '/b', guest = '/b', mode = 'rw'}]\n\
                [profiles.q]\ninherits = 'p'\nrootfs = './host'\nshares = []\n";
    let project = Project::new(toml);
    let config = project.load().expect("a good file");
    let (p, q) = (&config.profiles["p"].guest, &config.profiles["q"].guest);
    assert!(p.host_root && p.rootfs.is_none());
    let shares: Vec<_> = p
        .shares
        .iter()
        .map(|share| (share.host.clone(), share.mode))
        .collect();
    assert_eq!(
        shares,
        [(project.path("a"), ShareMode::Ro), ("/b".into(), ShareMode::Rw)]
    );
    assert_eq!((q.host_root, &q.rootfs), (false, &Some(project.path("./host"))));
    assert!(q.shares.is_empty());
    let written: Vec<_> = config.folders_that_guests_write().collect();
    assert_eq!(written, [PathBuf::from("/b")]);
}

#[test]
fn mistakes_in_shared_folders_are_named() {
    let share = |share: &str| {
        let toml =
            format!("[profiles.p]\nkernel = '/dev/../etc/passwd'\ncmdline = 'q'\nshares = [{share}]\n");
        error(&toml)
    };
    let at = "provium.toml:4: ";
    assert_eq!(
        share("{host = '/etc', guest = '/a', mode = 'rx'}"),
        format!("{at}`mode` in [[profiles.p.shares]]: `rx` is none of `ro`, `rw` and `overlay`")
    );
    assert_eq!(
        share("{guest = '/a'}"),
        format!("{at}`host` in [[profiles.p.shares]]: is missing")
    );
    assert_eq!(
        share("{host = 'none', guest = '/a'}"),
        format!("{at}`shares` in [profiles.p]: DIR/none: No such file or directory (os error 2)")
    );
    assert_eq!(
        share("{host = '/etc', guest = '/proc'}"),
        format!(
            "{at}`shares` in [profiles.p]: `/proc` is no place for a folder in a guest: the guest has its own there \
             (for `/`, see `rootfs = \"host\"`)"
        )
    );
}
