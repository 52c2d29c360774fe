//! Where this runs: what is to be known about it, and what is set for the time of a run.
//!
//! Input: the machine's kernel.
//! Output: sentences for the head of the table.
//! Not here: numbers.

use std::path::Path;

use provium_vmm::soundness;

/// The kernel's switch between quick grace periods and cheap ones.
const EXPEDITED: &str = "/sys/kernel/rcu_expedited";

/// The place's name for the table.
pub(crate) fn place() -> &'static str {
    if provium_emulated::is_inside() {
        "an emulated host"
    } else {
        "this machine's KVM"
    }
}

/// Kernel and processor.
pub(crate) fn description() -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cpus = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("Linux {release}, {cpus} × {model}")
}

/// What else there is to know, and whether guests with a kernel can run here.
pub(crate) fn soundness() -> (bool, Option<String>) {
    let soundness = soundness::check();
    let sound = soundness.is_sound();
    (
        sound,
        (!sound).then(|| format!("this KVM cannot carry a kernel: {}", soundness.reason())),
    )
}

/// The kind of file system that snapshots are written to.
pub(crate) fn snapshot_folder() -> String {
    let folder = std::env::temp_dir();
    let kind = rustix::fs::statfs(&folder).map(|stat| stat.f_type as u64);
    let kind = match kind {
        _ if provium_emulated::is_inside() => "memory, as all that an emulated host writes",
        Ok(0x0102_1994) => "memory (tmpfs)",
        Ok(0xef53) => "ext4",
        Ok(0x5846_5342) => "XFS",
        _ => "another file system",
    };
    format!("snapshots are in {}: {kind}", folder.display())
}

/// Makes an emulated host's kernel show its tracepoints there; other machines are as their owners want them.
pub(crate) fn mount_tracing(folder: &str) {
    if provium_emulated::is_inside() {
        // One that is mounted already will do.
        let flags = rustix::mount::MountFlags::empty();
        let _ = rustix::mount::mount("tracefs", folder, "tracefs", flags, None);
    }
}

/// An emulated host's kernel with its grace periods as a stock kernel has them, for as long as this lives.
pub(crate) struct StockGracePeriods {
    before: Option<String>,
}

impl StockGracePeriods {
    /// Does nothing elsewhere: other machines' kernels are as their owners want them.
    pub(crate) fn set() -> StockGracePeriods {
        let before = provium_emulated::is_inside()
            .then(|| std::fs::read_to_string(EXPEDITED).ok())
            .flatten()
            .filter(|value| value.trim() != "0" && std::fs::write(Path::new(EXPEDITED), "0").is_ok());
        StockGracePeriods { before }
    }

    /// What was done, for the table's head.
    pub(crate) fn note(&self) -> Option<String> {
        let text = "rcu_expedited is 0 for this run, as on a stock kernel (emulated hosts start with 1)";
        self.before.as_ref().map(|_| text.to_owned())
    }
}

impl Drop for StockGracePeriods {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The machine goes away after this run anyway.
            let _ = std::fs::write(EXPEDITED, before.trim());
        }
    }
}
