//! What a file's guests show of a failure: their consoles since the test began, which of them died.
//!
//! Input: the file's VMs, at each test's begin and end. Output: [`Failure`]s with what is known. A VM that
//! died is shown by the first failure behind its death, and named by those that follow. Not here: the message
//! and its place in the test, which `verdict` has; files that are kept.

use std::cell::RefCell;
use std::collections::BTreeMap;

use provium_base::failure::{DeadVm, Failure, GuestConsole};
use provium_guest::ConsoleMark;

use crate::lua::state::scope::{Asked, Scopes};

/// Most bytes of a console that a failure carries.
const CONSOLE_MAX: usize = 16 << 10;

/// What is known of the guests of one file. Scopes say which is which by a number.
#[derive(Default)]
pub(crate) struct Evidence {
    /// Where the consoles were when the running test began.
    marks: RefCell<BTreeMap<usize, ConsoleMark>>,
    /// The last death of each VM of the file.
    deaths: RefCell<BTreeMap<usize, Death>>,
}

/// A VM's death.
struct Death {
    /// The end of its console, which tells this death from a later one.
    at: ConsoleMark,
    /// The test it died in; empty for the file's own code.
    during: String,
    /// Whether a failure has shown it.
    shown: bool,
}

impl Evidence {
    /// Notes where the consoles are, before a test begins.
    pub(crate) fn begin_test(&self, scopes: &Scopes) {
        let mut marks = self.marks.borrow_mut();
        marks.clear();
        scopes.ask_witnesses(|asked| {
            marks.insert(asked.id, asked.witness.console_mark());
        });
    }

    /// Notes which VMs of the file died in a test that did not fail.
    pub(crate) fn end_test(&self, scopes: &Scopes, test: &str) {
        let mut deaths = self.deaths.borrow_mut();
        scopes.ask_witnesses(|asked| {
            if asked.of_file && asked.witness.death().is_some() {
                note(&mut deaths, asked, test);
            }
        });
    }

    /// Adds to a failure of `test` what the guests show; the test without a name is the file's own code.
    pub(crate) fn add_to(&self, failure: &mut Failure, scopes: &Scopes, test: &str) {
        let (marks, mut deaths) = (self.marks.borrow(), self.deaths.borrow_mut());
        scopes.ask_witnesses(|asked| {
            let (vm, death) = (asked.witness.vm(), asked.witness.death());
            let (mut during, mut shown) = (None, false);
            if death.is_some() && asked.of_file {
                let known = note(&mut deaths, asked, test);
                during = (known.during != test).then(|| known.during.clone());
                shown = std::mem::replace(&mut known.shown, true);
            }
            // Nothing is new of one that was dead before, and all is news of one whose death was not shown.
            let mark = marks.get(&asked.id).filter(|_| during.is_none());
            let text = match shown {
                true => String::new(),
                false => tail(&asked.witness.console_after(mark.copied())),
            };
            for splat in failure.splats.iter_mut().filter(|splat| splat.vm == vm) {
                splat.text = asked.witness.annotated(&splat.text);
            }
            if !text.trim().is_empty() {
                let (vm, text) = (vm.clone(), asked.witness.annotated(&text));
                failure.consoles.push(GuestConsole { vm, text });
            }
            if let Some(reason) = death {
                failure.dead.push(DeadVm { vm, reason, during });
            }
        });
    }

    /// Adds to the message of a failure by a limit of time where the guests' vCPUs stood then.
    pub(crate) fn add_places(&self, failure: &mut Failure, scopes: &Scopes) {
        scopes.ask_witnesses(|asked| {
            for line in asked.witness.vcpu_places() {
                failure.message += &format!("\n  {line}");
            }
        });
    }
}

/// The VM's last death, which was in `test` if it was not known before.
fn note<'a>(deaths: &'a mut BTreeMap<usize, Death>, asked: Asked<'_>, test: &str) -> &'a mut Death {
    let at = asked.witness.console_mark();
    let new = || Death {
        at,
        during: test.to_owned(),
        shown: false,
    };
    let death = deaths.entry(asked.id).or_insert_with(new);
    if death.at != at {
        *death = new();
    }
    death
}

/// The end of a console as text, from the start of a line if it is not whole.
fn tail(log: &[u8]) -> String {
    let cut = log.len().saturating_sub(CONSOLE_MAX);
    let tail = match log[cut..].iter().position(|byte| *byte == b'\n') {
        Some(newline) if cut > 0 => &log[cut + newline + 1..],
        _ => &log[cut..],
    };
    String::from_utf8_lossy(tail).replace('\r', "")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::lua::state::scope::{Held, Witness};

    /// A VM that prints and dies as it is told.
    #[derive(Default)]
    struct Guest {
        console: RefCell<String>,
        dead: Cell<bool>,
    }

    impl Held for Guest {
        fn close(&self) {}

        fn witness(&self) -> Option<&dyn Witness> {
            Some(self)
        }
    }

    impl Witness for Guest {
        fn vm(&self) -> String {
            "g".to_owned()
        }

        fn console_mark(&self) -> ConsoleMark {
            ConsoleMark {
                log: 1,
                at: self.console.borrow().len() as u64,
            }
        }

        fn console_after(&self, mark: Option<ConsoleMark>) -> Vec<u8> {
            let from = mark.map_or(0, |mark| mark.at as usize);
            self.console.borrow().as_bytes()[from..].to_vec()
        }

        fn death(&self) -> Option<String> {
            self.dead.get().then(|| "it panicked".to_owned())
        }

        fn annotated(&self, text: &str) -> String {
            text.to_owned()
        }

        fn vcpu_places(&self) -> Vec<String> {
            vec!["VM `g`: vCPU 0 was halted".to_owned()]
        }

        fn read_file(&self, _: &[u8]) -> Result<Vec<u8>, String> {
            Err("it has no files".to_owned())
        }

        fn kernel_log(&self) -> Result<Vec<u8>, String> {
            Err("it has no kernel".to_owned())
        }
    }

    /// A file with one VM of its own.
    struct Fixture {
        scopes: Scopes,
        guest: Rc<Guest>,
        evidence: Evidence,
    }

    impl Fixture {
        fn new() -> Fixture {
            let (scopes, guest) = (Scopes::default(), Rc::<Guest>::default());
            scopes.enter();
            scopes.own(Rc::clone(&guest) as Rc<dyn Held>);
            guest.console.borrow_mut().push_str("booting\n");
            Fixture {
                scopes,
                guest,
                evidence: Evidence::default(),
            }
        }

        /// A test in which the guest prints, and then fails or not.
        fn test(&self, name: &str, printed: &str, fails: bool) -> Failure {
            self.evidence.begin_test(&self.scopes);
            self.guest.console.borrow_mut().push_str(printed);
            let mut failure = Failure::default();
            match fails {
                true => self.evidence.add_to(&mut failure, &self.scopes, name),
                false => self.evidence.end_test(&self.scopes, name),
            }
            failure
        }
    }

    fn seen(failure: &Failure) -> (Vec<&str>, Vec<Option<&str>>) {
        let consoles = failure.consoles.iter().map(|console| console.text.as_str());
        let dead = failure.dead.iter().map(|dead| dead.during.as_deref());
        (consoles.collect(), dead.collect())
    }

    #[test]
    fn a_console_begins_where_the_test_began() {
        let file = Fixture::new();
        assert_eq!(
            seen(&file.test("one", "hello\r\n", true)),
            (vec!["hello\n"], vec![])
        );
        assert_eq!(seen(&file.test("two", "", true)), (vec![], vec![]));
    }

    #[test]
    fn a_death_is_shown_once_and_named_later() {
        let file = Fixture::new();
        file.guest.dead.set(true);
        assert_eq!(
            seen(&file.test("one", "panic\n", true)),
            (vec!["panic\n"], vec![None])
        );
        assert_eq!(seen(&file.test("two", "", true)), (vec![], vec![Some("one")]));
        assert_eq!(seen(&file.test("three", "", true)), (vec![], vec![Some("one")]));
    }

    #[test]
    fn a_death_in_a_test_that_passed_is_shown_by_the_first_that_fails() {
        let file = Fixture::new();
        file.guest.dead.set(true);
        file.test("one", "panic\n", false);
        assert_eq!(
            seen(&file.test("two", "", true)),
            (vec!["booting\npanic\n"], vec![Some("one")])
        );
        assert_eq!(seen(&file.test("three", "", true)), (vec![], vec![Some("one")]));
    }

    #[test]
    fn a_vm_that_lived_again_can_die_again() {
        let file = Fixture::new();
        file.guest.dead.set(true);
        file.test("one", "panic\n", true);
        assert_eq!(
            seen(&file.test("two", "again\n", true)),
            (vec!["again\n"], vec![None])
        );
    }

    #[test]
    fn a_long_console_is_cut_at_a_line() {
        let file = Fixture::new();
        let failure = file.test("one", &"0123456789abcde\n".repeat(2000), true);
        let text = &failure.consoles[0].text;
        assert!(
            text.len() <= CONSOLE_MAX && text.starts_with("0123"),
            "{}",
            text.len()
        );
    }
}
