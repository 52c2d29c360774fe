//! `--watch`, as a user sits before it: a terminal, an editor, keys. No guest is needed.

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;

use support::{project, provium};

/// A watch with the other end of its terminal.
struct Watch {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    keyboard: File,
    terminal: OwnedFd,
}

impl Watch {
    fn of(dir: &TempDir, args: &[&str]) -> Watch {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("a terminal");
        unlockpt(&keyboard).expect("a terminal");
        let terminal =
            ioctl_tiocgptpeer(&keyboard, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its end");
        let mut command = provium(dir.path(), &[&["--watch"], args].concat());
        command.stdin(terminal.try_clone().expect("a descriptor"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        Watch {
            stdout: BufReader::new(child.stdout.take().expect("stdout")),
            stderr: BufReader::new(child.stderr.take().expect("stderr")),
            child,
            keyboard: File::from(keyboard),
            terminal,
        }
    }

    /// The report of the next round: its lines, the last one without the time.
    fn round(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).expect("UTF-8") > 0,
                "it has ended: {lines:?}"
            );
            let line = line.trim_end();
            if let Some((counts, _)) = line.rsplit_once("; ").filter(|_| line.contains(" file(s); ")) {
                lines.push(counts.to_owned());
                return lines;
            }
            if line.starts_with("PASS") || line.starts_with("FAIL") {
                lines.push(line.split(" (").next().unwrap_or_default().to_owned());
            }
        }
    }

    /// Waits until it says something with this in it on stderr.
    fn until_said(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(
                self.stderr.read_line(&mut line).expect("UTF-8") > 0,
                "it has ended"
            );
        }
    }

    fn press(&mut self, keys: &str) {
        self.until_said("watching");
        self.keyboard.write_all(keys.as_bytes()).expect("it is open");
    }

    fn edit(&mut self, path: &Path, content: &str) {
        self.until_said("watching");
        fs::write(path, content).expect("write");
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("a terminal").local_modes;
        !modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO)
    }

    /// Waits for its end and returns its exit code.
    fn code(mut self) -> Option<i32> {
        let code = self.child.wait().expect("its end").code();
        assert!(!self.is_raw(), "the terminal is as it was");
        code
    }
}

const PASSES: &str = "test('fine', function() end)\n";
const FAILS: &str = "test('wrong', function(t) t:fail('no') end)\n";
const USES: &str =
    "local helper = require('helper')\ntest('uses', function(t) t:assert_eq(helper.number, 1) end)\n";

#[test]
fn a_change_runs_what_it_touches_and_nothing_else() {
    let dir = project(&[
        ("provium.toml", ""),
        ("a.test.lua", PASSES),
        ("b.test.lua", USES),
        ("helper.lua", "return {number = 1}\n"),
    ]);
    let path = |name: &str| dir.path().join(name);
    let mut watch = Watch::of(&dir, &["-j1"]);
    assert_eq!(
        watch.round(),
        [
            "PASS a.test.lua",
            "PASS b.test.lua",
            "2 file(s); 2 passed, 0 failed, 0 skipped"
        ]
    );
    watch.edit(&path("a.test.lua"), FAILS);
    assert_eq!(
        watch.round(),
        ["FAIL a.test.lua", "1 file(s); 0 passed, 1 failed, 0 skipped"]
    );
    watch.edit(&path("helper.lua"), "return {number = 2}\n");
    assert_eq!(
        watch.round(),
        ["FAIL b.test.lua", "1 file(s); 0 passed, 1 failed, 0 skipped"]
    );
    // New files, also in new folders; a file that is gone is not run, nor missed.
    watch.until_said("watching");
    fs::create_dir(path("more")).expect("a folder");
    fs::write(path("more/c.test.lua"), PASSES).expect("write");
    assert_eq!(
        watch.round(),
        ["PASS more/c.test.lua", "1 file(s); 1 passed, 0 failed, 0 skipped"]
    );
    watch.until_said("watching");
    fs::remove_file(path("a.test.lua")).expect("it is there");
    fs::write(path("more/c.test.lua"), FAILS).expect("write");
    assert_eq!(
        watch.round(),
        ["FAIL more/c.test.lua", "1 file(s); 0 passed, 1 failed, 0 skipped"]
    );
    // A mistake in the configuration is waited out, and its change runs all.
    watch.edit(&path("provium.toml"), "[provium]\nrots = []\n");
    watch.until_said("unknown key");
    watch.until_said("waiting for a change");
    fs::write(path("provium.toml"), "[provium]\nroots = [\".\"]\n").expect("write");
    assert_eq!(
        watch.round(),
        [
            "FAIL b.test.lua",
            "FAIL more/c.test.lua",
            "2 file(s); 0 passed, 2 failed, 0 skipped"
        ]
    );
    watch.until_said("watching 2 test file(s)");
    kill_process(Pid::from_child(&watch.child), Signal::INT).expect("it runs");
    assert_eq!(watch.code(), Some(1), "the code of the last round");
}

#[test]
fn what_a_run_itself_writes_runs_nothing_again() {
    let writes = "test('writes', function()\n\
                  local file = io.open('made.lua', 'w') file:write('return 1') file:close()\n\
                  local runs = io.open('runs', 'a') runs:write('x') runs:close() end)\n";
    let dir = project(&[
        ("provium.toml", ""),
        ("a.test.lua", writes),
        ("b.test.lua", FAILS),
    ]);
    let mut watch = Watch::of(&dir, &["-j1"]);
    assert_eq!(watch.round()[2], "2 file(s); 1 passed, 1 failed, 0 skipped");
    // The helper that was made there is looked for by who has failed.
    assert_eq!(
        watch.round(),
        ["FAIL b.test.lua", "1 file(s); 0 passed, 1 failed, 0 skipped"]
    );
    watch.until_said("watching");
    watch.press("a");
    assert_eq!(watch.round()[2], "2 file(s); 1 passed, 1 failed, 0 skipped");
    // It has written the same again, which is no change.
    watch.press("q");
    assert_eq!(watch.code(), Some(1));
    assert_eq!(
        fs::read_to_string(dir.path().join("runs")).expect("the marks"),
        "xx"
    );
}

#[test]
fn keys_run_all_what_failed_the_same_again_and_what_is_named() {
    let both = [FAILS, "test('other', function() end)\n"].concat();
    let dir = project(&[
        ("provium.toml", ""),
        ("a.test.lua", PASSES),
        ("b.test.lua", &both),
    ]);
    let mut watch = Watch::of(&dir, &["-j1"]);
    let all = [
        "PASS a.test.lua",
        "FAIL b.test.lua",
        "2 file(s); 2 passed, 1 failed, 0 skipped",
    ];
    let failed = ["FAIL b.test.lua", "1 file(s); 0 passed, 1 failed, 0 skipped"];
    assert_eq!(watch.round(), all);
    watch.press("f");
    assert!(watch.is_raw());
    assert_eq!(watch.round(), failed);
    watch.press("\n");
    assert_eq!(watch.round(), failed);
    watch.press("a");
    assert_eq!(watch.round(), all);
    watch.press("pfine\n");
    assert_eq!(
        watch.round(),
        ["PASS a.test.lua", "1 file(s); 1 passed, 0 failed, 0 skipped"]
    );
    watch.press("q");
    assert_eq!(watch.code(), Some(0));
}
