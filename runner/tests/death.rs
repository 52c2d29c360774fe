//! What remains of a run whose process is killed: all but the file it was in.

mod support;

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use support::{project, provium, run};

const PASSES: &str = "test('one', function() end)\ntest('two', function() end)\n";
const DIES: &str =
    "test('one', function() end)\ntest('dies', function() os.execute('kill -ABRT $PPID; sleep 600') end)\n";

#[test]
fn the_file_that_a_run_dies_in_fails_and_all_others_run() {
    let dir = project(&[
        ("a.test.lua", PASSES),
        ("b.test.lua", DIES),
        ("c.test.lua", PASSES),
    ]);
    let ran = run(&dir, &["-j1", "--junit", "junit.xml"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let why = "the process was killed by SIGABRT while it ran this file; the last test to begin was `dies`; \
               unless somebody else killed it, that is a bug in Provium";
    let report = format!(
        "PASS a.test.lua (2 passed, 0 failed, 0 skipped)\n\
         FAIL b.test.lua (0 passed, 1 failed, 0 skipped)\n  {why}\n\
         PASS c.test.lua (2 passed, 0 failed, 0 skipped)\n"
    );
    assert!(ran.stdout.starts_with(&report), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("\n3 file(s); 4 passed, 1 failed, 0 skipped"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        "provium: warning: the process was killed by SIGABRT in b.test.lua; the run goes on\n"
    );
    let junit = fs::read_to_string(dir.path().join("junit.xml")).expect("the report");
    assert!(
        junit.contains("tests=\"5\" failures=\"0\" errors=\"1\"") && junit.contains(why),
        "{junit}"
    );
}

#[test]
fn of_several_files_at_a_time_the_one_is_found_that_does_it_again() {
    let meets = "test('meets', function() io.open('ran', 'w'):close(); os.execute('sleep 0.5') end)\n";
    let dies = "test('dies', function()\n\
                  while not io.open('ran') do os.execute('sleep 0.02') end\n\
                  os.execute('kill -KILL $PPID; sleep 600')\nend)\n";
    let dir = project(&[("a.test.lua", meets), ("b.test.lua", dies)]);
    let ran = run(&dir, &["-j2"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("PASS a.test.lua (1 passed"), "{}", ran.stdout);
    let killed = "killed by SIGKILL, as the system does when memory runs out";
    assert!(ran.stdout.contains(&format!(
        "FAIL b.test.lua (0 passed, 1 failed, 0 skipped)\n  the process was {killed} while"
    )));
    let first = format!(
        "{killed} while it ran a.test.lua, b.test.lua; to tell which it was, files run one at a time"
    );
    assert!(ran.stderr.contains(&first), "{}", ran.stderr);
}

#[test]
fn a_death_that_no_file_does_again_is_no_success() {
    let once = "test('once', function()\n\
                  io.open(FILE, 'w'):close()\n\
                  if io.open('died') then return end\n\
                  while not (io.open('a') and io.open('b')) do os.execute('sleep 0.02') end\n\
                  os.execute('mkdir died && kill -ABRT $PPID; sleep 600')\nend)\n";
    let of = |own: &str| once.replace("FILE", &format!("'{own}'"));
    let dir = project(&[("a.test.lua", &of("a")), ("b.test.lua", &of("b"))]);
    let ran = run(&dir, &["-j2"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stdout.contains("2 file(s); 2 passed, 0 failed, 0 skipped"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("and none of them did it again; unless"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_run_that_dies_in_one_file_obeys_fail_fast() {
    let dir = project(&[("a.test.lua", DIES), ("b.test.lua", PASSES)]);
    let ran = run(&dir, &["-j1", "--fail-fast"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("FAIL a.test.lua") && !ran.stdout.contains("PASS"),
        "{}",
        ran.stdout
    );
}

#[test]
fn nothing_outlives_the_process_that_the_user_sees() {
    let dir = project(&[(
        "a.test.lua",
        "test('waits', function() os.execute('echo $PPID $$ >pid; exec sleep 600') end)\n",
    )]);
    let mut child = provium(dir.path(), &[])
        .stdout(Stdio::null())
        .spawn()
        .expect("the command starts");
    let pids = loop {
        match fs::read_to_string(dir.path().join("pid")) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    let own = child.id().to_string();
    assert!(pids.split_whitespace().all(|pid| pid != own), "{pids}");
    kill_process(Pid::from_child(&child), Signal::KILL).expect("it runs");
    child.wait().expect("its end");
    for pid in pids.split_whitespace() {
        let stat = format!("/proc/{pid}/stat");
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn when_memory_runs_out_what_runs_files_goes_first() {
    let reads = "test('reads', function(t)\n\
                   local pipe = io.popen('cat /proc/$PPID/oom_score_adj')\n\
                   t:log('score ' .. pipe:read('l'))\nend)\n";
    let dir = project(&[("a.test.lua", reads)]);
    let ran = run(&dir, &["--json"]);
    assert!(ran.stdout.contains("score 300"), "{ran:?}");
}
