//! The kernel command line that makes the injected agent the first process.
//!
//! Enters: the profile's command line. Leaves: the same with the agent as `rdinit=` and what the user wanted
//! there handed to the agent as `provium.init=`. Absent on purpose: `panic=`, `console=` and the like; how the
//! guest behaves is the profile's business, and the monitor notices a panic by itself.

use crate::agent_archive::AGENT_PATH;

/// Puts the agent in front of the guest's own init.
///
/// `init=` stays as it is: with an initramfs the kernel ignores it and the initramfs's own `/init` reads it to
/// find what comes after it.
pub fn with_agent(cmdline: &str) -> String {
    let words = split(cmdline);
    // What follows `--` is for init, not for the kernel.
    let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let mut kernel: Vec<String> = Vec::with_capacity(words.len() + 1);
    let mut own_init = None;
    for word in &words[..end] {
        match word.strip_prefix("rdinit=") {
            Some(path) => own_init = Some(path),
            None => kernel.push((*word).to_owned()),
        }
    }
    kernel.extend(own_init.map(|path| format!("provium.init={path}")));
    kernel.push(format!("rdinit={AGENT_PATH}"));
    kernel.extend(words[end..].iter().map(|word| (*word).to_owned()));
    kernel.join(" ")
}

/// Splits at blanks outside double quotes, as the kernel does.
fn split(cmdline: &str) -> Vec<&str> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::with_agent;

    #[test]
    fn the_agent_comes_first_and_the_users_init_is_handed_to_it() {
        for (given, expected) in [
            ("", "rdinit=/.provium/agent"),
            (
                "console=ttyS0 quiet",
                "console=ttyS0 quiet rdinit=/.provium/agent",
            ),
            (
                "rdinit=/sbin/init quiet",
                "quiet provium.init=/sbin/init rdinit=/.provium/agent",
            ),
            ("rdinit=/a rdinit=/b", "provium.init=/b rdinit=/.provium/agent"),
            (
                "root=/dev/vda init=/bin/sh",
                "root=/dev/vda init=/bin/sh rdinit=/.provium/agent",
            ),
            (
                "quiet -- rdinit=x single",
                "quiet rdinit=/.provium/agent -- rdinit=x single",
            ),
            (
                "a=\"x rdinit=/no\"  b",
                "a=\"x rdinit=/no\" b rdinit=/.provium/agent",
            ),
        ] {
            assert_eq!(with_agent(given), expected, "for {given:?}");
        }
    }
}
