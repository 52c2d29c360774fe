//! `provium bisect` over toy histories, by the built command and by Git's own `bisect run`, where no guest is
//! needed: what a build makes is read by a test on the host.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use support::{Ran, finished, project, provium, run, write};

/// A history's commits, by their tags.
struct History {
    dir: TempDir,
}

/// Reads what the build has made of the checked-out commit; `at times` fails in one round of four or so.
const TEST: &str = "test('value is fine', function(t)\n\
                      local file = io.open('value'); local value = file:read('l'); file:close()\n\
                      if value == 'flaky' then value = math.random(4) == 1 and 'broken' or 'fine' end\n\
                      t:assert_eq(value, 'fine')\nend)\n";

/// A build that takes note of each time it runs, and fails where the commit says so.
const TOML: &str = "[provium]\ncache_dir = 'cache/fixtures'\n[profiles.toy]\ntree = 'src'\n\
                    kernel = '{out}/kernel'\ncmdline = 'quiet'\n\
                    build = '''\nset -e\necho x >> builds\ntest ! -e {tree}/nobuild\n\
                    cat {tree}/value {tree}/notes > {out}/kernel\ncp {tree}/value value\n'''\n";

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args);
    let who = [
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_EMAIL",
    ];
    command.envs(who.map(|name| (name, "toy@example.org")));
    let output = command.output().expect("git runs");
    let ran = finished(output);
    assert_eq!(ran.code, Some(0), "git {args:?}: {}", ran.stderr);
    ran.stdout.trim_end().to_owned()
}

impl History {
    /// 64 commits tagged c1 to c64, with a value that is this from commit `from` on; those in `without` do
    /// not build.
    fn new(value: &str, from: usize, without: &[usize]) -> History {
        let history = History {
            dir: project(&[("provium.toml", TOML), ("a.test.lua", TEST)]),
        };
        let src = history.src();
        fs::create_dir(&src).expect("a folder");
        git(&src, &["init", "--quiet", "--initial-branch", "main"]);
        for number in 1..=64 {
            let value = if number < from { "fine" } else { value };
            history.commit(number, value, without.contains(&number));
        }
        history
    }

    fn src(&self) -> PathBuf {
        self.dir.path().join("src")
    }

    fn commit(&self, number: usize, value: &str, broken: bool) {
        let (src, name) = (self.src(), format!("c{number}"));
        fs::write(src.join("value"), format!("{value}\n")).expect("written");
        fs::write(src.join("notes"), format!("{name}\n")).expect("written");
        match broken {
            true => fs::write(src.join("nobuild"), "").expect("written"),
            false => drop(fs::remove_file(src.join("nobuild"))),
        }
        git(&src, &["add", "--all"]);
        git(&src, &["commit", "--quiet", "-m", &format!("change {name}")]);
        git(&src, &["tag", &name]);
    }

    fn bisect(&self, args: &[&str]) -> Ran {
        run(&self.dir, &[&["bisect"], args, &["--", "a.test.lua"]].concat())
    }

    /// Number of times that something was built.
    fn builds(&self) -> usize {
        let path = self.dir.path().join("builds");
        fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }
}

/// The subject of the commit that a bisect has found.
fn found(ran: &Ran) -> &str {
    let first = ran.stdout.lines().next().unwrap_or_default();
    let title = first.strip_prefix("the first bad commit is ");
    title
        .and_then(|title| title.split_once(' '))
        .map_or(first, |(_, subject)| subject)
}

#[test]
fn a_bisect_finds_the_commit_in_a_worktree_of_its_own() {
    let history = History::new("broken", 41, &[37, 38]);
    let src = history.src();
    fs::write(src.join("value"), "mine\n").expect("written");
    let ran = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.starts_with("the first bad commit is "),
        "{}",
        ran.stdout
    );
    assert_eq!(found(&ran), "change c41");
    for shown in [
        "2 files changed",
        "bad on ",
        "FAIL value is fine",
        "left:  \"broken\"",
        "good on ",
        "PASS a.test.lua (1 passed",
    ] {
        assert!(ran.stdout.contains(shown), "{shown} in {}", ran.stdout);
    }
    // Six halve 63 commits; the parent of the answer was among them, since 39 and 40 are.
    assert!(ran.stderr.contains("provium bisect: 6 steps\n"), "{}", ran.stderr);
    assert_eq!(history.builds(), 6, "{}", ran.stderr);
    // The user's own tree is as it was, and nothing was built there.
    assert_eq!(fs::read_to_string(src.join("value")).expect("there"), "mine\n");
    assert_eq!(git(&src, &["symbolic-ref", "HEAD"]), "refs/heads/main");
    let log = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("git bisect replay "));
    git(&src, &["checkout", "--quiet", "--force", "main"]);
    let replayed = git(&src, &["bisect", "replay", log.expect("a log")]);
    assert!(replayed.contains("is the first bad commit"), "{replayed}");

    // All is known, until something that matters changes.
    let again = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!((again.code, history.builds()), (Some(0), 6), "{}", again.stderr);
    let fresh = history.bisect(&["--good", "c1", "--bad", "c64", "--fresh"]);
    assert_eq!((fresh.code, history.builds()), (Some(0), 12), "{}", fresh.stderr);
    write(&history.dir, "a.test.lua", &format!("{TEST}-- changed\n"));
    let changed = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!(
        (changed.code, history.builds()),
        (Some(0), 18),
        "{}",
        changed.stderr
    );
    // A build log of each commit that was built.
    let logs = ran
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("logs of each commit: "));
    let logs = fs::read_dir(logs.expect("a folder")).expect("there");
    let names = logs.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    assert!(names.filter(|name| name.ends_with(".build")).count() >= 6);
}

#[test]
fn an_end_that_is_not_what_it_was_given_as_is_no_answer() {
    let history = History::new("broken", 65, &[]);
    let ran = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("This does not fit: "), "{}", ran.stdout);
}

#[test]
fn commits_that_do_not_build_are_skipped_and_named_when_it_is_one_of_them() {
    let history = History::new("broken", 38, &[37, 38]);
    let ran = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout
            .starts_with("it is one of these 3, which could not be told apart:\n"),
        "{}",
        ran.stdout
    );
    for name in ["change c37", "change c38", "change c39"] {
        assert!(ran.stdout.contains(name), "{}", ran.stdout);
    }
    assert!(
        ran.stderr.contains("skip: `build` of profile toy failed"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_killed_bisect_goes_on_where_it_was() {
    let history = History::new("broken", 23, &[]);
    let args = ["bisect", "--good", "c1", "--bad", "c64", "--", "a.test.lua"];
    let mut child = provium(history.dir.path(), &args).spawn().expect("it starts");
    let began = Instant::now();
    while history.builds() < 4 {
        assert!(began.elapsed() < Duration::from_secs(120), "it builds nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let before = history.builds();
    let ran = history.bisect(&["--good", "c1", "--bad", "c64"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(found(&ran), "change c23");
    let known = ran
        .stderr
        .lines()
        .filter(|line| line.ends_with(" (known)"))
        .count();
    assert!(known >= 3, "{}", ran.stderr);
    // The commit that it was killed at is built again, and no other.
    assert!(history.builds() - before <= 7 - known + 1, "{}", ran.stderr);
}

#[test]
fn a_merge_is_searched_on_both_sides_or_on_the_first_alone() {
    let history = History::new("fine", 1, &[]);
    let src = history.src();
    git(&src, &["checkout", "--quiet", "-b", "side", "c60"]);
    for number in 70..74 {
        let value = if number < 72 { "fine" } else { "broken" };
        history.commit(number, value, false);
    }
    git(&src, &["checkout", "--quiet", "main"]);
    git(
        &src,
        &[
            "merge",
            "--quiet",
            "--no-ff",
            "--strategy-option",
            "theirs",
            "-m",
            "take side in",
            "side",
        ],
    );
    let args = ["--good", "c50", "--bad", "main"];
    let ran = history.bisect(&args);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(found(&ran), "change c72");
    let first = history.bisect(&[&args[..], &["--first-parent"]].concat());
    assert_eq!(found(&first), "take side in");
}

#[test]
fn a_test_that_fails_at_times_is_repeated_as_often_as_it_takes() {
    let history = History::new("flaky", 41, &[]);
    let args = [
        "--good",
        "c1",
        "--bad",
        "c64",
        "--confidence",
        "0.999",
        "--repeat",
        "60",
    ];
    let ran = history.bisect(&args);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(found(&ran), "change c41");
    assert!(
        ran.stderr.contains("rounds: a commit is good when they pass in "),
        "{}",
        ran.stderr
    );
    // No commit is called good on fewer.
    let rounds = ran
        .stderr
        .split("a commit is good when they pass in ")
        .nth(1)
        .unwrap_or_default();
    let rounds: usize = rounds
        .lines()
        .next()
        .unwrap_or_default()
        .parse()
        .expect("a number");
    assert!(rounds > 20, "{rounds}");
    let never = History::new("fine", 1, &[]);
    let ran = never.bisect(&args);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("the tests did not fail in 60 rounds on the bad commit"),
        "{}",
        ran.stderr
    );
}

#[test]
fn each_exit_code_of_a_step_is_what_git_bisect_run_takes_it_for() {
    let history = History::new("broken", 41, &[37, 38]);
    let src = history.src();
    let program = env!("CARGO_BIN_EXE_provium");
    let bisect_run = |step: &str| {
        git(&src, &["bisect", "start", "c64", "c1"]);
        // Git runs the command at the top of its worktree, the project is above that.
        let script = format!("cd .. && {program} bisect step {step}");
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&src)
            .args(["bisect", "run", "sh", "-c", &script]);
        let ran = finished(command.output().expect("git runs"));
        git(&src, &["bisect", "reset"]);
        ran
    };
    let found = bisect_run("-- a.test.lua");
    assert_eq!(found.code, Some(0), "{}{}", found.stdout, found.stderr);
    let first = format!("{} is the first bad commit", git(&src, &["rev-parse", "c41"]));
    assert!(
        found.stdout.replace('\'', "").contains(&first),
        "{}{}",
        found.stdout,
        found.stderr
    );
    let with_skips = History::new("broken", 38, &[37, 38]);
    git(&with_skips.src(), &["checkout", "--quiet", "c37"]);
    let step = |args: &[&str]| {
        let ran = run(&with_skips.dir, &[&["bisect", "step"], args].concat());
        (ran.code, ran.stderr)
    };
    let (code, said) = step(&["--", "a.test.lua"]);
    assert_eq!(code, Some(125), "{said}");
    assert!(
        said.contains("provium bisect: skip: `build` of profile toy failed"),
        "{said}"
    );
    git(&with_skips.src(), &["checkout", "--quiet", "c36"]);
    assert_eq!(step(&["--", "a.test.lua"]).0, Some(0));
    git(&with_skips.src(), &["checkout", "--quiet", "c64"]);
    assert_eq!(step(&["--", "a.test.lua"]).0, Some(1));
    // What is no commit's fault ends the bisect, and blames none.
    for broken in [
        &["--", "nowhere.test.lua"][..],
        &["--", "--no-such-flag"],
        &["--", "doctor"],
    ] {
        let (code, said) = step(broken);
        assert_eq!(code, Some(128), "{broken:?}: {said}");
    }
    let stopped = bisect_run("-- nowhere.test.lua");
    assert_ne!(stopped.code, Some(0));
    assert!(!stopped.stdout.contains("first bad commit"), "{}", stopped.stdout);
    // Tests that are all skipped say nothing.
    write(
        &with_skips.dir,
        "s.test.lua",
        "test('later', function(t) t:skip('not now') end)\n",
    );
    assert_eq!(step(&["--", "s.test.lua"]).0, Some(125));
}

#[test]
fn what_cannot_be_bisected_is_said_before_anything_is_built() {
    let history = History::new("fine", 1, &[]);
    let cases: [(&str, &str, &[&str], &str); 4] = [
        (
            "{tree}",
            "src",
            &["--good", "c1", "--bad", "c64"],
            "no profile's `build` says {tree}",
        ),
        (
            "'{out}/kernel'",
            "'value'",
            &["--good", "c1", "--bad", "c64"],
            "no profile boots anything that a build",
        ),
        (
            "quiet",
            "quiet",
            &["--good", "nowhere", "--bad", "c64"],
            "`nowhere` is no commit of",
        ),
        ("quiet", "quiet", &["--good", "c64", "--bad", "c1"], "git bisect"),
    ];
    for (from, to, args, said) in cases {
        write(&history.dir, "provium.toml", &TOML.replace(from, to));
        let ran = history.bisect(args);
        assert_eq!(ran.code, Some(2), "{said}: {}", ran.stdout);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        assert_eq!(history.builds(), 0);
    }
}

#[test]
fn the_sources_can_be_those_of_another_repository() {
    let history = History::new("broken", 41, &[]);
    let elsewhere = TempDir::new().expect("a folder");
    fs::rename(history.src(), elsewhere.path().join("other")).expect("moved");
    let tree = elsewhere.path().join("other");
    let ran = history.bisect(&["--good", "c1", "--bad", "c64", "--tree", &tree.to_string_lossy()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(found(&ran), "change c41");
}

#[test]
fn no_build_takes_what_is_there() {
    let history = History::new("fine", 1, &[]);
    let built = run(&history.dir, &["a.test.lua"]);
    assert_eq!((built.code, history.builds()), (Some(0), 1), "{}", built.stderr);
    let taken = run(&history.dir, &["--no-build", "a.test.lua"]);
    assert_eq!((taken.code, history.builds()), (Some(0), 1), "{}", taken.stderr);
}
