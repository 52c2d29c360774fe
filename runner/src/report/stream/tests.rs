//! Pairs close whatever the events are.

use std::sync::Arc;

use parking_lot::Mutex;
use provium_base::events::{FoundFile, VmStart};
use provium_base::meta::MetaValue;
use provium_base::outcome::{FileEnd, FileResult, Summary, TestResult, TestStatus};
use serde::Deserialize;

use super::*;

/// Keeps what it takes.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Target for Kept {
    fn take(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.lock().extend_from_slice(frame);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Read {
    kind: String,
    payload: Payload,
}

/// Kinds, each with the value of `reason` or `status` if it has one.
fn written(events: &[Event]) -> Vec<String> {
    let kept = Kept::default();
    let stream = EventStream::new(vec![(
        Box::new(kept.clone()),
        Box::new(|error| panic!("{error}")),
    )]);
    events.iter().for_each(|event| stream.event(event));
    drop(stream);
    let bytes = kept.0.lock().clone();
    let (mut rest, mut kinds) = (bytes.as_slice(), Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        let read: Read = rmp_serde::from_slice(frame).expect("a frame");
        let said = ["status", "reason", "error"]
            .iter()
            .find_map(|key| match read.payload.get(*key) {
                Some(MetaValue::Text(text)) => Some(format!(": {text}")),
                _ => None,
            });
        kinds.push(format!("{}{}", read.kind, said.unwrap_or_default()));
        rest = behind;
    }
    kinds
}

fn path() -> String {
    "a.test.lua".to_owned()
}

/// A file that begins, in a test, with a VM, a claim and a fixture's build under way.
fn under_way() -> Vec<Event> {
    let began = VmChange::Began {
        profile: "min".to_owned(),
        memory: 1,
        cid: 3,
        how: VmStart::Boot,
    };
    vec![
        Event::RunStarted { files: 1 },
        Event::FilesFound {
            files: vec![FoundFile {
                path: path(),
                fixtures: Vec::new(),
                claim: None,
            }],
        },
        Event::FileStarted { path: path() },
        Event::Claim(ClaimEvent::Acquired {
            path: path(),
            amount: Amount { memory: 1, cpus: 1 },
        }),
        Event::TestStarted {
            path: path(),
            test: "waits".to_owned(),
            meta: Meta::new(),
        },
        Event::Vm(VmEvent {
            path: path(),
            vm: "web".to_owned(),
            what: began,
        }),
        Event::Fixture(FixtureEvent::BuildStarted {
            fixture: "base".to_owned(),
        }),
    ]
}

const BEGINNING: [&str; 7] = [
    "run_started",
    "file_discovered",
    "file_dispatched",
    "claim_acquired",
    "test_started",
    "vm_spawned",
    "fixture_build_started",
];

fn ends(why: &str) -> Vec<String> {
    vec![
        format!("test_failed: {why}"),
        "vm_shutdown".to_owned(),
        "claim_released".to_owned(),
        "file_completed: crashed".to_owned(),
        format!("fixture_build_done: {why}"),
    ]
}

fn owned(kinds: &[&str]) -> Vec<String> {
    kinds.iter().map(|kind| (*kind).to_owned()).collect()
}

#[test]
fn a_run_that_comes_to_no_end_has_one_here() {
    let why = "the run could not be carried out";
    let expected = [owned(&BEGINNING), ends(why), owned(&["run_ended"])].concat();
    assert_eq!(written(&under_way()), expected);
    assert_eq!(
        written(&under_way()[1..]),
        [""; 0],
        "without a first frame there is no stream"
    );
}

#[test]
fn a_host_that_freezes_ends_what_ran_in_it_and_begins_no_other_run() {
    let again = HostEvent::Again {
        cause: "it froze".to_owned(),
        start: 2,
        of: 4,
    };
    let end = FileEnd {
        result: FileResult::new(path()),
        stopped: false,
        shown_before: false,
        selected: true,
    };
    let mut events = under_way();
    events.push(Event::Host(again));
    events.extend(under_way().drain(..3));
    events.push(Event::TestEnded {
        path: path(),
        result: TestResult::new("quick", TestStatus::Passed),
    });
    events.push(Event::FileEnded(end.clone()));
    // Replayed out of the journal.
    events.push(Event::FileEnded(FileEnd {
        shown_before: true,
        ..end
    }));
    events.push(Event::RunEnded(Summary::default()));
    events.push(Event::FileStarted { path: path() });
    let why = "the emulated host froze, and is started again";
    let rest = [
        "file_dispatched",
        "test_passed",
        "file_completed: passed",
        "run_ended",
    ];
    assert_eq!(
        written(&events),
        [owned(&BEGINNING), ends(why), owned(&rest)].concat()
    );
}
