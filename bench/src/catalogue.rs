//! Every row there is.
//!
//! Input: nothing.
//! Output: for each row its id, its name in the table, its unit and, where there is one, its target.
//! Not here: samples; see `recorder`.
//!
//! Targets are for one vCPU and 128 MiB, as multiples of the floor in the same run on the emulated host.

use std::fmt;

use provium_bench_results::Unit;

/// Target of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// At most this multiple of the floor.
    TimesFloor(f64),
    /// At most so many exits for memory-mapped registers.
    Mmio(f64),
    /// At most so many page faults.
    Faults(f64),
    /// At most this multiple of another row.
    TimesRow(&'static str, f64),
    /// At most the pages that the guest has written, plus one MiB.
    DirtyPagesAndMiB,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::TimesFloor(most) => write!(f, "≤ {most} × floor"),
            Target::Mmio(most) => write!(f, "≤ {most} MMIO exits"),
            Target::Faults(most) => write!(f, "≤ {most} faults"),
            Target::TimesRow(row, most) => write!(f, "≤ {most} × {row}"),
            Target::DirtyPagesAndMiB => write!(f, "≤ its pages + 1 MiB"),
        }
    }
}

/// A row of the table before it is measured.
#[derive(Debug)]
pub(crate) struct RowSpec {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Option<Target>,
}

impl RowSpec {
    pub(crate) const fn new(
        id: &'static str,
        name: &'static str,
        unit: Unit,
        target: Option<Target>,
    ) -> RowSpec {
        RowSpec {
            id,
            name,
            unit,
            target,
        }
    }
}

/// Id of the row that others are multiples of.
pub(crate) const FLOOR: &str = "floor";

const fn time(id: &'static str, name: &'static str) -> RowSpec {
    RowSpec::new(id, name, Unit::Microseconds, None)
}

const fn at_most(id: &'static str, name: &'static str, times: f64) -> RowSpec {
    RowSpec::new(id, name, Unit::Microseconds, Some(Target::TimesFloor(times)))
}

const fn most_faults(id: &'static str, name: &'static str, faults: f64) -> RowSpec {
    RowSpec::new(id, name, Unit::Microseconds, Some(Target::Faults(faults)))
}

const fn most_mmio(id: &'static str, name: &'static str, exits: f64) -> RowSpec {
    RowSpec::new(id, name, Unit::Microseconds, Some(Target::Mmio(exits)))
}

const fn kib(id: &'static str, name: &'static str) -> RowSpec {
    RowSpec::new(id, name, Unit::KiB, None)
}

const fn private(id: &'static str, name: &'static str) -> RowSpec {
    RowSpec::new(id, name, Unit::KiB, Some(Target::DirtyPagesAndMiB))
}

const fn rate(id: &'static str, name: &'static str) -> RowSpec {
    RowSpec::new(id, name, Unit::BytesPerSecond, None)
}

/// Rows for the steps of the floor, in their order.
pub(crate) const FLOOR_ROWS: [RowSpec; 11] = [
    time("floor/open", "  open /dev/kvm"),
    time("floor/map", "  map the memory file"),
    time("floor/vm", "  create the machine"),
    time("floor/slot", "  memory slot"),
    time("floor/irqchip", "  interrupt chips"),
    time("floor/vcpu", "  create the vCPU"),
    time("floor/cpuid", "  set CPUID"),
    time("floor/state", "  set state"),
    time("floor/run", "  run to the first exit"),
    time(FLOOR, "the floor: file to first exit"),
    time("floor/close", "  (closing it, not counted)"),
];

/// Rows with Linux as the guest.
pub(crate) const LINUX_ROWS: [RowSpec; 23] = [
    at_most("cold-resume", "cold resume: fixture on disk to first reply", 2.3),
    most_faults("warm-resume", "warm resume: ready shell to first reply", 150.0),
    most_faults("first-command", "warm resume to `vm:run(\"true\")` done", 300.0),
    time("command", "a warmed command: `vm:run(\"true\")`"),
    at_most("reset-0", "in-place reset to first reply, as it was resumed", 0.2),
    at_most("reset-100", "in-place reset to first reply, 100 dirty pages", 0.2),
    at_most(
        "reset-1000",
        "in-place reset to first reply, 1,000 dirty pages",
        0.5,
    ),
    time("reset-10000", "in-place reset to first reply, 10,000 dirty pages"),
    at_most("boot", "cold boot to first reply", 45.0),
    time("first-ping", "round trip of an empty op, just after a resume"),
    most_mmio("ping", "round trip of an empty op, settled", 1.5),
    time("getpid", "round trip of getpid, settled"),
    rate("write", "64 MiB written to the guest's tmpfs, for the first time"),
    rate("write-again", "64 MiB written to the same file again"),
    rate("read", "64 MiB read from the guest"),
    private("memory-1", "private memory of a resumed guest, 1 machine"),
    private("memory-10", "private memory of a resumed guest, 10 machines"),
    private("memory-50", "private memory of a resumed guest, 50 machines"),
    time("save", "save: booted guest to disk"),
    kib("save-size", "snapshot size on disk"),
    time("save-layer", "save a layer on its parent"),
    kib("layer-size", "layer size on disk"),
    time("layer-resume", "resume of a fixture 5 layers deep to first reply"),
];

/// Rows of a test suite on that guest.
pub(crate) const SUITE_ROWS: [RowSpec; 3] = [
    time(
        "suite",
        "a suite of 500 tests, each a reset and a call: each test",
    ),
    time("suite/by-hand", "the same resets and calls without a test: each"),
    RowSpec::new(
        "suite/harness",
        "what the harness adds to a test",
        Unit::Microseconds,
        Some(Target::TimesRow("suite/by-hand", 0.25)),
    ),
];

/// Rows of other monitors with the same guest.
pub(crate) const PEER_ROWS: [RowSpec; 4] = [
    time(
        "qemu/start",
        "QEMU (microvm): process start to its monitor's answer",
    ),
    time("qemu/load", "QEMU: process start to snapshot loaded"),
    time(
        "qemu/resume",
        "QEMU: process start to first reply over vhost-vsock",
    ),
    time("qemu/boot", "QEMU: cold boot, process start to first reply"),
];

/// Rows with a payload of a few instructions as the guest.
pub(crate) const PAYLOAD_ROWS: [RowSpec; 13] = [
    time(
        "payload/cold-resume",
        "payload: cold restore: file to first reply",
    ),
    time(
        "payload/warm-resume",
        "payload: warm restore: ready shell to first reply",
    ),
    time(
        "payload/reset-10",
        "payload: in-place reset to first reply, 10 dirty pages",
    ),
    time(
        "payload/reset-100",
        "payload: in-place reset to first reply, 100 dirty pages",
    ),
    time(
        "payload/reset-1000",
        "payload: in-place reset to first reply, 1,000 dirty pages",
    ),
    time(
        "payload/reset-10000",
        "payload: in-place reset to first reply, 10,000 dirty pages",
    ),
    private(
        "payload/memory-1",
        "payload: private memory, 100 pages written, 1 machine",
    ),
    private(
        "payload/memory-10",
        "payload: private memory, 100 pages written, 10 machines",
    ),
    private(
        "payload/memory-50",
        "payload: private memory, 100 pages written, 50 machines",
    ),
    time("payload/save", "payload: save machine with 1,000 pages to disk"),
    kib("payload/save-size", "payload: snapshot size on disk"),
    time(
        "payload/save-layer",
        "payload: save a layer of 100 pages on its parent",
    ),
    kib("payload/layer-size", "payload: layer size on disk"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let all = FLOOR_ROWS
            .iter()
            .chain(&LINUX_ROWS)
            .chain(&SUITE_ROWS)
            .chain(&PEER_ROWS)
            .chain(&PAYLOAD_ROWS);
        let mut ids: Vec<_> = all.map(|row| row.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn targets_read_as_they_are_meant() {
        assert_eq!(Target::TimesFloor(0.15).to_string(), "≤ 0.15 × floor");
        assert_eq!(Target::TimesFloor(50.0).to_string(), "≤ 50 × floor");
        assert_eq!(Target::Mmio(1.5).to_string(), "≤ 1.5 MMIO exits");
        assert_eq!(Target::TimesRow("ping", 0.25).to_string(), "≤ 0.25 × ping");
        assert_eq!(Target::Faults(150.0).to_string(), "≤ 150 faults");
    }
}
