//! The loop of a vCPU thread: run the guest until it needs something, see to that, run again.
//!
//! Input: a vCPU. Output: accesses to the buses, and the end of the machine where the vCPU cannot go on. Not
//! here: who pauses or ends the machine, or looks where its vCPUs stand (`gate`, `lifecycle`, `looks`).

use std::sync::Arc;

use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_SIMUL_EX,
};
use kvm_ioctls::VcpuExit;
use parking_lot::Mutex;
use provium_devices::GuestRam;

use super::end::EndReason;
use super::gate::Pass;
use super::lifecycle::Lifecycle;
use super::platform::Platform;
use crate::confine::ThreadWork;
use crate::kvm::vcpu::Vcpu;
use crate::kvm::vcpu_place;

/// The parts of its machine that a vCPU thread works with.
pub(crate) struct VcpuContext {
    pub(crate) life: Arc<Lifecycle>,
    pub(crate) platform: Arc<Platform>,
    pub(crate) ram: GuestRam,
    /// Number of the vCPU, from 0.
    pub(crate) index: usize,
}

/// Runs `vcpu` until the machine ends. The lock is free while the machine is paused.
pub(crate) fn run(context: &VcpuContext, vcpu: &Mutex<Vcpu>) {
    let life = &context.life;
    // Counted by the starter, so that a pause right after the start waits for this thread.
    let _left = LeaveGate(life);
    // Which devices the guest has is known when it first runs.
    life.confine(ThreadWork::VcpuWithShares);
    let mut ready = false;
    let mut looked = life.looks.number();
    let mut guard = vcpu.lock();
    // Address of a device that is busy with what this vCPU has written.
    let mut busy = None;
    loop {
        guard.page.clear();
        if life.gate.is_closed() {
            if let Some(reason) = settle(context, &mut guard, &mut busy) {
                life.end(reason);
            }
            drop(guard);
            if life.gate.park() == Pass::Stop {
                return;
            }
            guard = vcpu.lock();
            // Tells the guest's watchdogs that it was stopped; a guest without kvmclock refuses.
            let _ = guard.fd.kvmclock_ctrl();
            continue;
        }
        let wanted = life.looks.number();
        if wanted != looked {
            looked = wanted;
            // Registers are what they are between two instructions.
            if let Some(reason) = settle(context, &mut guard, &mut busy) {
                life.end(reason);
            }
            life.looks
                .answer(wanted, context.index, vcpu_place::place(&guard.fd));
            continue;
        }
        if let Some(address) = busy.filter(|address| context.platform.mmio.go_on(*address)) {
            busy = Some(address);
            continue;
        }
        busy = None;
        if !ready {
            ready = true;
            if context.platform.runs_without_shares() {
                life.confine(ThreadWork::Vcpu);
            }
        }
        if let RunOutcome::End(reason) = step(context, &mut guard, &mut busy) {
            life.end(reason);
        }
    }
}

struct LeaveGate<'a>(&'a Lifecycle);

impl Drop for LeaveGate<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(EndReason::Monitor(
                "a vCPU thread panicked; this is a bug in Provium".to_owned(),
            ));
        }
        self.0.gate.leave();
    }
}

/// Most exits that finishing one instruction takes: a string instruction leaves for each page of elements.
const MAX_SETTLING: usize = 1 << 16;

/// Finishes the instruction that the vCPU left the guest for. KVM keeps its second half until the next
/// KVM_RUN, where no saved state would have it, and where it would come on top of a state put back.
fn settle(context: &VcpuContext, vcpu: &mut Vcpu, busy: &mut Option<u64>) -> Option<EndReason> {
    for _ in 0..MAX_SETTLING {
        vcpu.page.set();
        match step(context, vcpu, busy) {
            RunOutcome::Interrupted => break,
            RunOutcome::Done => {}
            RunOutcome::End(reason) => return Some(reason),
        }
    }
    None
}

/// How one KVM_RUN ended.
enum RunOutcome {
    /// What the guest needed has been seen to.
    Done,
    /// Somebody wants the vCPU's attention.
    Interrupted,
    /// The machine cannot go on.
    End(EndReason),
}

/// Enters the guest once and sees to what it left for; notes the address of a device that is busy with it.
fn step(context: &VcpuContext, vcpu: &mut Vcpu, busy: &mut Option<u64>) -> RunOutcome {
    let platform = &context.platform;
    match vcpu.fd.run() {
        Ok(VcpuExit::MmioRead(address, data)) => platform.mmio.read(address, data),
        Ok(VcpuExit::MmioWrite(address, data)) => {
            if platform.mmio.write(address, data) {
                *busy = Some(address);
            }
        }
        Ok(VcpuExit::IoIn(port, data)) => {
            for element in data.chunks_mut(vcpu.page.port_access_size()) {
                platform.ports.read(u64::from(port), element);
            }
        }
        Ok(VcpuExit::IoOut(port, data)) => {
            for element in data.chunks(vcpu.page.port_access_size()) {
                platform.ports.write(u64::from(port), element);
            }
        }
        Ok(VcpuExit::Intr) => return RunOutcome::Interrupted,
        Ok(VcpuExit::IrqWindowOpen | VcpuExit::Hlt) => {}
        Ok(VcpuExit::Shutdown) => {
            return RunOutcome::End(EndReason::TripleFault(vcpu.describe(&context.ram)));
        }
        Ok(VcpuExit::InternalError) => return RunOutcome::End(internal_error(context, vcpu)),
        Ok(VcpuExit::FailEntry(reason, cpu)) => {
            let state = vcpu.describe(&context.ram);
            let cause =
                format!("entering the guest failed with hardware reason {reason:#x} on cpu {cpu}: {state}");
            return RunOutcome::End(EndReason::InternalError(cause));
        }
        Ok(other) => {
            let exit = format!("{other:?}");
            let state = vcpu.describe(&context.ram);
            return RunOutcome::End(EndReason::InternalError(format!(
                "unexpected exit {exit}: {state}"
            )));
        }
        Err(error) if error.errno() == libc::EINTR => return RunOutcome::Interrupted,
        Err(error) if error.errno() == libc::EAGAIN => {}
        Err(error) => {
            let lost = (error.errno() == libc::EFAULT).then(|| context.life.memory_unreachable());
            if let Some(reason) = lost.flatten() {
                return RunOutcome::End(reason);
            }
            let state = vcpu.describe(&context.ram);
            return RunOutcome::End(EndReason::InternalError(format!(
                "KVM_RUN failed: {error}: {state}"
            )));
        }
    }
    RunOutcome::Done
}

fn internal_error(context: &VcpuContext, vcpu: &Vcpu) -> EndReason {
    let (suberror, data) = vcpu.page.internal_error();
    let cause = match suberror {
        KVM_INTERNAL_ERROR_EMULATION => "an instruction it cannot emulate".to_owned(),
        KVM_INTERNAL_ERROR_SIMUL_EX => "simultaneous exceptions".to_owned(),
        KVM_INTERNAL_ERROR_DELIVERY_EV => "an event it cannot deliver".to_owned(),
        other => format!("internal error {other}"),
    };
    let data: Vec<String> = data.iter().map(|word| format!("{word:#x}")).collect();
    let state = vcpu.describe(&context.ram);
    EndReason::InternalError(format!("{cause} [{}]: {state}", data.join(", ")))
}
