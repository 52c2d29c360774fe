//! Tests of splats with what kernels print, in every form in which they print it.
//!
//! Input: `splats.txt` (`@ kind | head | how it ends`, the lines; behind `!after` those that follow it),
//! `stamped_only.txt`, of which only a stamp says that it is the kernel's, and `none.txt`, whose lines begin
//! nothing. Output: none. Not here: panics (`panic`) and stamps alone (`stamp`).

use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::splat::MAX_TEXT;
use super::*;

struct Transcript {
    kind: &'static str,
    head: &'static str,
    ends: &'static str,
    lines: Vec<&'static str>,
    after: Vec<&'static str>,
}

fn transcripts(text: &'static str) -> Vec<Transcript> {
    let read = |block: &'static str| {
        let mut lines = block.trim_end().lines();
        let title: Vec<_> = lines
            .next()
            .unwrap()
            .trim_start_matches("@ ")
            .split(" | ")
            .collect();
        let mut lines: Vec<_> = lines.collect();
        let after = match lines.iter().position(|line| *line == "!after") {
            Some(at) => lines.split_off(at)[1..].to_vec(),
            None => Vec::new(),
        };
        Transcript {
            kind: title[0],
            head: title[1],
            ends: title[2],
            lines,
            after,
        }
    };
    text.split("\n@ ").map(read).collect()
}

fn all() -> Vec<Transcript> {
    let all = transcripts(include_str!("splats.txt"));
    assert!(all.len() > 25, "{}", all.len());
    all
}

fn stamped_only() -> Vec<Transcript> {
    transcripts(include_str!("stamped_only.txt"))
}

type Form = fn(usize, &str) -> String;

/// The forms that have a stamp.
const STAMPED: &[Form] = &[
    |at, line| format!("[{:12.6}] {line}\n", 1.5 + at as f64 / 1e5),
    |at, line| format!("[{:12.6}] {line}\r\n", 12345.5 + at as f64 / 1e5),
    |at, line| format!("[{:12.6}][{:>6}] {line}\n", 1.5 + at as f64 / 1e5, "T71"),
    |at, line| format!("<4>[{:12.6}] [{:>6}] {line}\r\n", 1.5 + at as f64 / 1e5, "C0"),
    |_, line| format!("[{:>6}] {line}\n", "T1"),
];
/// The forms that have none.
const BARE: &[Form] = &[|_, line| format!("{line}\n"), |_, line| format!("{line}\r\n")];

fn printed(form: Form, lines: &[&str]) -> String {
    lines
        .iter()
        .enumerate()
        .map(|(at, line)| form(at, line))
        .collect()
}

fn console() -> Arc<Console> {
    Console::new(Box::new(|_| {}))
}

fn splats(text: &str) -> Vec<Arc<Splat>> {
    let console = console();
    console.push(text.as_bytes());
    let (splats, dropped) = console.splats(0);
    assert_eq!(dropped, 0);
    splats
}

fn plain(text: &str) -> String {
    text.replace("\r\n", "\n")
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn check(transcript: &Transcript, form: Form) {
    let text = printed(form, &transcript.lines);
    let after = printed(form, &transcript.after);
    let noise = form(0, "8021q: adding VLAN 0");
    let whole = format!("{noise}{text}{after}");
    let found = splats(&whole);
    let context = format!("{}: {whole}\n{found:#?}", transcript.head);
    assert_eq!(found.len(), 1, "{context}");
    let splat = &found[0];
    assert_eq!(splat.kind.name(), transcript.kind, "{context}");
    let head = splat
        .head
        .trim_start_matches("watchdog: ")
        .trim_start_matches("rcu: ");
    assert_eq!(head, transcript.head, "{context}");
    assert_eq!(splat.position, noise.len() as u64, "{context}");
    assert_eq!(splat.text(), plain(&text), "{context}");
    let ends_by_itself = matches!(transcript.ends, "end-trace" | "ruler" | "at-once");
    let whole = ends_by_itself || !transcript.after.is_empty();
    assert_eq!(splat.is_whole(), whole, "{context}");
}

#[test]
fn every_kind_is_recognized_behind_every_stamp_to_its_last_line() {
    for transcript in all() {
        for form in STAMPED.iter().chain(BARE) {
            check(&transcript, *form);
        }
    }
    for transcript in stamped_only() {
        for form in STAMPED {
            check(&transcript, *form);
        }
        for form in BARE {
            assert_eq!(
                splats(&printed(*form, &transcript.lines)).len(),
                0,
                "{}",
                transcript.head
            );
        }
    }
}

#[test]
fn what_only_mentions_a_fault_is_none() {
    let lines: Vec<&str> = include_str!("none.txt").lines().collect();
    for form in STAMPED.iter().chain(BARE) {
        let text = printed(*form, &lines);
        assert_eq!(splats(&text).len(), 0, "{text}\n{:#?}", splats(&text));
        // Each by itself, behind what may begin a report.
        for line in &lines {
            for opener in ["------------[ cut here ]------------", &"=".repeat(66)] {
                // These are the kernel's own there.
                let lockdep = opener.starts_with('=') && line.starts_with("WARNING: ");
                let text = printed(*form, &[opener, line]);
                if !lockdep {
                    assert_eq!(splats(&text).len(), 0, "{text}");
                }
            }
        }
    }
    // A program's own ruler makes no warning of what it prints.
    assert_eq!(
        splats(&printed(BARE[0], &[&"=".repeat(66), "WARNING: foo"])).len(),
        0
    );
}

#[test]
fn two_in_a_row_are_two() {
    let all = all();
    for form in STAMPED.iter().chain(BARE) {
        for (a, b) in all.iter().zip(all.iter().skip(1)) {
            let lines: Vec<_> = [&a.lines[..], &a.after, &b.lines, &b.after].concat();
            let found = splats(&printed(*form, &lines));
            let kinds: Vec<_> = found.iter().map(|splat| splat.kind.name()).collect();
            assert_eq!(kinds, [a.kind, b.kind], "{lines:#?}");
        }
    }
}

#[test]
fn one_behind_an_unfinished_line_begins_at_its_stamp() {
    for transcript in all() {
        let text = printed(STAMPED[2], &transcript.lines);
        let found = splats(&format!("/ # {text}"));
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((found[0].position, found[0].text()), (4, plain(&text)));
    }
}

#[test]
fn what_programs_print_in_between_is_left_out() {
    for transcript in all() {
        let mut text = String::new();
        for (at, line) in transcript.lines.iter().enumerate() {
            text += &STAMPED[0](at, line);
            writeln!(text, "==> step {at} done").unwrap();
        }
        let found = splats(&text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].text(), plain(&printed(STAMPED[0], &transcript.lines)));
    }
}

#[test]
fn two_processors_that_report_at_once_are_told_apart_by_their_stamps() {
    let all = all();
    let find = |kind: &str| all.iter().find(|one| one.kind == kind).unwrap();
    let (a, b) = (find("warning"), find("kasan"));
    let (mut text, mut texts) = (String::new(), [String::new(), String::new()]);
    for at in 0..a.lines.len().max(b.lines.len()) {
        for (who, (transcript, caller)) in [(a, "T71"), (b, "T72")].iter().enumerate() {
            if let Some(line) = transcript.lines.get(at) {
                let line = format!("[{:12.6}][{caller:>6}] {line}\n", 1.5 + at as f64 / 1e5);
                text += &line;
                texts[who] += &line;
            }
        }
    }
    let found = splats(&text);
    let mut kinds: Vec<_> = found.iter().map(|splat| (splat.kind, splat.text())).collect();
    kinds.sort_by_key(|(kind, _)| kind.name());
    let [warning, kasan] = texts.map(|text| plain(&text));
    assert_eq!(kinds, [(SplatKind::Kasan, kasan), (SplatKind::Warning, warning)]);
}

#[test]
fn other_processors_backtraces_belong_to_a_stall() {
    let line = |caller: &str, text: &str| format!("[    1.500000][{caller:>6}] {text}\n");
    let text = line("C0", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:")
        + &line("C0", "Sending NMI from CPU 0 to CPUs 1:")
        + &line("C1", "NMI backtrace for cpu 1")
        + &line("C1", "Call Trace:")
        + &line("C1", " foo+0x1/0x2");
    let found = splats(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text(), text);
}

#[test]
fn one_that_lost_its_end_goes_no_further_than_the_next() {
    let warning = all().into_iter().find(|one| one.kind == "warning").unwrap();
    let mut lines = warning.lines.clone();
    lines.truncate(5);
    let mut text = printed(STAMPED[0], &lines);
    text += "** 123 printk messages dropped **\n";
    text += &printed(STAMPED[0], &warning.lines);
    let found = splats(&text);
    assert_eq!(found.len(), 2);
    assert!(found[0].is_whole() && found[1].is_whole());
    assert!(!found[0].text().contains("end trace"));
    // Nor into what is printed long after it.
    let later = printed(STAMPED[0], &lines) + "[   60.000000] foo: a new day\n";
    let found = splats(&later);
    assert!(
        found[0].is_whole() && !found[0].text().contains("a new day"),
        "{}",
        found[0].text()
    );
}

#[test]
fn one_that_the_machine_s_end_cuts_off_has_what_was_printed() {
    let oops = &all()[0];
    let text = printed(STAMPED[0], &oops.lines[..7]) + "[    1.500000] RIP: 00";
    let found = splats(&text);
    assert_eq!((found.len(), found[0].is_whole()), (1, false));
    assert!(found[0].text().ends_with("Hardware name: Provium\n"));
}

#[test]
fn a_panic_is_no_part_of_the_splat_before_it() {
    let oops = &all()[0];
    let text = printed(STAMPED[0], &oops.lines[..7])
        + "[    1.500000] Kernel panic - not syncing: Fatal exception\n";
    let found = splats(&text);
    assert!(found[0].is_whole() && !found[0].text().contains("panic"));
}

#[test]
fn listeners_hear_of_each_once_whenever_they_come() {
    let console = console();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = |name: &'static str| -> Option<SplatListener> {
        let heard = Arc::clone(&heard);
        Some(Arc::new(move |splat: &Arc<Splat>| {
            heard.lock().push((name, splat.head.clone()))
        }))
    };
    console.push(b"[    1.000000] BUG: one\n");
    console.set_splat_listener(listener("a"));
    console.push(b"[    1.000000] BUG: two");
    assert_eq!(heard.lock().len(), 1, "the line has no end yet");
    console.push(b"\n");
    console.set_splat_listener(listener("b"));
    console.clear();
    assert_eq!(console.splats(0).0.len(), 0);
    console.push(b"[    1.000000] BUG: three\n");
    console.set_splat_listener(None);
    console.push(b"[    1.000000] BUG: four\n");
    let heard = heard.lock().clone();
    let heard: Vec<_> = heard.iter().map(|(name, head)| (*name, head.as_str())).collect();
    assert_eq!(
        heard,
        [
            ("a", "BUG: one"),
            ("a", "BUG: two"),
            ("b", "BUG: one"),
            ("b", "BUG: two"),
            ("b", "BUG: three")
        ]
    );
}

#[test]
fn positions_tell_which_are_new() {
    let console = console();
    console.push(b"[    1.000000] BUG: one\n");
    let (_, at) = console.since(0, Duration::ZERO);
    console.push(b"[    1.000000] BUG: two\n");
    let heads: Vec<_> = console
        .splats(at)
        .0
        .iter()
        .map(|splat| splat.head.clone())
        .collect();
    assert_eq!(heads, ["BUG: two"]);
}

#[test]
fn a_flood_of_splats_is_bounded_and_counted() {
    let console = console();
    let block = printed(STAMPED[0], &all()[0].lines);
    let flood = block.repeat(2000) + &"[    1.000000] BUG: x\n[    1.000000] y\n".repeat(2000);
    console.push(flood.as_bytes());
    let endless = "[    1.000000] ------------[ cut here ]------------\n".to_owned()
        + &format!("[    1.000000] {}\n", "x".repeat(100_000)).repeat(10)
        + "[    1.000000] WARNING: CPU: 0 PID: 1 at a.c:1 a+0x1/0x2\n"
        + &format!("[    1.000000] {}\n", "x".repeat(4000)).repeat(100);
    console.push(endless.as_bytes());
    let (kept, dropped) = console.splats(0);
    assert_eq!((kept.len(), dropped), (100, 3901));
    assert!(kept.iter().all(|splat| splat.text().len() <= MAX_TEXT + 64));
}

#[test]
fn a_log_read_otherwise_has_the_same_splats() {
    let text: String = all()
        .iter()
        .map(|one| printed(STAMPED[3], &[&one.lines[..], &one.after].concat()))
        .collect();
    let kinds: Vec<_> = splats_in(text.as_bytes())
        .iter()
        .map(|splat| splat.kind.name())
        .collect();
    assert_eq!(kinds, all().iter().map(|one| one.kind).collect::<Vec<_>>());
}

/// Pieces of which a hostile console is made.
#[test]
fn a_splat_behind_bytes_that_are_no_utf8_begins_where_it_was_printed() {
    let console = Console::new(Box::new(|_| {}));
    console.push(b"login \xff\xfe\xe2\x82 [    1.500000] BUG: x\n");
    let (splats, _) = console.splats(0);
    assert_eq!(splats.len(), 1);
    assert_eq!(splats[0].position, 11);
    assert_eq!(splats[0].text(), "[    1.500000] BUG: x\n");
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "\n",
        "\r\n",
        " ",
        "[    1.500000] ",
        "[    1.500000][    T1] ",
        "[  C0] ",
        "<4>",
        "[",
        "]",
        "BUG: ",
        "BUG: KASAN: x",
        "------------[ cut here ]------------",
        "---[ end trace 0000000000000000 ]---",
        "Call Trace:",
        " foo+0x1/0x2",
        "WARNING: CPU: 0 PID: 1 at a.c:1 a+0x1/0x2",
        "Oops: 0002 [#1] SMP",
        "kernel BUG at a.c:1!",
        "ü",
        "INFO: rcu_x detected stall",
        "==================================================================",
        "====================",
        "refcount_t: underflow; use-after-free",
        "Kernel panic - not syncing: ",
        "---[ end Kernel panic - not syncing: x ]---",
        "UBSAN: x in a.c:1:2",
    ];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_to_the_same(
        pieces in prop::collection::vec(piece(), 0..80),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let bytes: Vec<u8> = pieces.concat();
        let signs = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&signs);
        let whole = Console::new(Box::new(move |sign| noted.lock().push(sign)));
        whole.push(&bytes);
        let cut_signs = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&cut_signs);
        let cut = Console::new(Box::new(move |sign| noted.lock().push(sign)));
        let (mut rest, mut sizes) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).min(rest.len());
            cut.push(&rest[..size]);
            rest = &rest[size..];
        }
        let seen = |console: &Console| {
            let (splats, dropped) = console.splats(0);
            let all: Vec<_> = splats.iter().map(|splat| {
                (splat.kind, splat.head.clone(), splat.position, splat.text(), splat.is_whole())
            }).collect();
            (all, dropped)
        };
        prop_assert_eq!(seen(&whole), seen(&cut));
        prop_assert_eq!(&*signs.lock(), &*cut_signs.lock());
        for splat in whole.splats(0).0 {
            prop_assert!(splat.text().len() <= MAX_TEXT + 64);
            prop_assert!(splat.position < bytes.len() as u64);
            let printed = &bytes[splat.position as usize..];
            let first = splat.text().split(['\n', '\u{fffd}']).next().unwrap_or_default().to_owned();
            prop_assert!(printed.starts_with(first.as_bytes()), "{:?}", first);
            prop_assert!(!splat.head.contains('\n'));
        }
    }
}
