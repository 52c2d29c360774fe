//! The lines by which a kernel says that it has panicked (`kernel/panic.c`).
//!
//! Input: a console line. Output: a [`PanicSign`]. Not here: what a panic means for the machine
//! (`lifecycle`).
//!
//! A line counts when the phrase starts it, or stands behind a stamp of the kernel's at once, so that a
//! program which prints the phrase in passing does not end its machine.

use super::stamp::readings;

const PANIC: &str = "Kernel panic - not syncing: ";
const PANIC_END: &str = "---[ end Kernel panic - not syncing";

/// What a console line says about a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PanicSign {
    /// The panic has happened, with this message; the kernel still prints where.
    Begun(String),
    /// The kernel has printed all there is to the panic; newer kernels repeat its message.
    Over(Option<String>),
}

/// The sign in a line, if there is one.
pub(super) fn sign_in(line: &[u8]) -> Option<PanicSign> {
    // Nearly every line is none, and says so by one search.
    memchr::memmem::find(line, b"Kernel panic - not syncing")?;
    readings(&String::from_utf8_lossy(line)).find_map(|reading| sign_of(reading.text.trim_end()))
}

fn sign_of(text: &str) -> Option<PanicSign> {
    if let Some(rest) = text.strip_prefix(PANIC_END) {
        let message = rest
            .strip_prefix(": ")
            .and_then(|rest| rest.strip_suffix(" ]---"));
        return Some(PanicSign::Over(message.map(str::to_owned)));
    }
    text.strip_prefix(PANIC)
        .map(|message| PanicSign::Begun(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_recognized_behind_every_stamp_and_nothing_else_is() {
        let begun = |message: &str| Some(PanicSign::Begun(message.to_owned()));
        let over = |message: Option<&str>| Some(PanicSign::Over(message.map(str::to_owned)));
        for (line, expected) in [
            ("Kernel panic - not syncing: no init\r\n", begun("no init")),
            ("[    0.512345] Kernel panic - not syncing: Oops\n", begun("Oops")),
            ("[    1.8] Kernel panic - not syncing: Oops", begun("Oops")),
            (
                "[    1.800879][    T1] Kernel panic - not syncing: Oops",
                begun("Oops"),
            ),
            ("[    C0] Kernel panic - not syncing: Oops", begun("Oops")),
            (
                "starting up ... [    7.051234] Kernel panic - not syncing: Attempted to kill init!",
                begun("Attempted to kill init!"),
            ),
            (
                "/ # [    7.051234][    T1] Kernel panic - not syncing: x",
                begun("x"),
            ),
            (
                "[    1.0] ---[ end Kernel panic - not syncing: Oops ]---",
                over(Some("Oops")),
            ),
            (
                "---[ end Kernel panic - not syncing: Oops ]---\r\n",
                over(Some("Oops")),
            ),
            (
                "/ # [    1.000000] ---[ end Kernel panic - not syncing: Oops ]---",
                over(Some("Oops")),
            ),
            ("---[ end Kernel panic - not syncing", over(None)),
            ("log says: Kernel panic - not syncing: Oops", None),
            ("log [1.5] Kernel panic - not syncing: Oops", None),
            ("echo ---[ end Kernel panic - not syncing: Oops ]---", None),
            ("[me] Kernel panic - not syncing: Oops", None),
            ("", None),
        ] {
            assert_eq!(sign_in(line.as_bytes()), expected, "{line:?}");
        }
    }
}
