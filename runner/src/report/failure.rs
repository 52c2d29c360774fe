//! One failure as the plain report shows it: what matters most comes first, and all of it fits a screen.
//!
//! Input: a message, what is known of the failure, the test's log. Output: lines: the message and its values,
//! the lines of Lua, what the kernels complained of, dead VMs, the log, the consoles, the folder with the
//! rest. What is long loses its middle, which is in that folder. Not here: the line that names the test.

use std::collections::HashSet;
use std::fmt::Write;

use provium_base::failure::{DeadVm, Failure, GuestConsole, GuestSplat, SourcePlace};
use provium_base::trace;

use super::text::{self, Paint};

/// Most lines of a message, of a splat, of a console and of a log.
const MESSAGE_LINES: usize = 16;
const SPLAT_LINES: usize = 6;
const CONSOLE_LINES: usize = 7;
const LOG_LINES: usize = 8;
/// Most characters of a line of a message, and of a guest's or the log's.
const MESSAGE_WIDTH: usize = 320;
const LINE_WIDTH: usize = 160;
/// What an error of a boot has between its reason and the end of the console, which is shown once.
const BOOT_CONSOLE: &str = "\nlast console lines:\n";

/// Adds the lines of a failure behind `indent`.
pub(super) fn write(
    out: &mut String,
    paint: Paint,
    indent: &str,
    message: &str,
    failure: Option<&Failure>,
    log: &[String],
) {
    let known = Failure::default();
    let failure = failure.unwrap_or(&known);
    let mut lines = message_lines(message, failure);
    lines.extend(failure.place.iter().flat_map(excerpt));
    lines.extend(failure.helper.as_ref().map(helper));
    let mut shown = HashSet::new();
    for splat in &failure.splats {
        lines.extend(splat_lines(splat, message, paint, &mut shown));
    }
    lines.extend(failure.dead.iter().filter_map(|dead| death(dead, message, paint)));
    lines.extend(log_lines(log, paint));
    for console in &failure.consoles {
        lines.extend(console_lines(console, paint, &shown));
    }
    if let Some(folder) = &failure.artifacts {
        lines.push(format!("all of it: {}", text::first_line(folder)));
    }
    for line in lines {
        let _ = writeln!(out, "{}", format!("{indent}{line}").trim_end());
    }
}

fn message_lines(message: &str, failure: &Failure) -> Vec<String> {
    let message = match message.split_once(BOOT_CONSOLE) {
        // Below, or below the failure that showed it first.
        Some((reason, _)) if !failure.dead.is_empty() => reason,
        _ => message,
    };
    let lines = text::clean(message.trim_end());
    let lines = lines
        .lines()
        .map(|line| text::shorten(line.trim_end(), MESSAGE_WIDTH));
    text::shorten_lines(lines.collect(), MESSAGE_LINES, MESSAGE_LINES * 2 / 3)
}

/// The line of the file with those around it; the file is named above.
fn excerpt(place: &SourcePlace) -> Vec<String> {
    let last = place.excerpt.last().map_or(0, |line| line.line);
    let width = last.to_string().len();
    let lines = place.excerpt.iter().map(|line| {
        let mark = if line.line == place.line { '>' } else { ' ' };
        let code = text::clean(&line.text).replace('\t', "  ");
        format!("{mark} {:width$} | {code}", line.line)
    });
    lines.collect()
}

/// The helper's line alone, behind its file.
fn helper(place: &SourcePlace) -> String {
    let code = place.excerpt.iter().find(|line| line.line == place.line);
    let code = code.map_or(String::new(), |code| {
        format!(" | {}", text::clean(code.text.trim()))
    });
    format!("in {}:{}{code}", text::first_line(&place.path), place.line)
}

/// What a kernel complained of: its head, unless the message has it, then its functions. Its lines are put
/// with those that are shown.
fn splat_lines(splat: &GuestSplat, message: &str, paint: Paint, shown: &mut HashSet<String>) -> Vec<String> {
    let (head, vm) = (text::first_line(&splat.head), text::first_line(&splat.vm));
    let kind = paint.red(&text::first_line(&splat.kind));
    let behind = if message.contains(&splat.head) { "" } else { &head };
    let mut lines = vec![format!("{kind} in VM `{vm}`: {behind}").trim_end().to_owned()];
    let all = text::clean(&splat.text);
    shown.extend(all.lines().map(|line| line.trim_end().to_owned()));
    let body = trace::readable(&all)
        .map(trace::without_stamp)
        .filter(|line| !line.trim().is_empty() && line.trim() != head)
        .map(|line| text::shorten(line, LINE_WIDTH));
    let body = text::shorten_lines(body.collect(), SPLAT_LINES, SPLAT_LINES * 2 / 3);
    lines.extend(body.into_iter().map(|line| barred(paint, &line)));
    lines
}

/// A line for a dead VM, unless the message has said all that it says.
fn death(dead: &DeadVm, message: &str, paint: Paint) -> Option<String> {
    let vm = text::first_line(&dead.vm);
    let reason = text::first_line(&dead.reason);
    match &dead.during {
        Some(test) if test.is_empty() => Some(format!("VM `{vm}` had died before the tests: {reason}")),
        Some(test) => Some(format!("VM `{vm}` had died in test `{}`", text::first_line(test))),
        None if message.contains(dead.reason.trim_start_matches("it ")) => None,
        None => Some(format!("{} {reason}", paint.red(&format!("VM `{vm}` is dead:")))),
    }
}

fn log_lines(log: &[String], paint: Paint) -> Vec<String> {
    let lines: Vec<String> = log
        .iter()
        .flat_map(|entry| {
            let entry = text::clean(entry.trim_end());
            let lines = entry
                .lines()
                .map(|line| text::shorten(line.trim_end(), LINE_WIDTH));
            lines.collect::<Vec<_>>()
        })
        .collect();
    let lines = text::shorten_lines(lines, LOG_LINES, LOG_LINES / 2);
    lines.into_iter().map(|line| barred(paint, &line)).collect()
}

/// The end of a console: its lines without registers and the like, and without those of a splat above.
fn console_lines(console: &GuestConsole, paint: Paint, shown: &HashSet<String>) -> Vec<String> {
    let all = text::clean(console.text.trim_end());
    let mut lines = Vec::new();
    let mut left_out = false;
    for line in trace::readable(&all) {
        let is_above = shown.contains(line);
        if !is_above && !line.trim().is_empty() {
            lines.push(text::shorten(line, LINE_WIDTH));
        } else if is_above && !left_out {
            lines.push("… as above …".to_owned());
        }
        left_out = is_above;
    }
    if lines.is_empty() {
        return Vec::new();
    }
    let lines = text::shorten_lines(lines, CONSOLE_LINES, 2);
    let head = format!("console of VM `{}`:", text::first_line(&console.vm));
    let head = std::iter::once(barred(paint, &head));
    head.chain(lines.into_iter().map(|line| barred(paint, &line)))
        .collect()
}

fn barred(paint: Paint, line: &str) -> String {
    format!("{} {line}", paint.dim("|"))
}
