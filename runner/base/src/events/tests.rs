//! Every event can be written down and read again, and says what users are used to.

use std::time::Duration;

use super::*;
use crate::failure::{Failure, SourcePlace};
use crate::meta::MetaValue;
use crate::outcome::{FileResult, Rounds, TestStatus, Timeliness};
use crate::subtest::{Subtest, SubtestCounts};

/// The place of each variant in [`every_event`]; a new variant is an error here until it has one.
fn place(event: &Event) -> usize {
    match event {
        Event::RunStarted { .. } => 0,
        Event::FileStarted { .. } => 1,
        Event::TestStarted { .. } => 2,
        Event::TestEnded { .. } => 3,
        Event::FileEnded(_) => 4,
        Event::RunStopping { .. } => 5,
        Event::RunEnded(_) => 6,
        Event::Fixture(FixtureEvent::CacheHit { .. }) => 7,
        Event::Fixture(FixtureEvent::BuildStarted { .. }) => 8,
        Event::Fixture(FixtureEvent::BuildDone { .. }) => 9,
        Event::Fixture(FixtureEvent::Waiting { .. }) => 10,
        Event::Fixture(FixtureEvent::Evicted { .. }) => 11,
        Event::Fixture(FixtureEvent::Damaged { .. }) => 12,
        Event::Profile(ProfileEvent::BuildStarted { .. }) => 13,
        Event::Profile(ProfileEvent::Built { .. }) => 14,
        Event::Host(HostEvent::Chosen { .. }) => 15,
        Event::Host(HostEvent::Preparing { .. }) => 16,
        Event::Host(HostEvent::Starting { .. }) => 17,
        Event::Host(HostEvent::Running { .. }) => 18,
        Event::Host(HostEvent::Again { .. }) => 19,
        Event::Host(HostEvent::Ended) => 20,
        Event::Warning { .. } => 21,
        Event::Cache(CacheEvent::Reading { .. }) => 22,
        Event::Cache(CacheEvent::MakingImage { .. }) => 23,
        Event::TestsFound { .. } => 24,
        Event::FileStage { .. } => 25,
        Event::FileBlocked { .. } => 26,
        Event::FileUses { .. } => 27,
        Event::FilesFound { .. } => 28,
        Event::PoolState { .. } => 29,
        Event::Vm(_) => 30,
        Event::Claim(_) => 31,
    }
}

fn builder(own: bool) -> FixtureBuilder {
    FixtureBuilder {
        pid: 4711,
        command: "provium tests/net".into(),
        by: "a.test.lua".into(),
        own,
        since: Duration::from_millis(12_345),
    }
}

fn meta() -> Meta {
    let list = vec![
        MetaValue::Text("A-1".into()),
        MetaValue::Int(-7),
        MetaValue::Float(0.5),
    ];
    Meta::from([
        ("spec".to_owned(), MetaValue::Array(list)),
        ("fast".to_owned(), MetaValue::Bool(true)),
        ("none".to_owned(), MetaValue::Nil),
    ])
}

fn every_event() -> Vec<Event> {
    let result = TestResult {
        name: "adds, up".into(),
        status: TestStatus::Failed,
        message: Some("left:  1\nright: \"2\"".into()),
        log: vec!["\u{1b}[31mred\u{7}".into()],
        duration_ns: u64::MAX,
        line: Some(12),
        attempts: 3,
        flaky: false,
        failure: Some(Box::new(Failure {
            message: "left:  1".into(),
            place: Some(SourcePlace::new("a.test.lua", 2, "one\ntwo\n")),
            ..Failure::default()
        })),
        subtests: vec![Subtest {
            subtests: vec![Subtest::new("inner", TestStatus::Skipped)],
            ..Subtest::new("outer", TestStatus::Passed)
        }],
        rounds: Some(Rounds { run: 40, failed: 3 }),
        meta: meta(),
    };
    let file = FileResult {
        path: "a.test.lua".into(),
        timeout: Timeliness::TimedOut,
        passed: false,
        chunk_error: None,
        failure: None,
        duration_ns: 1,
        tests: vec![result.clone()],
        not_run: vec!["behind it".into()],
        no_tests: false,
        log: vec!["printed".to_owned()],
    };
    let fixture = || "net/router".to_owned();
    vec![
        Event::RunStarted { files: 3 },
        Event::FileStarted {
            path: "a.test.lua".into(),
        },
        Event::TestStarted {
            path: "a.test.lua".into(),
            test: "adds, up".into(),
            meta: meta(),
        },
        Event::TestEnded {
            path: "a.test.lua".into(),
            result,
        },
        Event::FileEnded(FileEnd {
            result: file,
            stopped: true,
            shown_before: false,
            selected: true,
        }),
        Event::RunStopping {
            reason: CancelReason::Interrupted,
        },
        Event::RunEnded(Summary {
            files: 1,
            passed: 2,
            failed: 3,
            skipped: 4,
            xfailed: 6,
            xpassed: 7,
            not_run: 8,
            flaky: 9,
            subtests: SubtestCounts {
                all: 300,
                failed: 1,
                skipped: 2,
                xfailed: 3,
            },
            unfinished: 5,
            stopped: Some(CancelReason::FailFast),
            elapsed: Duration::new(4, 260_000_001),
            host_start: Duration::from_millis(3_300),
        }),
        FixtureEvent::CacheHit {
            fixture: fixture(),
            key: "5a3f".into(),
        }
        .into(),
        FixtureEvent::BuildStarted { fixture: fixture() }.into(),
        FixtureEvent::BuildDone {
            fixture: fixture(),
            took: Duration::from_nanos(1_640_000_001),
            bytes: 1 << 40,
            failure: Some("no".into()),
        }
        .into(),
        FixtureEvent::Waiting {
            fixture: fixture(),
            builder: Some(builder(false)),
        }
        .into(),
        FixtureEvent::Evicted {
            fixture: None,
            entry: "5a3ff6cf7c0e5a3f".into(),
            why: "old".into(),
            warning: true,
        }
        .into(),
        FixtureEvent::Damaged {
            fixture: fixture(),
            what: "torn".into(),
        }
        .into(),
        ProfileEvent::BuildStarted {
            profile: "min".into(),
            command: "make".into(),
        }
        .into(),
        ProfileEvent::Built {
            profile: "min".into(),
            took: Duration::from_millis(340),
        }
        .into(),
        HostEvent::Chosen {
            because: Some("slow; odd".into()),
        }
        .into(),
        HostEvent::Preparing {
            step: "fetching".into(),
        }
        .into(),
        HostEvent::Starting { start: 2, pid: 9 }.into(),
        HostEvent::Running {
            after: Duration::from_secs(20),
        }
        .into(),
        HostEvent::Again {
            cause: "it froze".into(),
            start: 2,
            of: 4,
        }
        .into(),
        HostEvent::Ended.into(),
        Event::Warning {
            message: "known.txt:3: there is no file a.test.lua".into(),
        },
        CacheEvent::Reading {
            path: "/srv/root.img".into(),
            done: 1288 << 20,
            of: Some(4 << 30),
        }
        .into(),
        CacheEvent::MakingImage {
            path: "/srv/root".into(),
        }
        .into(),
        Event::TestsFound {
            path: "a.test.lua".into(),
            tests: 12,
        },
        Event::FileStage {
            path: "a.test.lua".into(),
            stage: Stage::Boots { vm: "web".into() },
        },
        Event::FileBlocked {
            path: "a.test.lua".into(),
            waiting_for: Amount {
                memory: 1 << 30,
                cpus: 2,
            },
            why: "waits".into(),
        },
        Event::FileUses {
            path: "a.test.lua".into(),
            uses: "/srv/helper.lua".into(),
        },
        Event::FilesFound {
            files: vec![FoundFile {
                path: "a.test.lua".into(),
                fixtures: vec!["net/router".into()],
                claim: Some(Amount {
                    memory: 1 << 30,
                    cpus: 2,
                }),
            }],
        },
        Event::PoolState {
            used: Amount { memory: 0, cpus: 0 },
            available: Amount { memory: 1, cpus: 2 },
        },
        Event::Vm(VmEvent {
            path: "a.test.lua".into(),
            vm: "web".into(),
            what: VmChange::Began {
                profile: "min".into(),
                memory: 128 << 20,
                cid: 3,
                how: VmStart::Reset,
            },
        }),
        Event::Claim(ClaimEvent::Released {
            path: "a.test.lua".into(),
            amount: Amount { memory: 0, cpus: 1 },
        }),
    ]
}

#[test]
fn every_event_is_the_same_after_it_was_written_down() {
    let events = every_event();
    let places: Vec<_> = events.iter().map(place).collect();
    assert_eq!(places, (0..32).collect::<Vec<_>>(), "one of each, in order");
    for event in events {
        let text = serde_json::to_string(&event).expect("JSON");
        assert!(!text.contains('\n'), "an event is one line: {text}");
        let read: Event = serde_json::from_str(&text).expect(&text);
        assert_eq!(read, event, "{text}");
    }
}

#[test]
fn lines_for_people_are_what_they_were() {
    let hit = every_event().into_iter().filter_map(|event| match event {
        Event::Fixture(event) => Some(event.to_string()),
        Event::Profile(event) => Some(event.to_string()),
        Event::Host(event) => Some(event.to_string()),
        Event::Cache(event) => Some(event.to_string()),
        _ => None,
    });
    assert_eq!(
        hit.collect::<Vec<_>>(),
        [
            "fixture `net/router`: from the cache",
            "fixture `net/router`: building",
            "fixture `net/router`: build failed after 1.6 s: no",
            "fixture `net/router`: waiting for process 4711 (provium tests/net), which has been building it for 12.3 s",
            "fixture cache: entry 5a3ff6cf7c0e is evicted: old",
            "fixture `net/router`: torn",
            "building profile min: make",
            "built profile min in 340 ms",
            "slow; using the emulated host, which is slower (`provium doctor` says why)",
            "the emulated host: fetching",
            "starting the emulated host again (start 2)",
            "the command runs in the emulated host",
            "it froze; starting it again (2 of 4)",
            "the command in the emulated host has ended",
            "reading /srv/root.img (1.3G of 4.0G)",
            "making an image of /srv/root",
        ]
    );
    assert_eq!(
        builder(true).to_string(),
        "a.test.lua of this run, which has been building it for 12.3 s"
    );
}

#[test]
fn sinks_hear_of_events_in_order() {
    let (first, second) = (Recorder::default(), Recorder::default());
    let heard = first.clone();
    let sinks = Sinks(vec![
        Box::new(first.clone()),
        Box::new(second.clone()),
        Box::new(Discard),
        Box::new(move |_: &Event| {
            assert_eq!(heard.take().len(), 1, "sinks before this one have heard of it");
        }),
    ]);
    for event in every_event() {
        sinks.event(&event);
    }
    assert_eq!(second.take(), every_event());
    assert!(second.take().is_empty());
}
