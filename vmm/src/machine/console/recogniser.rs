//! Splats out of console lines: which lines begin one, belong to it and end it.
//!
//! Input: lines as they are printed. Output: a [`Splat`] when the line that says what happened is there; it
//! then grows. Not here: the words of each report (`heads`), and stamps (`stamp`).
//!
//! A report is followed by who prints it, where stamps tell, so that two processors may report at once and a
//! program may print in between. It ends with its `---[ end trace` or its second line of equals signs. One
//! that has neither ends with its stack trace: with the first line behind it that looks like no part of one.
//! What is kept is bounded, whatever a guest prints.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::heads::{Before, CUT_HERE, END_TRACE, SplatKind, head, is_die_header, ruler};
use super::splat::Splat;
use super::stamp::{Reading, Source, readings};

/// Most splats that are kept; the oldest go.
const MAX_SPLATS: usize = 100;
/// Most reports that are followed at once.
const MAX_OPEN: usize = 4;
/// Most lines between the one that begins a report and the one that says what happened.
const MAX_PREAMBLE: usize = 16;
/// Bytes of the shortest line that begins anything, `BUG: x`.
const SHORTEST: usize = 5;
/// Seconds between two stamps that no report has within it.
const GAP: f64 = 2.0;

/// How a report ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum EndsBy {
    EndTrace,
    Ruler(usize),
    /// With its stack trace.
    Trace,
}

/// A report whose end has not come.
struct Open {
    source: Source,
    splat: Arc<Splat>,
    ends_by: EndsBy,
    /// Whether its stack trace has begun.
    in_trace: bool,
    /// Whether the line of `die()`, or of `WARN()`, that belongs to its head has come.
    second_head: bool,
    time: Option<f64>,
}

/// Lines that may begin a report.
struct Preamble {
    source: Source,
    before: Before,
    position: u64,
    lines: Vec<String>,
}

/// What of the lines so far matters for those that come.
#[derive(Default)]
pub(super) struct Recogniser {
    open: Vec<Open>,
    preambles: Vec<Preamble>,
    kept: VecDeque<Arc<Splat>>,
    /// Number of splats that are not kept any more.
    dropped: u64,
}

impl Recogniser {
    /// The splats that begin at position `from` of the log or behind it, and how many more there have been in
    /// the log than are kept.
    pub(super) fn since(&self, from: u64) -> (Vec<Arc<Splat>>, u64) {
        let kept = self.kept.iter().filter(|splat| splat.position >= from);
        (kept.cloned().collect(), self.dropped)
    }

    /// Takes the line that begins at `position`; returns the splat of which it says what happened.
    pub(super) fn line(&mut self, bytes: &[u8], position: u64) -> Option<Arc<Splat>> {
        // Short of any report, a line matters only if it has one of these words.
        if self.open.is_empty() && self.preambles.is_empty() && !may_begin(bytes) {
            return None;
        }
        let line = String::from_utf8_lossy(bytes);
        let reading = self.reading(&line)?;
        let position = position + printed_length(bytes, reading.at) as u64;
        let shown = &line[reading.at..];

        let before = self.before(&reading.source);
        if let Some(kind) = head(reading.text, reading.source.stamped, before) {
            if self.continues(&reading, kind, shown) {
                return None;
            }
            return Some(self.begin(&reading, kind, shown, position));
        }
        let opener = match ruler(reading.text) {
            _ if reading.text == CUT_HERE => Some(Before::CutHere),
            Some(length) => Some(Before::Ruler(length)),
            None => None,
        };
        if let Some(before) = opener {
            if !self.ends_with(&reading, before, shown) {
                self.close(&reading.source);
                self.prepare(&reading, before, shown, position);
            }
            return None;
        }
        self.follow(&reading, shown);
        None
    }

    /// How the line is to be read: from its start, unless what makes a difference stands behind a stamp
    /// further in.
    fn reading<'a>(&self, line: &'a str) -> Option<Reading<'a>> {
        let mut all = readings(line);
        let first = all.next()?;
        if first.source.stamped || matters(&first) {
            return Some(first);
        }
        // Text of a program may have stamps in it of which none means anything.
        Some(all.next().unwrap_or(first))
    }

    fn before(&self, source: &Source) -> Before {
        let preamble = self.preambles.iter().find(|preamble| preamble.source == *source);
        preamble.map_or(Before::Nothing, |preamble| preamble.before)
    }

    /// Whether the head is a further line of a report that has begun, such as `Oops: 0002 [#1]`; it is taken
    /// then.
    fn continues(&mut self, reading: &Reading<'_>, kind: SplatKind, shown: &str) -> bool {
        let Some(open) = self.open.iter_mut().find(|open| open.source == reading.source) else {
            return false;
        };
        let follows = match open.splat.kind {
            SplatKind::Oops | SplatKind::Bug => is_die_header(reading.text, reading.source.stamped),
            SplatKind::Refcount => kind == SplatKind::Warning,
            _ => false,
        };
        let further = follows && !std::mem::replace(&mut open.second_head, true);
        if further {
            open.splat.add(shown);
            open.time = reading.time;
        }
        further
    }

    fn begin(&mut self, reading: &Reading<'_>, kind: SplatKind, shown: &str, position: u64) -> Arc<Splat> {
        self.close(&reading.source);
        let at = self
            .preambles
            .iter()
            .position(|preamble| preamble.source == reading.source);
        let preamble = at.map(|at| self.preambles.remove(at));
        let position = preamble.as_ref().map_or(position, |preamble| preamble.position);
        let ends_by = match (&preamble, kind) {
            (
                Some(Preamble {
                    before: Before::CutHere,
                    ..
                }),
                _,
            )
            | (_, SplatKind::Oops | SplatKind::Warning | SplatKind::Refcount) => EndsBy::EndTrace,
            (
                Some(Preamble {
                    before: Before::Ruler(length),
                    ..
                }),
                SplatKind::Kasan | SplatKind::Kcsan | SplatKind::Kmsan | SplatKind::Kfence | SplatKind::Ubsan,
            ) => EndsBy::Ruler(*length),
            // BUG() without the line before it, which a kernel that is short of memory leaves out.
            (_, SplatKind::Bug) if reading.text.starts_with("kernel BUG at ") => EndsBy::EndTrace,
            _ => EndsBy::Trace,
        };
        let has_end = ends_by != EndsBy::Trace;
        let text = reading.text.trim_end();
        let splat = Arc::new(Splat::new(kind, text, position, reading.time, has_end));
        for line in preamble.iter().flat_map(|preamble| &preamble.lines) {
            splat.add(line);
        }
        splat.add(shown);
        self.keep(&splat);
        if kind == SplatKind::Kmemleak {
            splat.end();
            return splat;
        }
        if self.open.len() == MAX_OPEN {
            self.open.remove(0).splat.end();
        }
        self.open.push(Open {
            source: reading.source.clone(),
            splat: Arc::clone(&splat),
            ends_by,
            in_trace: false,
            second_head: is_die_header(reading.text, true) || kind == SplatKind::Warning,
            time: reading.time,
        });
        splat
    }

    fn keep(&mut self, splat: &Arc<Splat>) {
        if self.kept.len() == MAX_SPLATS {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(Arc::clone(splat));
    }

    /// Remembers a line that may begin a report.
    fn prepare(&mut self, reading: &Reading<'_>, before: Before, shown: &str, position: u64) {
        self.preambles
            .retain(|preamble| preamble.source != reading.source);
        if self.preambles.len() == MAX_OPEN {
            self.preambles.remove(0);
        }
        self.preambles.push(Preamble {
            source: reading.source.clone(),
            before,
            position,
            lines: vec![shown.trim_end().to_owned()],
        });
    }

    /// Whether a line of equals signs is the end of a report; it is taken then.
    fn ends_with(&mut self, reading: &Reading<'_>, line: Before, shown: &str) -> bool {
        let ends = |open: &Open| {
            let hung = open.splat.kind == SplatKind::HungTask && matches!(line, Before::Ruler(_));
            open.source == reading.source
                && (hung || matches!((open.ends_by, line), (EndsBy::Ruler(a), Before::Ruler(b)) if a == b))
        };
        let Some(at) = self.open.iter().position(ends) else {
            return false;
        };
        let open = self.open.remove(at);
        open.splat.add(shown);
        open.splat.end();
        true
    }

    /// Ends the report that this source is in, if it is in one.
    fn close(&mut self, source: &Source) {
        if let Some(at) = self.open.iter().position(|open| open.source == *source) {
            self.open.remove(at).splat.end();
        }
    }

    /// Takes a line that begins nothing.
    fn follow(&mut self, reading: &Reading<'_>, shown: &str) {
        if let Some(at) = self
            .preambles
            .iter()
            .position(|preamble| preamble.source == reading.source)
        {
            let preamble = &mut self.preambles[at];
            preamble.lines.push(shown.trim_end().chars().take(1024).collect());
            // The line behind a ruler says what happened, or it is no report.
            let over = matches!(preamble.before, Before::Ruler(_)) || preamble.lines.len() > MAX_PREAMBLE;
            if over {
                self.preambles.remove(at);
            }
            return;
        }
        let mine = |open: &Open| open.source == reading.source;
        let others =
            |open: &Open| open.source.stamped && reading.source.stamped && of_every_cpu(open.splat.kind);
        let at = self
            .open
            .iter()
            .position(mine)
            .or_else(|| self.open.iter().position(others));
        let Some(at) = at else { return };
        let open = &mut self.open[at];
        let gap = match (open.time, reading.time) {
            (Some(before), Some(now)) => now - before > GAP,
            _ => false,
        };
        let ends = gap
            || reading.text.starts_with("Kernel panic - ")
            || (open.ends_by == EndsBy::Trace && open.in_trace && !is_of_trace(reading.text));
        if ends {
            self.open.remove(at).splat.end();
            return;
        }
        open.time = reading.time;
        open.in_trace |=
            reading.text.starts_with("Call Trace:") || reading.text.starts_with("stack backtrace:");
        open.splat.add(shown);
        if reading.text.starts_with(END_TRACE) && open.ends_by != EndsBy::Trace {
            self.open.remove(at).splat.end();
        }
    }
}

/// Number of bytes of `line` as it was printed that are the first `shown` bytes of its text, in which each
/// run of bytes that is no UTF-8 has become a replacement character.
fn printed_length(line: &[u8], shown: usize) -> usize {
    let (mut printed, mut left) = (0, shown);
    for chunk in line.utf8_chunks() {
        let valid = chunk.valid().len();
        if left <= valid {
            return printed + left;
        }
        printed += valid + chunk.invalid().len();
        left = (left - valid).saturating_sub(char::REPLACEMENT_CHARACTER.len_utf8());
    }
    printed
}

/// Whether other processors print parts of a report of this kind.
fn of_every_cpu(kind: SplatKind) -> bool {
    matches!(
        kind,
        SplatKind::RcuStall
            | SplatKind::SoftLockup
            | SplatKind::HardLockup
            | SplatKind::HungTask
            | SplatKind::WorkqueueLockup
    )
}

/// Whether a line could begin a report; sure only if it is false.
fn may_begin(line: &[u8]) -> bool {
    static WORDS: LazyLock<[Finder<'static>; 10]> = LazyLock::new(|| {
        [
            "BUG",
            "WARNING: ",
            "INFO: ",
            " [#",
            "UBSAN: ",
            "LOCKUP",
            "kmemleak: ",
            "refcount_t: ",
            "[ cut here ]",
            "====================",
        ]
        .map(Finder::new)
    });
    line.len() > SHORTEST && WORDS.iter().any(|word| word.find(line).is_some())
}

/// Whether a reading from the start of a line is one that makes a difference.
fn matters(reading: &Reading<'_>) -> bool {
    reading.text == CUT_HERE
        || ruler(reading.text).is_some()
        || head(reading.text, reading.source.stamped, Before::Nothing).is_some()
}

/// Whether a line can stand behind the begin of a stack trace and still belong to it.
fn is_of_trace(text: &str) -> bool {
    const STARTS: [&str; 26] = [
        "[<",
        "CPU:",
        "Call Trace:",
        "Code:",
        "EFLAGS:",
        "FS:",
        "CS:",
        "CR2:",
        "DR",
        "Hardware name:",
        "INFO: lockdep",
        "Modules linked in:",
        "NMI backtrace",
        "ORIG_RAX:",
        "PKRU:",
        "RIP:",
        "Sending NMI",
        "Stack",
        "Tainted:",
        "Workqueue:",
        "hardirqs last",
        "irq event stamp:",
        "rcu:",
        "softirqs last",
        "Showing all locks",
        "task:",
    ];
    let register = |text: &str| {
        let name = text.split_once(": ").map_or("", |(name, _)| name);
        (2..=3).contains(&name.len()) && name.starts_with('R')
    };
    text.is_empty()
        || text.starts_with([' ', '\t'])
        || register(text)
        || STARTS.iter().any(|start| text.starts_with(start))
        || text.ends_with(" held by swapper/0/1:")
        || text.contains(" locks held by ")
        || text.contains(" lock held by ")
        || text.starts_with("FIX ")
}
