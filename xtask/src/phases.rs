//! The parts a command consists of: a headline as each begins, one table at the end.
//!
//! Input: names and work. Output: results, and the table. A failed phase does not end the command by itself;
//! who calls decides what can go on without it.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The phases so far.
#[derive(Debug)]
pub(crate) struct Phases {
    begin: Instant,
    done: Vec<Phase>,
}

#[derive(Debug)]
struct Phase {
    name: String,
    took: Duration,
    ok: bool,
}

impl Phases {
    /// The clock starts.
    pub(crate) fn new() -> Phases {
        Phases {
            begin: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs one phase; prints its error, if any, and returns what it came to.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("── {name}");
        let begin = Instant::now();
        let result = work();
        if let Err(error) = &result {
            eprintln!("error: {name}: {error:#}");
        }
        self.done.push(Phase {
            name: name.to_owned(),
            took: begin.elapsed(),
            ok: result.is_ok(),
        });
        result.ok()
    }

    /// How many phases failed.
    pub(crate) fn failed(&self) -> usize {
        self.done.iter().filter(|phase| !phase.ok).count()
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        print!("{}", table(&self.done, self.begin.elapsed()));
    }
}

fn table(phases: &[Phase], total: Duration) -> String {
    let width = phases
        .iter()
        .map(|phase| phase.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = String::from("\n");
    for Phase { name, took, ok } in phases {
        let mark = if *ok { "" } else { "  failed" };
        text.push_str(&format!(
            "  {name:<width$}  {:>7.1} s{mark}\n",
            took.as_secs_f64()
        ));
    }
    text.push_str(&format!(
        "  {:<width$}  {:>7.1} s\n",
        "total",
        total.as_secs_f64()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_failed_phase_is_counted_and_the_next_still_runs() {
        let mut phases = Phases::new();
        assert_eq!(phases.run("one", || Ok(1)), Some(1));
        assert_eq!(phases.run("two", || -> Result<u8> { bail!("no") }), None);
        assert_eq!(phases.run("three", || Ok(3)), Some(3));
        assert_eq!(phases.failed(), 1);
        let names: Vec<_> = phases
            .done
            .iter()
            .map(|phase| (phase.name.as_str(), phase.ok))
            .collect();
        assert_eq!(names, [("one", true), ("two", false), ("three", true)]);
    }

    #[test]
    fn the_table_lines_up() {
        let phase = |name: &str, seconds, ok| Phase {
            name: name.to_owned(),
            took: Duration::from_secs(seconds),
            ok,
        };
        let phases = [phase("guest kernel", 215, true), phase("run", 4, false)];
        assert_eq!(
            table(&phases, Duration::from_millis(219_540)),
            "\n  guest kernel    215.0 s\n  run               4.0 s  failed\n  total           219.5 s\n"
        );
    }
}
