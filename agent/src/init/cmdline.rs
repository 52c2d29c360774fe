//! The kernel's command line, as far as it concerns the agent.
//!
//! It is taken apart as the kernel does (`next_arg` in `lib/cmdline.c`): blanks within double quotes belong
//! to an argument, quotes around an argument or its value do not, and what follows `--` is for init.
//!
//! Input: `/proc/cmdline`.
//! Output: the init that Provium moved out of its own way into `provium.init=`, and whether there is a root
//! disk.
//! Not here: every other argument.

/// Argument with the path of the user's init.
const INIT: &[u8] = b"provium.init";
/// Argument that says that the disk `rootfs` becomes the root.
const ROOTFS: &[u8] = b"provium.rootfs";

/// The path in the last `provium.init=` before `--`; `None` when it is empty.
pub(super) fn init(cmdline: &[u8]) -> Option<Vec<u8>> {
    let given = arguments(cmdline).filter(|argument| argument.name == INIT);
    let path = given.filter_map(|argument| argument.value).last()?;
    (!path.is_empty()).then(|| path.to_vec())
}

/// Whether the disk `rootfs` is to become the root.
pub(super) fn wants_rootfs(cmdline: &[u8]) -> bool {
    arguments(cmdline).any(|argument| argument.name == ROOTFS && argument.value.is_none())
}

/// `name` or `name=value`, without the quotes around it or its value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Argument<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

/// The kernel's arguments: those before `--`.
fn arguments(cmdline: &[u8]) -> impl Iterator<Item = Argument<'_>> {
    words(cmdline).map(argument).take_while(|argument| {
        *argument
            != (Argument {
                name: b"--",
                value: None,
            })
    })
}

/// The words of the line, quotes and all.
fn words(cmdline: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    cmdline
        .split(move |byte| {
            quoted ^= *byte == b'"';
            is_blank(*byte) && !quoted
        })
        .filter(|word| !word.is_empty())
}

/// What the kernel's `isspace` takes for a blank: those of ASCII, and the no-break space of Latin-1.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// Takes a word apart. The first `=` ends the name, within quotes or not, unless the name would be empty. A
/// quote at the end belongs to one before the name or before the value.
fn argument(word: &[u8]) -> Argument<'_> {
    let (quoted, word) = match word.strip_prefix(b"\"") {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let equals = word
        .iter()
        .skip(1)
        .position(|byte| *byte == b'=')
        .map(|at| at + 1);
    let value_quoted = equals.is_some_and(|at| word[at + 1..].starts_with(b"\""));
    let closed = (quoted || value_quoted) && word.ends_with(b"\"");
    let end = word.len() - usize::from(closed);
    match equals {
        None => Argument {
            name: &word[..end],
            value: None,
        },
        Some(at) => {
            let start = at + 1 + usize::from(value_quoted);
            Argument {
                name: &word[..at],
                // A quote may be both the first and the last of the value.
                value: Some(&word[start..end.max(start)]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments as text, `name` or `name|value`.
    fn taken_apart(cmdline: &str) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        arguments(cmdline.as_bytes())
            .map(|Argument { name, value }| match value {
                Some(value) => format!("{}|{}", text(name), text(value)),
                None => text(name),
            })
            .collect()
    }

    #[test]
    fn arguments_are_those_of_the_kernel() {
        let cases: [(&str, &[&str]); 18] = [
            ("", &[]),
            (" \t quiet  ro\x0b\x0cx\n", &["quiet", "ro", "x"]),
            ("a=1 b= c", &["a|1", "b|", "c"]),
            ("a=b=c", &["a|b=c"]),
            ("=x =y=z", &["=x", "=y|z"]),
            ("a -- b", &["a"]),
            ("a \"--\" b", &["a"]),
            ("a=\"x -- y\" b -- c", &["a|x -- y", "b"]),
            ("\"a=x -- y\" b", &["a|x -- y", "b"]),
            ("a --b ---", &["a", "--b", "---"]),
            ("--=x b", &["--|x", "b"]),
            ("a=\"x y", &["a|x y"]),
            ("\"a b", &["a b"]),
            ("a=x\" \"y b", &["a|x\" \"y", "b"]),
            ("\"a b\"=c d", &["a b\"|c", "d"]),
            ("a=\"\" b", &["a|", "b"]),
            ("\"a=\"x\"\" b", &["a|x\"", "b"]),
            ("b a=\"", &["b", "a|"]),
        ];
        for (cmdline, expected) in cases {
            assert_eq!(taken_apart(cmdline), expected, "{cmdline:?}");
        }
        let latin: Vec<_> = arguments(b"a\xa0b").map(|argument| argument.name).collect();
        assert_eq!(latin, [b"a", b"b"]);
    }

    #[test]
    fn the_users_init_is_found() {
        let cases: [(&str, Option<&str>); 13] = [
            ("", None),
            ("console=ttyS0 rdinit=/.provium/agent\n", None),
            (
                "quiet provium.init=/sbin/init rdinit=/.provium/agent\n",
                Some("/sbin/init"),
            ),
            ("provium.init=/a provium.init=/b", Some("/b")),
            ("provium.init=/a provium.init=", None),
            ("provium.init=/a -- provium.init=/b", Some("/a")),
            ("a=\"x -- y\" provium.init=/a", Some("/a")),
            ("provium.init=", None),
            ("provium.init", None),
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
    fn a_root_disk_is_an_argument_of_its_own() {
        for (cmdline, wanted) in [
            ("provium.rootfs quiet\n", true),
            ("quiet provium.rootfs", true),
            ("quiet \"provium.rootfs\"", true),
            ("a=\"x -- y\" provium.rootfs", true),
            ("a=\"x provium.rootfs y\"", false),
            ("provium.rootfsx", false),
            ("-- provium.rootfs", false),
            ("", false),
        ] {
            assert_eq!(wants_rootfs(cmdline.as_bytes()), wanted, "{cmdline}");
        }
    }
}
