//! What is counted beside each time: a busy machine makes no exit, page fault or system call more.
//!
//! Input: machines that can be paused for a look; this process's kernel.
//! Output: [`Counts`] of what was done between two moments.
//! Not here: times and tables.
//!
//! Exits and page faults are KVM's own counters. System calls are counted by the kernel's tracepoints over
//! all threads of this process, where it may use them: in an emulated host it can always.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use provium_bench_results::Counts;
use provium_vmm::{KvmCounts, Machine};

use crate::host;

const TRACING: &str = "/sys/kernel/tracing";

/// Counters of this process's system calls.
#[derive(Debug)]
pub(crate) struct Calls {
    all: Counter,
    ioctls: Counter,
}

impl Calls {
    /// Counts from now on, in threads that are made from now on too; `None` where the kernel does not let it.
    pub(crate) fn count() -> Option<Calls> {
        host::mount_tracing(TRACING);
        Some(Calls {
            all: counter("raw_syscalls/sys_enter")?,
            ioctls: counter("syscalls/sys_enter_ioctl")?,
        })
    }

    fn read(&mut self) -> Option<(u64, u64)> {
        Some((self.all.read().ok()?, self.ioctls.read().ok()?))
    }
}

fn counter(event: &str) -> Option<Counter> {
    let id = std::fs::read_to_string(Path::new(TRACING).join("events").join(event).join("id")).ok()?;
    let mut builder = Builder::new(Tracepoint::with_id(id.trim().parse().ok()?));
    let mut counter = builder.inherit(true).include_kernel().build().ok()?;
    counter.enable().ok()?;
    Some(counter)
}

/// The moment at which something that is measured begins.
#[derive(Debug)]
pub(crate) struct Begin {
    kvm: KvmCounts,
    calls: Option<(u64, u64)>,
    at: Instant,
}

impl Begin {
    /// Now. A machine that runs already is paused for a look at its counters.
    pub(crate) fn now(calls: &mut Option<Calls>, machine: Option<&Machine>) -> Result<Begin> {
        let kvm = machine.map_or(Ok(KvmCounts::default()), look)?;
        Ok(Begin {
            kvm,
            calls: calls.as_mut().and_then(Calls::read),
            at: Instant::now(),
        })
    }

    /// The time that has passed since, and what has been counted of `machine` and this process, by each of
    /// `times` that it was done.
    pub(crate) fn end(
        self,
        calls: &mut Option<Calls>,
        machine: &Machine,
        times: u32,
    ) -> Result<(Duration, Counts)> {
        let took = self.at.elapsed();
        let calls = calls.as_mut().and_then(Calls::read);
        let kvm = look(machine)?.since(self.kvm);
        let each = |count: u64| count as f64 / f64::from(times);
        let calls = calls.zip(self.calls);
        let counts = Counts {
            exits: each(kvm.exits),
            mmio: each(kvm.mmio),
            port: each(kvm.port),
            halt: each(kvm.halt),
            faults: each(kvm.faults),
            ioctls: calls.map(|(now, before)| each(now.1 - before.1)),
            system_calls: calls.map(|(now, before)| each(now.0 - before.0)),
        };
        Ok((took / times, counts))
    }
}

fn look(machine: &Machine) -> Result<KvmCounts> {
    let runs = !machine.is_paused();
    if runs {
        machine.pause()?;
    }
    let counts = machine.kvm_counts()?;
    if runs {
        machine.resume()?;
    }
    Ok(counts)
}
