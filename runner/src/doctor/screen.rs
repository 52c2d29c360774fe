//! The facts on one screen.
//!
//! Input: [`Facts`]. Output: text with colours, which whoever prints it strips where they are not wanted. Not
//! here: looking at the host.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use provium_base::units::DisplayGib;
use provium_vmm::soundness::Verdict;

use super::choose::Way;
use super::facts::{EmulatedFacts, Facts, KernelFacts, KvmFacts};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const MIDDLING: Style = AnsiColor::Yellow.on_default();
const TITLE: Style = Style::new().bold();
/// Columns of the left side.
const LEFT: usize = 15;

/// One line, or several that belong together.
struct Row {
    title: &'static str,
    style: Style,
    mark: &'static str,
    lines: Vec<String>,
}

fn row(title: &'static str, state: Option<bool>, lines: impl IntoIterator<Item = String>) -> Row {
    let (style, mark) = match state {
        Some(true) => (GOOD, "ok"),
        Some(false) => (BAD, "no"),
        None => (Style::new(), ""),
    };
    Row {
        title,
        style,
        mark,
        lines: lines.into_iter().collect(),
    }
}

/// Everything, with colours.
pub fn screen(facts: &Facts) -> String {
    let mut rows = Vec::new();
    if facts.inside {
        rows.push(row(
            "this host",
            None,
            ["an emulated host of Provium's".to_owned()],
        ));
    }
    rows.push(device(&facts.kvm));
    rows.extend(sound(&facts.kvm));
    rows.extend(facts.emulated_host.as_ref().map(emulated));
    rows.push(verdict(facts));
    let machine = &facts.machine;
    let memory = format!(
        "{} of memory, {} available",
        DisplayGib {
            mib: machine.memory_mib
        },
        DisplayGib {
            mib: machine.available_mib
        }
    );
    let cores = if machine.cores == 1 {
        "1 core".to_owned()
    } else {
        format!("{} cores", machine.cores)
    };
    rows.push(row("machine", None, [format!("{cores}, {memory}")]));
    let cache = match (&machine.cache, machine.cache_free_mib) {
        (Some(cache), Some(free)) => format!("{} ({} free)", cache.display(), DisplayGib { mib: free }),
        (Some(cache), None) => cache.display().to_string(),
        (None, _) => "none: neither HOME nor XDG_CACHE_HOME is set".to_owned(),
    };
    rows.push(row("cache", None, [cache]));
    render(&rows)
}

fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row {
        title,
        style,
        mark,
        lines,
    } in rows
    {
        for (i, line) in lines.iter().enumerate() {
            let (title, mark) = if i == 0 { (*title, *mark) } else { ("", "") };
            let (title_style, title_end) = (TITLE.render(), TITLE.render_reset());
            let (start, end) = (style.render(), style.render_reset());
            let _ = writeln!(
                text,
                "{title_style}{title:<LEFT$}{title_end}{start}{mark:<4}{end}{line}"
            );
        }
    }
    text
}

fn device(kvm: &KvmFacts) -> Row {
    let lines = match (&kvm.check.verdict, &kvm.group) {
        (Verdict::Absent { error }, _) if kvm.present => {
            vec![format!("present, but it does not open: {error}"), hint(kvm)]
        }
        (Verdict::Absent { .. }, _) => vec!["absent".to_owned(), hint(kvm)],
        (Verdict::NotPermitted, Some(group)) => {
            let name = group
                .name
                .clone()
                .unwrap_or_else(|| format!("number {}", group.id));
            let what = match group.id {
                0 => "only root may open it; on most systems the group `kvm` may".to_owned(),
                _ => format!("join its group: sudo usermod -aG {name} $USER, then log in again"),
            };
            vec!["present, but this user may not open it".to_owned(), what]
        }
        _ => vec!["present, and this user may open it".to_owned()],
    };
    row("/dev/kvm", Some(kvm.permitted), lines)
}

fn hint(kvm: &KvmFacts) -> String {
    match kvm.cpu_virtualization {
        true => "the CPU could: load the kernel module kvm_intel or kvm_amd",
        false => {
            "the CPU shows neither VMX nor SVM: enable it in the firmware, or nested virtualization in a VM"
        }
    }
    .to_owned()
}

/// Nothing where there is nothing to test.
fn sound(kvm: &KvmFacts) -> Option<Row> {
    let lines = match &kvm.check.verdict {
        Verdict::Absent { .. } | Verdict::NotPermitted => return None,
        Verdict::Sound if kvm.check.measured.ring0_mips.is_none() => {
            vec!["sound: this host is emulated for it, so it was not tried".to_owned()]
        }
        Verdict::Sound => {
            let took = kvm.check.elapsed_us as f64 / 1000.0;
            vec![format!(
                "sound: a test guest changed rings and ran at full speed in ring 0 ({took:.0} ms)"
            )]
        }
        Verdict::Unusable { .. } => vec![format!("not usable: {}", kvm.reason)],
        Verdict::Unsound { findings } => {
            let mut lines = vec!["unsound: it opens, but cannot run a kernel".to_owned()];
            lines.extend(findings.iter().map(|finding| format!("- {finding}")));
            lines
        }
    };
    Some(row("KVM", Some(kvm.sound), lines))
}

fn emulated(emulated: &EmulatedFacts) -> Row {
    let mut lines = Vec::new();
    if emulated.available {
        let qemu = emulated
            .qemu
            .as_deref()
            .map_or("QEMU of unknown version".to_owned(), short_version);
        let memory = DisplayGib {
            mib: emulated.memory_mib,
        };
        match &emulated.kernel {
            Some(KernelFacts::Found { version, .. }) => {
                lines.push(format!("available: {qemu}, kernel {version}, {memory} of memory"));
            }
            Some(KernelFacts::Download { package }) => {
                lines.push(format!("available: {qemu}, {memory} of memory"));
                let package = package.as_deref().unwrap_or("linux-image-amd64's kernel");
                lines.push(format!(
                    "at its first start {package} is downloaded to the cache, not installed"
                ));
            }
            None => {}
        }
        if !emulated.confined {
            lines.push(
                "QEMU may open all that you may: this kernel has no Landlock (5.19 and later)".to_owned(),
            );
        }
    } else {
        lines.push("not available".to_owned());
        lines.extend(emulated.problems.iter().map(|problem| format!("- {problem}")));
        if !emulated.missing_packages.is_empty() {
            lines.push(format!("apt-get install {}", emulated.missing_packages.join(" ")));
        }
    }
    row("emulated host", Some(emulated.available), lines)
}

fn verdict(facts: &Facts) -> Row {
    match &facts.accel_auto {
        Some(Way::Kvm) => row(
            "tests",
            Some(true),
            ["run on this host's KVM (--accel auto)".to_owned()],
        ),
        Some(Way::EmulatedHost { .. }) => Row {
            style: MIDDLING,
            ..row(
                "tests",
                Some(true),
                ["run in the emulated host, which is slower (--accel auto)".to_owned()],
            )
        },
        None => row(
            "tests",
            Some(false),
            ["cannot run here: neither KVM nor the emulated host will do".to_owned()],
        ),
    }
}

/// `QEMU 7.2.22` of what QEMU calls itself.
fn short_version(full: &str) -> String {
    let version = full
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1);
    version.map_or_else(|| full.to_owned(), |version| format!("QEMU {version}"))
}

#[cfg(test)]
mod tests {
    use provium_vmm::soundness::{Finding, Measured, Soundness};

    use super::super::facts::{Group, Machine};
    use super::*;

    fn kvm(verdict: Verdict) -> KvmFacts {
        let check = Soundness {
            verdict,
            measured: Measured::default(),
            elapsed_us: 31_000,
        };
        KvmFacts {
            present: true,
            permitted: !matches!(check.verdict, Verdict::Absent { .. } | Verdict::NotPermitted),
            sound: check.is_sound(),
            reason: check.reason(),
            check,
            group: None,
            cpu_virtualization: false,
        }
    }

    fn facts(verdict: Verdict, accel_auto: Option<Way>) -> Facts {
        Facts {
            inside: false,
            kvm: kvm(verdict),
            emulated_host: Some(EmulatedFacts {
                available: true,
                qemu: Some("QEMU emulator version 7.2.22 (Debian 1:7.2)".into()),
                kernel: Some(KernelFacts::Found {
                    version: "6.1.0-56-amd64".into(),
                    path: "/k".into(),
                }),
                missing_packages: vec![],
                problems: vec![],
                memory_mib: 6144,
                confined: true,
            }),
            cannot: None,
            accel_auto,
            machine: Machine {
                cores: 2,
                memory_mib: 24_105,
                available_mib: 20_480,
                cache: Some("/home/me/.cache/provium".into()),
                cache_free_mib: Some(10_240),
            },
        }
    }

    fn plain(facts: &Facts) -> String {
        anstream::adapter::strip_str(&screen(facts)).to_string()
    }

    #[test]
    fn an_unsound_kvm_is_explained_line_by_line() {
        let findings = vec![
            Finding::SlowRing0 {
                ring0_mips: 0.9,
                ring3_mips: 3000.0,
            },
            Finding::SyscallKeepsRing3,
        ];
        let way = Way::EmulatedHost {
            because: Some("x".into()),
        };
        let expected = "\
/dev/kvm       ok  present, and this user may open it
KVM            no  unsound: it opens, but cannot run a kernel
                   - ring-0 code runs at 0.9 million instructions a second (3000 in ring 3): it is emulated
                   - SYSCALL jumps to the kernel's entry but stays in ring 3, so no kernel survives its first user process
emulated host  ok  available: QEMU 7.2.22, kernel 6.1.0-56-amd64, 6.0 GiB of memory
tests          ok  run in the emulated host, which is slower (--accel auto)
machine            2 cores, 23.5 GiB of memory, 20.0 GiB available
cache              /home/me/.cache/provium (10.0 GiB free)
";
        let mut facts = facts(Verdict::Unsound { findings }, Some(way));
        assert_eq!(plain(&facts), expected);
        if let Some(emulated) = &mut facts.emulated_host {
            emulated.confined = false;
        }
        let text = plain(&facts);
        assert!(
            text.contains("                   QEMU may open all that you may"),
            "{text}"
        );
    }

    #[test]
    fn in_the_emulated_host_it_says_so() {
        let mut facts = facts(Verdict::Sound, Some(Way::Kvm));
        (facts.inside, facts.emulated_host) = (true, None);
        let text = plain(&facts);
        assert!(text.starts_with("this host          an emulated host"), "{text}");
        assert!(text.contains("KVM            ok  sound"), "{text}");
        assert!(!text.contains("emulated host  "), "{text}");
    }

    #[test]
    fn who_may_not_open_it_is_told_which_group_to_join() {
        let mut facts = facts(Verdict::NotPermitted, None);
        let group = |id, name: &str| {
            Some(Group {
                id,
                name: Some(name.into()),
            })
        };
        facts.kvm.group = group(104, "kvm");
        let text = plain(&facts);
        assert!(text.contains("sudo usermod -aG kvm $USER"), "{text}");
        assert!(text.contains("tests          no  cannot run here"), "{text}");
        facts.kvm.group = group(0, "root");
        assert!(plain(&facts).contains("only root may open it"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut facts = facts(
            Verdict::Absent {
                error: "No such file".into(),
            },
            None,
        );
        facts.kvm.present = false;
        facts.emulated_host = Some(EmulatedFacts {
            available: false,
            qemu: None,
            kernel: None,
            missing_packages: vec!["qemu-system-x86", "busybox-static"],
            problems: vec!["no cache".into()],
            memory_mib: 100,
            confined: true,
        });
        let text = plain(&facts);
        assert!(text.contains("/dev/kvm       no  absent"), "{text}");
        assert!(text.contains("enable it in the firmware"), "{text}");
        assert!(
            text.contains("apt-get install qemu-system-x86 busybox-static"),
            "{text}"
        );
        assert!(text.contains("- no cache"), "{text}");
    }

    #[test]
    fn a_kernel_to_download_is_announced() {
        let mut facts = facts(Verdict::Sound, Some(Way::Kvm));
        let emulated = facts.emulated_host.as_mut().unwrap();
        emulated.kernel = Some(KernelFacts::Download {
            package: Some("linux-image-6.1.0-56-amd64".into()),
        });
        assert!(
            plain(&facts).contains("linux-image-6.1.0-56-amd64 is downloaded to the cache, not installed")
        );
    }
}
