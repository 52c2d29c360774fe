//! The kernel's command line, as far as it concerns the agent.
//!
//! Enters: `/proc/cmdline`. Leaves: the init that Provium moved out of its own way into `provium.init=`, and whether
//! there is a root disk. Absent
//! on purpose: every other word.

const KEY: &[u8] = b"provium.init=";

/// The path of the last `provium.init=` before `--`. Words are split as the kernel splits them: blanks within
/// double quotes belong to the word, and quotes around it or its value do not.
pub(super) fn init(cmdline: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    for word in words(cmdline) {
        if word == b"--" {
            break;
        }
        let word = word
            .strip_prefix(b"\"")
            .map_or(word, |word| word.strip_suffix(b"\"").unwrap_or(word));
        if let Some(value) = word.strip_prefix(KEY) {
            let value = value
                .strip_prefix(b"\"")
                .map_or(value, |value| value.strip_suffix(b"\"").unwrap_or(value));
            found = (!value.is_empty()).then(|| value.to_vec());
        }
    }
    found
}

/// Whether the disk `rootfs` is to become the root.
pub(super) fn wants_rootfs(cmdline: &[u8]) -> bool {
    words(cmdline)
        .take_while(|word| *word != b"--")
        .any(|word| word == b"provium.rootfs")
}

fn words(cmdline: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    cmdline
        .split(move |byte| {
            quoted ^= *byte == b'"';
            byte.is_ascii_whitespace() && !quoted
        })
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_init_is_found() {
        let cases: [(&str, Option<&str>); 10] = [
            ("", None),
            ("console=ttyS0 rdinit=/.provium/agent\n", None),
            (
                "quiet provium.init=/sbin/init rdinit=/.provium/agent\n",
                Some("/sbin/init"),
            ),
            ("provium.init=/a provium.init=/b", Some("/b")),
            ("provium.init=/a -- provium.init=/b", Some("/a")),
            ("provium.init=", None),
            ("xprovium.init=/a", None),
            ("\"provium.init=/a b\" c", Some("/a b")),
            ("provium.init=\"/a b\" c", Some("/a b")),
            ("x=\"y provium.init=/no\" z", None),
        ];
        for (cmdline, expected) in cases {
            let found = init(cmdline.as_bytes()).map(|path| String::from_utf8(path).expect("text"));
            assert_eq!(found.as_deref(), expected, "{cmdline}");
        }
    }

    #[test]
    fn a_root_disk_is_a_word_of_its_own() {
        for (cmdline, wanted) in [
            ("provium.rootfs quiet\n", true),
            ("quiet provium.rootfs", true),
            ("provium.rootfsx", false),
            ("-- provium.rootfs", false),
            ("", false),
        ] {
            assert_eq!(wants_rootfs(cmdline.as_bytes()), wanted, "{cmdline}");
        }
    }
}
