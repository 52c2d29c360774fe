//! The framework, as test files meet it: each test here writes a file, runs it and looks at the result.

mod classic;
mod conditions;
mod disks;
mod expected;
mod failures;
mod files;
mod framework;
mod hooks;
mod host_commands;
mod host_files;
mod hostile;
mod json;
mod labs;
mod limits;
mod loading;
mod messages;
mod metadata;
mod parallel;
mod process;
mod reference;
mod remote;
mod stubs;
mod subtests;

use std::path::Path;
use std::sync::Arc;

use provium_base::cancel::Cancel;
use provium_base::events::{Discard, Sink};
use provium_base::outcome::{FileResult, TestResult, TestStatus};
use provium_guest::WarmPool;

use crate::config::{Config, Environment};
use crate::lua::run_file;
use crate::session::job::FileJob;
use crate::session::order::Order;
use crate::session::pool::{Amount, Pool};
use crate::session::repeat::Repeat;
use crate::session::select::{NameFilter, Selection};
use crate::stock::Fixtures;

fn silent() -> Arc<dyn Sink> {
    Arc::new(Discard)
}

/// The project's fixtures, whose events nobody hears.
fn fixtures(config: &Arc<Config>) -> Arc<Fixtures> {
    let build = crate::lua::builder(&Pool::new(Amount::default()));
    Fixtures::new(Arc::clone(config), WarmPool::new(0), Arc::new(Discard), build)
}

/// A job for `source` as `a.test.lua` of a project in `dir`.
fn job(dir: &Path, source: &str) -> FileJob {
    let path = dir.join("a.test.lua");
    std::fs::write(&path, source).expect("the file can be written");
    let config = Arc::new(Config {
        roots: vec![dir.join("lib")],
        ..Config::without_file(dir, &Environment::default())
    });
    FileJob {
        path,
        shown: "a.test.lua".to_owned(),
        fixtures: fixtures(&config),
        config,
        number: 0,
        selection: Arc::default(),
        order: Order::default(),
        repeat: Repeat::default(),
        retries: 0,
        timeout: None,
        slots: Arc::default(),
        pool: Pool::new(Amount {
            memory: 1 << 30,
            cpus: 4,
        }),
        known: Arc::default(),
        progress: Arc::default(),
        artifacts: None,
        observed: false,
        cancel: Cancel::new(),
    }
}

/// Runs `source` as a file.
fn run(source: &str) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    run_file(&job(dir.path(), source), &silent())
}

/// Runs `source` in a project with the profile `min`, whose kernel is none.
fn run_in_project(source: &str) -> FileResult {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let profile = "[profiles.min]\nkernel = \"none\"\ncmdline = \"quiet\"\n";
    std::fs::write(dir.path().join("provium.toml"), profile).expect("a file");
    let mut job = job(dir.path(), source);
    job.config =
        Arc::new(Config::load(None, dir.path(), &[], &Environment::default()).expect("a configuration"));
    run_file(&job, &silent())
}

/// Runs `body` as the body of the one test of a file, from its second line on.
fn run_body(body: &str) -> TestResult {
    let mut result = run(&format!("test('the test', function(t)\n{body}\nend)"));
    assert_eq!(result.chunk_error, None, "for {body}");
    result.tests.pop().expect("one test")
}

/// The message with which the body fails.
#[track_caller]
fn failure(body: &str) -> String {
    let result = run_body(body);
    assert_eq!(result.status, TestStatus::Failed, "{body} came to {result:?}");
    result.message.expect("a failure has a message")
}

/// Asserts that the body passes.
#[track_caller]
fn passes(body: &str) {
    let result = run_body(body);
    assert_eq!(result.status, TestStatus::Passed, "{body} came to {result:?}");
}

/// Name and status of each test.
fn statuses(result: &FileResult) -> Vec<(&str, TestStatus)> {
    result
        .tests
        .iter()
        .map(|test| (test.name.as_str(), test.status))
        .collect()
}
