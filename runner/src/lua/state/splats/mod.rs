//! Splats of a file's guests: which test each belongs to, and what it means for that.
//!
//! Input: splats, from the threads of vCPUs; which test begins and ends; what tests expect. Output: the token
//! of the test that is over by one, and what each test is told at its end. Not here: recognising a splat,
//! which the monitor does; the verdict of a test.
//!
//! A splat belongs to the part of the file that ran when its first line was printed: a test up to the end of
//! its clean-up, else the file's own code. A thread of its own, which there is only while there are splats,
//! waits for the rest of each and decides, since patterns and lists are about its whole text.

mod decide;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use provium_base::cancel::{Cancel, CancelReason};
use provium_base::failure::GuestSplat;
use provium_vmm::{Splat, SplatListener, elsewhere};

use self::decide::Decision;
pub(crate) use self::decide::check_pattern;
use crate::config::{SplatPolicy, SplatRules};

/// Longest wait for the rest of a splat before it is decided about: a test is ended within a second.
const SETTLE: Duration = Duration::from_millis(400);
/// The same where its text is searched, and at the end of a test that it has failed: slow hosts print slowly.
const REST: Duration = Duration::from_secs(3);
/// Most splats that wait to be decided about; further ones are counted.
const MAX_WAITING: usize = 50;
/// Most splats that a part is told of; further ones are counted.
const MAX_TOLD: usize = 10;
/// How long the thread waits for more before it ends.
const IDLE: Duration = Duration::from_millis(500);

/// What a splat is, in a line.
pub(crate) fn line_of(splat: &GuestSplat) -> String {
    format!("kernel of VM `{}`: {}", splat.vm, splat.head)
}

/// What a test says of splats beforehand, by its metadata.
#[derive(Debug, Clone, Default)]
pub(crate) enum Allowance {
    /// Nothing: the file's policy holds.
    #[default]
    None,
    /// All are fine.
    All,
    /// Those are fine in whose text Lua's `string.find` finds the pattern.
    Matching(Vec<u8>),
}

/// What a part of the file is told of its splats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Those that fail it.
    pub(crate) failing: Vec<GuestSplat>,
    /// Those that stand in its log.
    pub(crate) warned: Vec<GuestSplat>,
    /// Number of further ones.
    pub(crate) more: u64,
    /// Where the rest of each failing one comes from, if from a console.
    pub(crate) sources: Vec<Option<Arc<Splat>>>,
}

/// An expectation of a test.
#[derive(Debug)]
struct Expectation {
    number: u64,
    pattern: Option<Vec<u8>>,
    first: Option<GuestSplat>,
}

/// A part of the file: its own code or a test.
#[derive(Debug)]
struct Part {
    number: u64,
    token: Arc<Cancel>,
    allowance: Allowance,
    expectations: Vec<Expectation>,
    told: Told,
}

impl Part {
    /// Whether the text of a splat matters for what it means.
    fn looks_at_texts(&self) -> bool {
        !self.expectations.is_empty() || matches!(self.allowance, Allowance::Matching(_))
    }
}

/// A splat that nobody has decided about.
struct Waiting {
    part: u64,
    /// The policy when it was printed.
    policy: SplatPolicy,
    vm: String,
    splat: Arc<Splat>,
}

#[derive(Default)]
struct State {
    policy: SplatPolicy,
    /// The parts that are under way, the innermost last.
    parts: Vec<Part>,
    next: u64,
    waiting: VecDeque<Waiting>,
    /// The part of the splat that the thread is at.
    deciding: Option<u64>,
    /// Whether there is a thread.
    running: bool,
}

/// The splats of one file.
pub(crate) struct FileSplats {
    ignored: Vec<String>,
    /// What is said where a part's code is ended.
    said: Arc<Mutex<Option<String>>>,
    state: Mutex<State>,
    changed: Condvar,
}

impl FileSplats {
    /// No splats so far; `said` takes what the code that one ends is told.
    pub(crate) fn new(rules: &SplatRules, said: Arc<Mutex<Option<String>>>) -> Arc<FileSplats> {
        Arc::new(FileSplats {
            ignored: rules.ignored.clone(),
            said,
            state: Mutex::new(State {
                policy: rules.policy,
                ..State::default()
            }),
            changed: Condvar::new(),
        })
    }

    /// The policy.
    pub(crate) fn policy(&self) -> SplatPolicy {
        self.state.lock().policy
    }

    /// Changes the policy, for what comes from now on.
    pub(crate) fn set_policy(&self, policy: SplatPolicy) {
        self.state.lock().policy = policy;
    }

    /// Who hears of the splats of the VM of this name.
    pub(crate) fn listener(self: &Arc<Self>, vm: &str) -> SplatListener {
        let (splats, vm) = (Arc::downgrade(self), vm.to_owned());
        Arc::new(move |splat| {
            // A VM may outlive its file in the pool for a moment.
            if let Some(splats) = splats.upgrade() {
                splats.hear(&vm, splat);
            }
        })
    }

    /// Begins a part inside the current one; `token` is cancelled by a splat that fails it.
    pub(crate) fn begin(&self, token: &Arc<Cancel>, allowance: Allowance) {
        *self.said.lock() = None;
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.parts.push(Part {
            number,
            token: Arc::clone(token),
            allowance,
            expectations: Vec::new(),
            told: Told::default(),
        });
    }

    /// What the current part is told so far, once all of its splats are decided about.
    pub(crate) fn told(&self) -> Told {
        self.read(|parts| parts.last().map(|part| part.told.clone()))
    }

    /// The same, and nothing of it is told again.
    pub(crate) fn take_told(&self) -> Told {
        self.read(|parts| parts.last_mut().map(|part| std::mem::take(&mut part.told)))
    }

    /// Ends the current part; returns what it is told, once all of its splats are decided about.
    pub(crate) fn end(&self) -> Told {
        self.read(|parts| parts.pop().map(|part| part.told))
    }

    /// What the current part is told, with the rest of each splat that was decided about before it was whole.
    fn read(&self, take: impl FnOnce(&mut Vec<Part>) -> Option<Told>) -> Told {
        let mut told = take(&mut self.settled(self.state.lock()).parts).unwrap_or_default();
        for (seen, splat) in told.failing.iter_mut().zip(&told.sources) {
            if let Some(splat) = splat {
                splat.settle(REST);
                seen.text = splat.text();
            }
        }
        told
    }

    /// Waits until all splats of the current part are decided about.
    fn settled<'a>(
        &'a self,
        state: parking_lot::MutexGuard<'a, State>,
    ) -> parking_lot::MutexGuard<'a, State> {
        let mut state = state;
        let Some(number) = state.parts.last().map(|part| part.number) else {
            return state;
        };
        self.changed.wait_while(&mut state, |state| {
            state.running
                && (state.deciding == Some(number)
                    || state.waiting.iter().any(|waiting| waiting.part == number))
        });
        state
    }

    /// Begins to expect a splat, in whose text the pattern is found if there is one; returns its number.
    pub(crate) fn expect(&self, pattern: Option<Vec<u8>>) -> u64 {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        if let Some(part) = state.parts.last_mut() {
            part.expectations.push(Expectation {
                number,
                pattern,
                first: None,
            });
        }
        number
    }

    /// The first splat that met an expectation; waited for until `limit` has passed or the part is over.
    pub(crate) fn met(&self, number: u64, limit: Duration) -> Option<GuestSplat> {
        let until = Instant::now() + limit;
        let mut state = self.settled(self.state.lock());
        loop {
            let part = state.parts.last()?;
            let expectation = part.expectations.iter().find(|one| one.number == number)?;
            let left = until.saturating_duration_since(Instant::now());
            if expectation.first.is_some() || left.is_zero() || part.token.is_cancelled().is_some() {
                return expectation.first.clone();
            }
            // The token is looked at now and then; a splat wakes at once.
            self.changed
                .wait_for(&mut state, left.min(Duration::from_millis(50)));
        }
    }

    /// Stops to expect.
    pub(crate) fn forget(&self, number: u64) {
        if let Some(part) = self.state.lock().parts.last_mut() {
            part.expectations.retain(|one| one.number != number);
        }
    }

    /// Takes a splat that was found otherwise than by a console, for the current part, and decides.
    pub(crate) fn found(&self, seen: GuestSplat) {
        let (number, policy) = {
            let state = self.state.lock();
            (state.parts.last().map(|part| part.number), state.policy)
        };
        if let Some(number) = number {
            self.decide(number, policy, seen, None);
        }
    }

    /// Takes a splat, on the thread that prints it.
    fn hear(self: &Arc<Self>, vm: &str, splat: &Arc<Splat>) {
        let mut state = self.state.lock();
        let (full, policy) = (state.waiting.len() >= MAX_WAITING, state.policy);
        let Some(part) = state.parts.last_mut() else {
            return;
        };
        if full {
            part.told.more += 1;
            return;
        }
        let waiting = Waiting {
            part: part.number,
            policy,
            vm: vm.to_owned(),
            splat: Arc::clone(splat),
        };
        state.waiting.push_back(waiting);
        if !state.running {
            let (own, other) = (Arc::clone(self), Arc::clone(self));
            let thread = std::thread::Builder::new().name("splats".to_owned());
            // A vCPU's thread may start none.
            let start = move || thread.spawn(move || own.run()).map_or_else(|_| other.run(), drop);
            state.running = elsewhere(start).is_ok();
        }
        let running = state.running;
        drop(state);
        match running {
            true => drop(self.changed.notify_all()),
            // Without anybody else it is decided here, by what is there.
            false => drop(self.take_one()),
        }
    }

    /// Decides about one after the other, until none has come for a while.
    fn run(&self) {
        loop {
            if !self.take_one() {
                let mut state = self.state.lock();
                let none = |state: &mut State| state.waiting.is_empty();
                self.changed.wait_while_for(&mut state, none, IDLE);
                if state.waiting.is_empty() {
                    state.running = false;
                    return;
                }
            }
        }
    }

    /// Decides about the oldest that waits; false where none does.
    fn take_one(&self) -> bool {
        let (waiting, by_text) = {
            let mut state = self.state.lock();
            let Some(waiting) = state.waiting.pop_front() else {
                return false;
            };
            state.deciding = Some(waiting.part);
            let mut parts = state.parts.iter();
            let part = parts.find(|part| part.number == waiting.part);
            (
                waiting,
                !self.ignored.is_empty() || part.is_some_and(Part::looks_at_texts),
            )
        };
        waiting.splat.settle(if by_text { REST } else { SETTLE });
        let seen = GuestSplat {
            vm: waiting.vm,
            kind: waiting.splat.kind.to_string(),
            head: waiting.splat.head.clone(),
            text: waiting.splat.text(),
        };
        self.decide(waiting.part, waiting.policy, seen, Some(waiting.splat));
        self.state.lock().deciding = None;
        self.changed.notify_all();
        true
    }

    fn decide(&self, number: u64, policy: SplatPolicy, seen: GuestSplat, source: Option<Arc<Splat>>) {
        // Patterns are searched for without the lock, which vCPUs wait for.
        let questions = {
            let state = self.state.lock();
            let part = state.parts.iter().find(|part| part.number == number);
            // One of a part that is over is the next one's outside of it.
            let Some(part) = part.or(state.parts.last()) else {
                return;
            };
            decide::Questions {
                part: part.number,
                expected: part
                    .expectations
                    .iter()
                    .map(|one| (one.number, one.pattern.clone()))
                    .collect(),
                allowance: part.allowance.clone(),
                policy,
            }
        };
        let decision = decide::decide(&questions, &self.ignored, &seen);
        let mut state = self.state.lock();
        let Some(part) = state.parts.iter_mut().find(|part| part.number == questions.part) else {
            return;
        };
        let told = match decision {
            Decision::Nothing => return,
            Decision::Expected(number) => {
                if let Some(one) = part.expectations.iter_mut().find(|one| one.number == number) {
                    one.first.get_or_insert(seen);
                }
                drop(state);
                self.changed.notify_all();
                return;
            }
            Decision::Warns => &mut part.told.warned,
            Decision::Fails => &mut part.told.failing,
        };
        if told.len() < MAX_TOLD {
            told.push(seen.clone());
            if decision == Decision::Fails {
                part.told.sources.push(source);
            }
        } else {
            part.told.more += 1;
        }
        if decision == Decision::Fails && part.told.failing.len() == 1 {
            let token = Arc::clone(&part.token);
            drop(state);
            self.said.lock().get_or_insert_with(|| line_of(&seen));
            token.cancel(CancelReason::Splat);
        }
    }
}

#[cfg(test)]
mod tests;
