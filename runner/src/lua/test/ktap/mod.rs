//! Reads KTAP and TAP 13/14 as a guest prints them, nested in any of their ways.
//!
//! Input: output of a program, or of a kernel's console. Output: a [`Subtest`] for each result line; one more
//! that fails for what is wrong with the whole: results that were planned and are not there, a bail-out,
//! nothing to read. Results are nested by indentation (KTAP, TAP 14) or behind `# `, as the kernel's
//! kselftest runner shows what a program of it printed. Every other line is left out, but for those that
//! explain a failure. What a guest prints is bounded in depth, number and length. Not here: whose results
//! they are.

mod line;
#[cfg(test)]
mod tests;

use provium_base::outcome::TestStatus;
use provium_base::subtest::{Subtest, has_failed};

use line::{Line, classify, description, directive};

/// Most levels; what is deeper counts as on the last.
const DEPTH: usize = 32;
/// Most results.
pub(crate) const RESULTS: usize = 50_000;
/// Most characters of a line that are looked at.
const LINE: usize = 2048;
/// Most characters of a name.
const NAME: usize = 256;
/// Most lines that explain one failure, and most bytes that explain all of them.
const DIAGNOSTICS: usize = 16;
const DIAGNOSTICS_TOTAL: usize = 4 << 20;

/// The results of one level.
#[derive(Default)]
struct Level {
    /// Columns before its lines.
    column: usize,
    results: Vec<Subtest>,
    /// Results of the level below, whose own result line comes behind them.
    inner: Vec<Subtest>,
    /// What the level below is called, should that line never come.
    heading: Option<String>,
    planned: Option<u64>,
    needs_plan: bool,
    /// Results since the last version line, and the highest of their numbers.
    seen: u64,
    highest: u64,
    /// Lines that stand before the next result, and may explain it.
    before: Vec<String>,
    /// Whether the last result failed, so that lines behind it explain that.
    explains_last: bool,
}

/// The results in a text.
pub(crate) fn parse(text: &str) -> Vec<Subtest> {
    let mut reader = Reader::default();
    for line in text.lines() {
        if reader.results >= RESULTS {
            let more = format!("there are more than {RESULTS} results; the rest is left out");
            reader.problems.push(problem("results", more));
            break;
        }
        let line = line.get(..floor(line, LINE)).unwrap_or_default();
        if let Some((column, line)) = classify(line) {
            reader.take(column, line);
        }
    }
    reader.end()
}

/// The largest place of a character at or below `most`.
fn floor(text: &str, most: usize) -> usize {
    (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

fn clipped(text: &str, most: usize) -> String {
    text[..floor(text, most)].to_owned()
}

fn problem(name: &str, message: String) -> Subtest {
    Subtest {
        message: Some(message),
        ..Subtest::new(name, TestStatus::Failed)
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    levels: Vec<Level>,
    results: usize,
    diagnostics: usize,
    problems: Vec<Subtest>,
    /// Whether somebody has bailed out; nothing behind it counts.
    bailed_out: bool,
}

impl Reader {
    fn take(&mut self, column: usize, line: Line<'_>) {
        if self.bailed_out {
            return;
        }
        match line {
            // These belong to whatever is around them, and begin nothing.
            Line::Diagnostic(text) => self.explain(text.trim()),
            Line::Heading(name) => {
                if let Some(level) = self.levels.last_mut() {
                    level.heading = Some(clipped(name, NAME));
                    level.explains_last = false;
                    level.before.clear();
                }
            }
            Line::BailOut(reason) => {
                self.bailed_out = true;
                let reason = if reason.is_empty() {
                    "no reason given"
                } else {
                    reason
                };
                self.problems.push(problem("Bail out!", reason.to_owned()));
            }
            Line::Version { needs_plan } => {
                let level = self.level(column);
                level.end_document();
                level.needs_plan = needs_plan;
            }
            Line::Plan { count, skip } => {
                let level = self.level(column);
                level.planned = Some(count);
                level.explains_last = false;
                if let Some(reason) = skip {
                    level.results.push(Subtest {
                        message: Some(reason.to_owned()),
                        ..Subtest::new("all", TestStatus::Skipped)
                    });
                }
            }
            Line::Result { ok, number, rest } => self.result(column, ok, number, rest),
        }
    }

    /// Notes a line that explains the failure before it, or the one that may come.
    fn explain(&mut self, text: &str) {
        if text.is_empty() || self.diagnostics > DIAGNOSTICS_TOTAL {
            return;
        }
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let last = level.results.last_mut().filter(|_| level.explains_last);
        match last.and_then(|last| last.message.as_mut()) {
            Some(message) if message.lines().count() <= DIAGNOSTICS => {
                self.diagnostics += text.len();
                message.push_str("\n  ");
                message.push_str(text);
            }
            Some(_) => {}
            None => {
                // The last lines say the most.
                if level.before.len() == DIAGNOSTICS {
                    level.before.remove(0);
                }
                level.before.push(text.to_owned());
            }
        }
    }

    fn result(&mut self, column: usize, ok: bool, number: Option<u64>, rest: &str) {
        self.results += 1;
        let level = self.level(column);
        let (name, said) = description(ok, rest.strip_prefix("- ").unwrap_or(rest));
        let (mut status, mut message) = directive(ok, said);
        let mut inner = std::mem::take(&mut level.inner);
        level.heading = None;
        level.seen += 1;
        level.highest = level.highest.max(number.unwrap_or(level.seen));
        let name = match (name, &message, number) {
            (name, ..) if !name.is_empty() => name,
            // Some of the kernel's own write `ok 4 # SKIP name`.
            (_, Some(said), _) => said.clone(),
            (_, None, number) => number.unwrap_or(level.seen).to_string(),
        };
        let before = std::mem::take(&mut level.before);
        if status == TestStatus::Xfailed {
            expect(&mut inner);
        }
        if let [
            Subtest {
                status: TestStatus::Skipped,
                message: why,
                ..
            },
        ] = inner.as_mut_slice()
            && status == TestStatus::Skipped
        {
            // `1..0 # SKIP why` and the line of the whole say one thing.
            message = message.or(why.take());
            inner.clear();
        }
        // What a result line says does not undo the failure of a part.
        let part_failed = has_failed(&inner);
        if status == TestStatus::Failed && !part_failed {
            let said = message.unwrap_or_else(|| "not ok".to_owned());
            let lines = std::iter::once(said).chain(before);
            message = Some(lines.collect::<Vec<_>>().join("\n  "));
        }
        if part_failed {
            (status, message) = (TestStatus::Failed, None);
        }
        level.explains_last = message.is_some() && status == TestStatus::Failed;
        let told = message.as_ref().map_or(0, String::len);
        level.results.push(Subtest {
            message,
            subtests: inner,
            ..Subtest::new(clipped(&name, NAME), status)
        });
        self.diagnostics += told;
    }

    /// The level of this column; what those that lie deeper have are parts of what it says next.
    fn level(&mut self, column: usize) -> &mut Level {
        let inner = self.leave(|level| level.column > column);
        let is_there = self.levels.last().is_some_and(|level| level.column == column);
        if self.levels.is_empty() || !is_there && self.levels.len() < DEPTH {
            self.levels.push(Level {
                column,
                ..Level::default()
            });
        }
        let level = self.levels.last_mut().expect("there is one by now");
        level.inner.extend(inner);
        level
    }

    /// Ends the deepest levels for which `is_over` holds, each of which is part of the one above it; returns
    /// the results of the last.
    fn leave(&mut self, is_over: impl Fn(&Level) -> bool) -> Vec<Subtest> {
        let mut results = Vec::new();
        while let Some(mut level) = self.levels.pop_if(|level| is_over(level)) {
            level.inner.append(&mut results);
            results = level.end();
        }
        results
    }

    fn end(mut self) -> Vec<Subtest> {
        let mut results = self.leave(|_| true);
        results.append(&mut self.problems);
        if results.is_empty() {
            results.push(problem("(K)TAP", "there is no result in the output".to_owned()));
        }
        results
    }
}

impl Level {
    /// Checks what was planned against what came, and begins anew.
    fn end_document(&mut self) {
        let all_skipped = self.planned == Some(0);
        let expected = self.planned.unwrap_or(self.highest);
        if self.seen != expected && !(all_skipped && self.seen == 0) {
            let message = match self.planned {
                Some(planned) => format!("{planned} result(s) were planned, {} came", self.seen),
                None => format!("a result has number {expected}, and there are {}", self.seen),
            };
            self.results.push(problem("plan", message));
        } else if self.planned.is_none() && self.needs_plan {
            let message = "there is no plan (`1..N`), so nobody can tell whether these are all results";
            self.results.push(problem("plan", message.to_owned()));
        }
        (self.planned, self.needs_plan, self.seen, self.highest) = (None, false, 0, 0);
        self.explains_last = false;
    }

    /// All results of the level. Parts whose own result line never came are a failure.
    fn end(mut self) -> Vec<Subtest> {
        self.end_document();
        if !self.inner.is_empty() {
            let name = self
                .heading
                .take()
                .unwrap_or_else(|| "(without a name)".to_owned());
            self.results.push(Subtest {
                subtests: self.inner,
                ..problem(&name, "its own result line is missing".to_owned())
            });
        }
        self.results
    }
}

/// Makes failures of parts expected ones, as those of a whole are that is expected to fail.
fn expect(parts: &mut [Subtest]) {
    for part in parts {
        if part.status == TestStatus::Failed {
            part.status = TestStatus::Xfailed;
        }
        expect(&mut part.subtests);
    }
}
