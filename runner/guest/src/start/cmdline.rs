//! The kernel command line that makes the injected agent the first process.
//!
//! Input: the profile's command line. Output: the same with the agent as `rdinit=` and what the user wanted
//! there handed to the agent as `provium.init=`. Not here: `panic=`, `console=` and the like; how the
//! guest behaves is the profile's business, and the monitor notices a panic by itself.

use provium_vmm::cmdline::CommandLine;

use super::agent_archive::AGENT_PATH;

/// Puts the agent in front of the guest's own init.
///
/// `init=` stays as it is: with an initramfs the kernel ignores it and the initramfs's own `/init` reads it
/// to find what comes after it.
pub fn with_agent(cmdline: &str) -> String {
    let mut line = CommandLine::parse(cmdline);
    let mut own_init = None;
    line.kernel.retain(|word| match word.name_and_value() {
        ("rdinit", Some(path)) => {
            own_init = Some(path.to_owned());
            false
        }
        _ => true,
    });
    if let Some(path) = own_init {
        let quote = if path.contains(char::is_whitespace) {
            "\""
        } else {
            ""
        };
        line.push(format!("provium.init={quote}{path}{quote}"));
    }
    line.push(format!("rdinit={AGENT_PATH}"));
    line.to_string()
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
            (
                "rdinit=\"/a b\" c",
                "c provium.init=\"/a b\" rdinit=/.provium/agent",
            ),
            (
                "\"rdinit=/a b\" c",
                "c provium.init=\"/a b\" rdinit=/.provium/agent",
            ),
            (
                "a=\"x -- y\" rdinit=/b",
                "a=\"x -- y\" provium.init=/b rdinit=/.provium/agent",
            ),
        ] {
            assert_eq!(with_agent(given), expected, "for {given:?}");
        }
    }
}
