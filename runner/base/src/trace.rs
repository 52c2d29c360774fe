//! A kernel's own text: what of it a person reads.
//!
//! Input: a console's text, a dump of a panic or an oops among it. Output: its lines without registers, code
//! bytes and frames that the kernel only guesses; why a guest's system never came up. Not here: recognising a
//! panic while the guest runs, which the monitor does.

/// Beginnings of lines of a dump that only a debugger reads.
const NOISE: [&str; 24] = [
    "Code: ",
    "Hardware name: ",
    "Modules linked in:",
    "Kernel Offset: ",
    "PGD ",
    "#PF: ",
    "<TASK>",
    "</TASK>",
    "<IRQ>",
    "</IRQ>",
    "<#PF>",
    "</#PF>",
    "<NMI>",
    "</NMI>",
    "---[ end trace ",
    "---[ end Kernel panic",
    "------------[ cut here ]",
    "Rebooting in ",
    "RIP: 0033:",
    "Unable to access opcode bytes",
    "note: ",
    // Where every system call comes from.
    "do_syscall_64+",
    "entry_SYSCALL_64",
    "x64_sys_call+",
];
/// What an archive that the kernel could not unpack begins with on the console.
const INITRAMFS: &str = "Initramfs unpacking failed: ";
/// What the agent's own messages begin with.
const AGENT: &str = "provium-agent: ";

/// The lines that are worth reading, without trailing blanks.
pub fn readable(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !is_noise(without_stamp(line)))
}

/// A line without what the kernel puts before each: `[    1.234567] `, `[    1.234567][    T1] `.
pub fn without_stamp(line: &str) -> &str {
    let mut rest = line;
    while let Some((stamp, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let stamp = stamp.trim();
        let is_time = stamp.parse::<f64>().is_ok();
        let is_caller = stamp.len() > 1
            && stamp.starts_with(['T', 'C'])
            && stamp[1..].bytes().all(|byte| byte.is_ascii_digit());
        if !is_time && !is_caller {
            break;
        }
        rest = behind;
    }
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// Why a guest's system did not come up, as its kernel or its agent said on the console: the agent's last
/// message, or else what was wrong with the initramfs.
pub fn boot_failure(console: &str) -> Option<&str> {
    let lines = || console.lines().rev().map(|line| without_stamp(line.trim_end()));
    let agent = lines().find(|line| line.starts_with(AGENT));
    agent.or_else(|| lines().find(|line| line.starts_with(INITRAMFS)))
}

/// Whether a line, without its stamp, is one that only a debugger reads.
fn is_noise(line: &str) -> bool {
    let line = line.trim_start();
    NOISE.iter().any(|noise| line.starts_with(noise)) || line.starts_with("? ") || is_registers(line)
}

/// Whether the line begins with a register: `RAX: 0000…`, `FS:  0000…`, `R08: …`, `CR2: …`; `RIP` says
/// where it was and is none.
fn is_registers(line: &str) -> bool {
    let Some((name, values)) = line.split_once(':') else {
        return false;
    };
    let is_name = (2..=6).contains(&name.len())
        && name != "RIP"
        && name.starts_with(['R', 'E', 'F', 'G', 'C', 'D', 'S', 'P'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let value = values.trim_start().split([' ', '(']).next().unwrap_or_default();
    is_name && value.len() >= 4 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OOPS: &str = "\
[    5.101234] BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
[    5.101300] #PF: supervisor write access in kernel mode\n\
[    5.101400] #PF: error_code(0x0002) - not-present page\n\
[    5.101500] PGD 0 P4D 0 \n\
[    5.101600] Oops: Oops: 0002 [#1] SMP NOPTI\n\
[    5.101700] CPU: 0 UID: 0 PID: 91 Comm: sh Tainted: G           O       6.12.1 #1\n\
[    5.101800] Hardware name: QEMU\n\
[    5.101900] RIP: 0010:oops_write+0x1c/0x50 [oopser]\n\
[    5.102000] Code: 48 8b 05 00 <c7> 00 00\n\
[    5.102100] RSP: 0018:ffffc900001a7e70 EFLAGS: 00010246\n\
[    5.102200] RAX: 0000000000000001 RBX: ffff888003a4c600 RCX: 0000000000000000\n\
[    5.102300] R10: 0000000000000000 R11: 0000000000000000 R12: 0000000000000002\n\
[    5.102400] FS:  00007f0000000000(0000) GS:ffff88800f600000(0000) knlGS:0000000000000000\n\
[    5.102500] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033\n\
[    5.102600] CR2: 0000000000000008 CR3: 0000000003a5a000 CR4: 0000000000350ef0\n\
[    5.102700] Call Trace:\n\
[    5.102800]  <TASK>\n\
[    5.102900]  ? __die+0x23/0x70\n\
[    5.103000]  proc_reg_write+0x5a/0xa0\n\
[    5.103100]  vfs_write+0xf8/0x400\n\
[    5.103200] RIP: 0033:0x7f1234\n\
[    5.103300]  </TASK>\n\
[    5.103400] ---[ end trace 0000000000000000 ]---\n";

    #[test]
    fn of_a_dump_the_head_and_the_functions_are_read() {
        let lines: Vec<_> = readable(OOPS).map(without_stamp).collect();
        assert_eq!(
            lines,
            [
                "BUG: kernel NULL pointer dereference, address: 0000000000000008",
                "Oops: Oops: 0002 [#1] SMP NOPTI",
                "CPU: 0 UID: 0 PID: 91 Comm: sh Tainted: G           O       6.12.1 #1",
                "RIP: 0010:oops_write+0x1c/0x50 [oopser]",
                "Call Trace:",
                " proc_reg_write+0x5a/0xa0",
                " vfs_write+0xf8/0x400",
            ]
        );
    }

    #[test]
    fn what_programs_print_is_read() {
        let text = "SP: 1\nDONE: 0x12\nFAIL: no such file\nok: 00000000\n[x] y\nFS: ext4 mounted\n";
        assert_eq!(
            readable(text).collect::<Vec<_>>(),
            text.lines().collect::<Vec<_>>()
        );
    }

    #[test]
    fn stamps_go_in_all_their_forms() {
        for (line, expected) in [
            ("[    1.8] x", "x"),
            ("[    1.800000][    T1] x", "x"),
            ("[    1.8][   C0]  x", " x"),
            ("[    T17] x", "x"),
            ("x [    1.8] y", "x [    1.8] y"),
            ("[TEST] x", "[TEST] x"),
            ("[", "["),
            ("", ""),
        ] {
            assert_eq!(without_stamp(line), expected, "{line}");
        }
    }

    #[test]
    fn the_reason_of_a_boot_is_the_agents_or_the_archives() {
        let archive = "[    0.1] Initramfs unpacking failed: invalid magic\r\n[    0.2] x\n";
        assert_eq!(
            boot_failure(archive),
            Some("Initramfs unpacking failed: invalid magic")
        );
        let both =
            format!("{archive}provium-agent: one\n[    1.0] provium-agent: cannot start `/nope`\npanic\n");
        assert_eq!(boot_failure(&both), Some("provium-agent: cannot start `/nope`"));
        assert_eq!(boot_failure("x\nsays Initramfs unpacking failed: x"), None);
    }
}
