//! Places in the text of a trace, in the forms that kernels print them.
//!
//! Input: a line. Output: [`Place`]s: where in the line one ends, and what it names. Not here: what is
//! there.
//!
//! ```text
//! RIP: 0010:func+0x1a/0x2b                        the instruction itself
//!  func+0x1a/0x2b [module]                        behind a call, in a module
//!  ? func.constprop.0+0x1a/0x2b [module 3fa8…]    with the module's build id
//! [<ffffffff81234567>] func+0x1a/0x2b             with its address, in older kernels
//! [<ffffffff81234567>]                            by its address alone
//! RIP: 0010:0xffffffff81234567
//! ```

/// A place that a line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Bytes of the line up to its end.
    pub(crate) end: usize,
    /// What is written.
    pub(crate) what: What<'a>,
    /// Whether it is behind a call, as everything but an instruction pointer is: the call is before it.
    pub(crate) behind_call: bool,
}

/// How a place is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum What<'a> {
    /// By function, offset and size, in a module or in the kernel.
    Named {
        /// Name of the function.
        name: &'a str,
        /// Bytes from its start.
        offset: u64,
        /// Bytes that it has.
        size: u64,
        /// Name of the module.
        module: Option<&'a str>,
        /// The address, where that is written too.
        address: Option<u64>,
    },
    /// By its address.
    Address(u64),
}

/// The places of a line in their order.
pub(crate) fn places(line: &str) -> Vec<Place<'_>> {
    let is_pointer = ["RIP:", "WARNING:", "EIP:", "pc :"]
        .iter()
        .any(|word| line.contains(word));
    let mut found: Vec<Place<'_>> = Vec::new();
    let mut push = |end, what| {
        found.push(Place {
            end,
            what,
            behind_call: !is_pointer,
        });
    };
    // An address in brackets, whose name may follow.
    let mut pending: Option<(usize, u64)> = None;
    for word in words(line) {
        let end = word.as_ptr() as usize - line.as_ptr() as usize + word.len();
        if word == "?" {
            continue;
        }
        let bracketed = word.strip_prefix("[<").and_then(|rest| rest.strip_suffix(">]"));
        let named = bracketed.is_none().then(|| named(word)).flatten();
        let before = pending.take();
        if let Some((name, offset, size, length)) = named {
            let end = end - word.len() + length;
            let module = module(&line[end..]);
            let what = What::Named {
                name,
                offset,
                size,
                module: module.map(|(name, _)| name),
                address: before.map(|(_, address)| address),
            };
            push(end + module.map_or(0, |(_, length)| length), what);
            continue;
        }
        let alone = address(word);
        match before {
            Some((end, address)) if alone.is_none() => push(end, What::Address(address)),
            _ => {}
        }
        if let Some(address) = alone {
            push(end, What::Address(address));
        }
        pending = bracketed.and_then(kernel_address).map(|address| (end, address));
    }
    if let Some((end, address)) = pending {
        push(end, What::Address(address));
    }
    found
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '\t', '\r', '\n'])
        .filter(|word| !word.is_empty())
}

/// Name, offset, size in `name+0xoffset/0xsize` and what may stand around it, and the bytes up to its end.
fn named(word: &str) -> Option<(&str, u64, u64, usize)> {
    let plus = word.find("+0x")?;
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    let length = word[..plus].bytes().rev().take_while(of_name).count();
    let name = &word[plus - length..plus];
    let (offset, rest) = hex(&word[plus + 3..])?;
    let (size, rest) = hex(rest.strip_prefix("/0x")?)?;
    (!name.is_empty()).then_some((name, offset, size, word.len() - rest.len()))
}

/// ` [name]` or ` [name buildid]`, with its length.
fn module(rest: &str) -> Option<(&str, usize)> {
    let inside = rest.strip_prefix(" [")?;
    let length = inside.find(']')?;
    let mut words = inside[..length].split(' ');
    let name = words.next()?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let build_id = words.all(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (!name.is_empty() && is_name && build_id).then_some((name, length + 3))
}

/// An address without a name, as kernels print that have none: `0xffffffff81234567`, with a segment's
/// `0010:` before it or alone.
fn address(word: &str) -> Option<u64> {
    let (segment, digits) = word.rsplit_once("0x")?;
    (segment.is_empty() || segment.ends_with(':'))
        .then(|| kernel_address(digits))
        .flatten()
}

/// Sixteen digits of an address in the kernel's code.
fn kernel_address(digits: &str) -> Option<u64> {
    let (value, rest) = hex(digits)?;
    (digits.len() == 16 && rest.is_empty() && value >= 0xffff_ffff_8000_0000).then_some(value)
}

/// A number at the start of a text, and the rest.
fn hex(text: &str) -> Option<(u64, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let (digits, rest) = text.split_at(length);
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

/// The distance between where the kernel was linked to and where it ran, from its line `Kernel Offset: 0x…`
/// (`disabled` where it did not move).
pub(crate) fn kernel_offset(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("Kernel Offset: ")?;
    match rest.strip_prefix("0x") {
        Some(digits) => Some(hex(digits)?.0),
        None => rest.starts_with("disabled").then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each place as text, with the line up to its end.
    fn shown(line: &str) -> Vec<String> {
        let show = |place: &Place<'_>| {
            let before = &line[..place.end];
            let call = if place.behind_call { "call" } else { "here" };
            match &place.what {
                What::Named {
                    name,
                    offset,
                    size,
                    module,
                    address,
                } => {
                    format!("{before}|{call} {name} {offset:x} {size:x} {module:?} {address:x?}")
                }
                What::Address(address) => format!("{before}|{call} {address:x}"),
            }
        };
        places(line).iter().map(show).collect()
    }

    #[test]
    fn every_form_of_a_place_is_seen() {
        let one = |line: &str, what: &str| assert_eq!(shown(line), [what], "{line}");
        one(
            "RIP: 0010:do_exit+0x1a/0x2b",
            "RIP: 0010:do_exit+0x1a/0x2b|here do_exit 1a 2b None None",
        );
        one(
            "[    1.8][    T1]  ? vfs_write+0x1/0xf0",
            "[    1.8][    T1]  ? vfs_write+0x1/0xf0|call vfs_write 1 f0 None None",
        );
        one(
            " a.constprop.0+0x1/0x2 [splat] trailing",
            " a.constprop.0+0x1/0x2 [splat]|call a.constprop.0 1 2 Some(\"splat\") None",
        );
        one(
            " f+0x1/0x2 [nf_x 0123abcdef]",
            " f+0x1/0x2 [nf_x 0123abcdef]|call f 1 2 Some(\"nf_x\") None",
        );
        one(" f+0x1/0x2 [not a module!]", " f+0x1/0x2|call f 1 2 None None");
        one(
            "[<ffffffff81234567>] ? f+0x1/0x2",
            "[<ffffffff81234567>] ? f+0x1/0x2|call f 1 2 None Some(ffffffff81234567)",
        );
        one(
            " [<ffffffff81234567>] and more",
            " [<ffffffff81234567>]|call ffffffff81234567",
        );
        one(
            " [<ffffffff81234567>] ? 0xffffffff81234567",
            " [<ffffffff81234567>] ? 0xffffffff81234567|call ffffffff81234567",
        );
        one(
            "RIP: 0010:0xffffffff81234567\r",
            "RIP: 0010:0xffffffff81234567|here ffffffff81234567",
        );
        one(
            "WARNING: CPU: 0 PID: 1 at kernel/x.c:12 f+0x1/0x2 [m]",
            "WARNING: CPU: 0 PID: 1 at kernel/x.c:12 f+0x1/0x2 [m]|here f 1 2 Some(\"m\") None",
        );
        one(
            "BUG: KASAN: use-after-free in (f+0x1/0x2), x",
            "BUG: KASAN: use-after-free in (f+0x1/0x2|call f 1 2 None None",
        );
    }

    #[test]
    fn what_is_no_place_is_left() {
        for line in [
            "RAX: 0000000000000000 RBX: ffffffff81234567",
            "Code: 0f 0b 48 +0x1",
            "BUG: unable to handle page fault for address: 0xffff888012345678",
            "+0x1/0x2 f+0x/0x2 f+0x1/0x f+0x1",
            "f+0x11111111111111111/0x2",
            "CR2: 0xffffffff8",
            "",
        ] {
            assert_eq!(shown(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn the_offset_of_a_kernel_that_moved_is_read() {
        let text = "x\nKernel Offset: 0x1e000000 from 0xffffffff81000000 (relocation range: 0x1-0x2)";
        assert_eq!(kernel_offset(text), Some(0x1e00_0000));
        assert_eq!(kernel_offset("Kernel Offset: disabled"), Some(0));
        assert_eq!(kernel_offset("Kernel Offset: unknown"), None);
        assert_eq!(kernel_offset(""), None);
    }
}
