//! Where the vCPUs of a guest stand, in words, and a guest's traces with files and lines.
//!
//! Input: places and text of a VM, the symbols of its kernel. Output: lines for a failure. Nothing is read of
//! the symbols before there is a failure. Not here: when a failure wants them (`lua/test/evidence`).

use provium_symbols::Symbolizer;
use provium_vmm::VcpuPlace;

/// Addresses of modules, of which a kernel's file says nothing (`Documentation/arch/x86/x86_64/mm.rst`).
const MODULES: std::ops::Range<u64> = 0xffff_ffff_c000_0000..0xffff_ffff_ff00_0000;

/// A line for each place, with the vCPUs that stand there.
pub(crate) fn shown(vm: &str, places: &[VcpuPlace], symbols: &Symbolizer) -> Vec<String> {
    let mut lines: Vec<(Vec<usize>, String)> = Vec::new();
    for (vcpu, place) in places.iter().enumerate() {
        let text = in_words(place, symbols);
        match lines.iter_mut().find(|(_, known)| *known == text) {
            Some((vcpus, _)) => vcpus.push(vcpu),
            None => lines.push((vec![vcpu], text)),
        }
    }
    let line = |(vcpus, text): (Vec<usize>, String)| match vcpus[..] {
        [only] => format!("VM `{vm}`: vCPU {only} was {text}"),
        _ => format!("VM `{vm}`: vCPUs {} were {text}", listed(&vcpus)),
    };
    lines.into_iter().map(line).collect()
}

fn in_words(place: &VcpuPlace, symbols: &Symbolizer) -> String {
    match *place {
        VcpuPlace::At {
            instruction,
            user: true,
            ..
        } => format!("in a program, at {instruction:#x}"),
        VcpuPlace::At {
            instruction,
            halted,
            syscall_entry,
            ..
        } => {
            let verb = if halted { "halted" } else { "in the kernel" };
            let name = symbols.name(instruction, syscall_entry, halted);
            match name {
                Some(name) => format!("{verb}, at {name}"),
                None if MODULES.contains(&instruction) => format!("{verb}, at {instruction:#x} in a module"),
                None => format!("{verb}, at {instruction:#x}"),
            }
        }
        VcpuPlace::NotStarted => "not started".to_owned(),
        VcpuPlace::Busy => "not in the guest: the host was at work for it".to_owned(),
    }
}

/// Numbers in ascending order as `0, 2-5`.
fn listed(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|before, next| before + 1 == *next);
    let shown = runs.map(|run| match *run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_that_stand_together_share_a_line() {
        let halted = VcpuPlace::At {
            instruction: 0xffff_ffff_8100_0044,
            halted: true,
            user: false,
            syscall_entry: 0,
        };
        let at = |instruction, user| VcpuPlace::At {
            instruction,
            halted: false,
            user,
            syscall_entry: 0,
        };
        let places = [
            halted,
            at(0x40_1000, true),
            halted,
            halted,
            at(0xffff_ffff_c000_1234, false),
            at(0x1000, false),
            VcpuPlace::NotStarted,
            VcpuPlace::Busy,
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let map = "ffffffff81000040 T idle\nffffffff81000060 T _etext\n";
        std::fs::write(folder.path().join("System.map"), map).expect("a map");
        let symbols = Symbolizer::new(provium_symbols::KernelFiles {
            kernel: folder.path().join("bzImage"),
            debuginfo: Vec::new(),
        });
        assert_eq!(
            shown("g", &places, &symbols),
            [
                "VM `g`: vCPUs 0, 2-3 were halted, at idle+0x4/0x20",
                "VM `g`: vCPU 1 was in a program, at 0x401000",
                "VM `g`: vCPU 4 was in the kernel, at 0xffffffffc0001234 in a module",
                "VM `g`: vCPU 5 was in the kernel, at 0x1000",
                "VM `g`: vCPU 6 was not started",
                "VM `g`: vCPU 7 was not in the guest: the host was at work for it",
            ]
        );
    }
}
