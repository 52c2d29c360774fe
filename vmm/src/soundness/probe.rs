//! Runs the self-test guest's entries, one after the other, on one vCPU.
//!
//! Input: an [`Allowance`]. Output: [`Notes`], or why no machine could be made. Not here: opinions.
//!
//! How it ends in time: the probe's thread blocks one signal, and KVM_SET_SIGNAL_MASK opens it while KVM_RUN
//! runs. Whoever sends it ends the KVM_RUN under way; the probe takes it off the queue, so that it is never
//! delivered, and goes on only while it has time. What counts is first the thread's own CPU time: on a busy
//! host a guest that does nothing wrong may wait long for its turn.

use std::io;
use std::time::{Duration, Instant};

use kvm_bindings::{
    KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::time::{ClockId, clock_gettime};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::signal::{SIGRTMIN, block_signal, clear_signal};

use super::image::{self, Entry, step};
use super::judge;
use super::notes::{Notes, StopCause, Trace};
use super::verdict::{Verdict, unusable};
use crate::kvm::vm::{NEEDED, create_vm};

/// Number of iterations of the timed loop: milliseconds where ring 0 is emulated, microseconds elsewhere.
const ITERATIONS: u32 = 5_000;
/// Number of instructions in an iteration.
const INSTRUCTIONS: u32 = 2;
/// What a look at KVM may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Time after which guests are stopped, at the latest.
    pub(super) wall: Duration,
    /// CPU time all entries together may take; they need a few milliseconds, on an emulator tens.
    pub(super) cpu: Duration,
    /// Most runs of the timed loops; the best counts.
    pub(super) rounds: usize,
}

/// SIGRTMIN plus this is sent to the probe's own thread, which blocks it except in KVM_RUN: nothing handles
/// it.
pub(super) const KICK: i32 = 7;

/// Where the TSS of Intel's virtual-8086 mode goes: below 4 GiB, beyond all memory.
const INTEL_TSS: usize = 0xfffb_d000;

/// Blocks the signal that will end this thread's KVM_RUN.
pub(super) fn shield() -> Result<(), Verdict> {
    block_signal(SIGRTMIN() + KICK).map_err(|error| Verdict::Unusable {
        error: format!("blocking a signal: {error}"),
    })
}

/// Makes a machine and tries everything; on a [`shield`]ed thread.
pub(super) fn run(allowance: &Allowance) -> Result<Notes, Verdict> {
    let deadline = Instant::now() + allowance.wall;
    let kvm = open()?;
    let lacks = NEEDED.into_iter().filter(|(cap, _)| !kvm.check_extension(*cap));
    let mut notes = Notes {
        lacks: lacks.map(|(_, name)| name).collect(),
        ..Notes::default()
    };
    let before = Instant::now();
    let vm = create_vm(&kvm).map_err(|error| unusable("KVM_CREATE_VM", &error.into()))?;
    notes.create_vm = before.elapsed();
    let _ = vm.set_tss_address(INTEL_TSS); // needed by some Intel hosts, unknown to some others

    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), image::MEMORY as usize)]).map_err(
        |error| Verdict::Unusable {
            error: format!("memory for the test guest: {error}"),
        },
    )?;
    image::fill(&memory).map_err(|error| Verdict::Unusable {
        error: format!("the test guest: {error}"),
    })?;
    let mut probe = Probe::new(&kvm, vm, &memory, deadline, allowance.cpu)?;

    notes.rings = probe.run(Entry::Rings, step::IRET)?;
    if notes.rings.end == StopCause::Stopped {
        return Ok(notes);
    }
    for (entry, name, supported) in probe.instructions() {
        if supported {
            notes.instructions.push((name, probe.run(entry, step::EXECUTED)?));
        }
    }
    for _ in 0..allowance.rounds {
        let ring3 = probe.time(Entry::LoopRing3)?;
        let ring0 = probe.time(Entry::LoopRing0)?;
        notes.ring3_mips = best(notes.ring3_mips, ring3);
        notes.ring0_mips = best(notes.ring0_mips, ring0);
        let settled = notes
            .ring0_mips
            .zip(notes.ring3_mips)
            .is_some_and(|(r0, r3)| !judge::is_slow(r0, r3));
        if settled {
            break;
        }
    }
    Ok(notes)
}

fn best(so_far: Option<f64>, now: Option<f64>) -> Option<f64> {
    so_far.into_iter().chain(now).reduce(f64::max)
}

/// KVM, if it is there and this user may use it.
pub(super) fn open() -> Result<Kvm, Verdict> {
    let kvm = Kvm::new().map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::PermissionDenied => Verdict::NotPermitted,
        error => Verdict::Absent {
            error: error.to_string(),
        },
    })?;
    match kvm.get_api_version() {
        version if version == KVM_API_VERSION as i32 => Ok(kvm),
        version => Err(Verdict::Unusable {
            error: format!("API version {version} instead of {KVM_API_VERSION}"),
        }),
    }
}

struct Probe<'a> {
    /// Before `_vm` and `_memory`, which it runs in.
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: &'a GuestMemoryMmap,
    reset: kvm_bindings::kvm_sregs,
    features: u32,
    deadline: Instant,
    /// The thread's CPU time at which no entry may go on.
    allowed: Duration,
}

/// Bits of CPUID leaf 1, ECX.
const CMPXCHG16B: u32 = 1 << 13;
const POPCNT: u32 = 1 << 23;
const XSAVE: u32 = 1 << 26;

impl<'a> Probe<'a> {
    fn new(
        kvm: &Kvm,
        vm: VmFd,
        memory: &'a GuestMemoryMmap,
        deadline: Instant,
        cpu: Duration,
    ) -> Result<Self, Verdict> {
        let named = |call| move |error: kvm_ioctls::Error| unusable(call, &error.into());
        for (slot, region) in memory.iter().enumerate() {
            let slot = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: 0,
                guest_phys_addr: region.start_addr().0,
                memory_size: region.len(),
                userspace_addr: region.as_ptr() as u64,
            };
            // SAFETY: the range is the mapping of `region`, which `memory` owns and which the lifetime `'a`
            // keeps alive longer than the machine.
            unsafe { vm.set_user_memory_region(slot) }.map_err(named("KVM_SET_USER_MEMORY_REGION"))?;
        }
        let vcpu = vm.create_vcpu(0).map_err(named("KVM_CREATE_VCPU"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(named("KVM_GET_SUPPORTED_CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(named("KVM_SET_CPUID2"))?;
        let features = cpuid
            .as_slice()
            .iter()
            .find(|entry| entry.function == 1)
            .map_or(0, |entry| entry.ecx);
        let reset = vcpu.get_sregs().map_err(named("KVM_GET_SREGS"))?;
        open_in_run(&vcpu, SIGRTMIN() + KICK)?;
        Ok(Self {
            vcpu,
            _vm: vm,
            _memory: memory,
            reset,
            features,
            deadline,
            allowed: cpu_time() + cpu,
        })
    }

    /// Instructions to try, and whether this CPU has them at all.
    fn instructions(&self) -> [(Entry, &'static str, bool); 4] {
        let has = |bit| self.features & bit != 0;
        [
            (Entry::Int3, "int3", true),
            (Entry::Popcnt, "popcnt", has(POPCNT)),
            (Entry::Cmpxchg16b, "cmpxchg16b", has(CMPXCHG16B)),
            (Entry::Xrstor, "xrstor", has(XSAVE)),
        ]
    }

    fn start(&mut self, entry: Entry) -> Result<(), Verdict> {
        let named = |call| move |error: kvm_ioctls::Error| unusable(call, &error.into());
        let sregs = entry.sregs(self.reset, self.features & XSAVE != 0);
        self.vcpu.set_sregs(&sregs).map_err(named("KVM_SET_SREGS"))?;
        let entries = image::msrs().map(|(index, data)| kvm_msr_entry {
            index,
            data,
            ..Default::default()
        });
        let msrs = Msrs::from_entries(&entries).map_err(|error| Verdict::Unusable {
            error: format!("a list of registers: {error:?}"),
        })?;
        let taken = self.vcpu.set_msrs(&msrs).map_err(named("KVM_SET_MSRS"))?;
        if let Some((index, _)) = image::msrs().get(taken) {
            return Err(Verdict::Unusable {
                error: format!("KVM_SET_MSRS refuses register {index:#x}"),
            });
        }
        self.vcpu
            .set_regs(&entry.regs(ITERATIONS))
            .map_err(named("KVM_SET_REGS"))
    }

    /// Runs an entry until it has said `last`, or cannot go on.
    fn run(&mut self, entry: Entry, last: u16) -> Result<Trace, Verdict> {
        let mut trace = Trace::default();
        self.start(entry)?;
        loop {
            match self.step() {
                Ok((port, value)) => {
                    let level = self.vcpu.get_sregs().map_or(u8::MAX, |sregs| sregs.ss.dpl);
                    trace.said.push((port, value, level));
                    if port == last || port == step::EXCEPTION {
                        return Ok(trace);
                    }
                }
                Err(end) => {
                    trace.end = end;
                    return Ok(trace);
                }
            }
        }
    }

    /// Rate of the timed loop in millions of instructions a second; none if it did not get through.
    ///
    /// The thread's own CPU time is what counts, so that a busy host does not pass for an emulated one.
    fn time(&mut self, entry: Entry) -> Result<Option<f64>, Verdict> {
        self.start(entry)?;
        if self.step().is_ok_and(|(port, _)| port == step::LOOP_BEGIN) {
            let begin = cpu_time();
            if self.step().is_ok_and(|(port, _)| port == step::LOOP_END) {
                let micros = (cpu_time() - begin).as_secs_f64() * 1e6;
                return Ok(Some(f64::from(ITERATIONS * INSTRUCTIONS) / micros.max(0.1)));
            }
        }
        Ok(None)
    }

    /// Runs until the guest says something.
    fn step(&mut self) -> Result<(u16, u32), StopCause> {
        loop {
            if cpu_time() >= self.allowed || Instant::now() >= self.deadline {
                return Err(StopCause::Stopped);
            }
            match self.vcpu.run() {
                Ok(VcpuExit::IoOut(port, data)) => {
                    let mut value = [0; 4];
                    let len = data.len().min(4);
                    value[..len].copy_from_slice(&data[..len]);
                    return Ok((port, u32::from_le_bytes(value)));
                }
                Ok(VcpuExit::Hlt) => return Err(StopCause::Halted),
                Ok(VcpuExit::Shutdown) => return Err(StopCause::Exit("a triple fault".into())),
                Ok(VcpuExit::InternalError) => return Err(StopCause::Exit("a KVM internal error".into())),
                Ok(other) => return Err(StopCause::Exit(format!("{other:?}"))),
                Err(error) if error.errno() == libc::EINTR => {
                    // Left pending, it would end every later KVM_RUN too.
                    let _ = clear_signal(SIGRTMIN() + KICK);
                }
                Err(error) => return Err(StopCause::Exit(format!("KVM_RUN: {error}"))),
            }
        }
    }
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// `struct kvm_signal_mask` with the kernel's 8-byte signal set.
#[repr(C, packed)]
struct SignalMask {
    len: u32,
    blocked: u64,
}

vmm_sys_util::ioctl_iow_nr!(KVM_SET_SIGNAL_MASK, 0xae, 0x8b, u32);

/// Lets `signal` end KVM_RUN, though this thread blocks it.
fn open_in_run(vcpu: &VcpuFd, signal: i32) -> Result<(), Verdict> {
    let mask = SignalMask {
        len: 8,
        blocked: !(1 << (signal - 1)),
    };
    // SAFETY: the kernel reads `len` and as many bytes behind it, which is what `SignalMask` lays out.
    if unsafe { ioctl_with_ref(vcpu, KVM_SET_SIGNAL_MASK(), &mask) } < 0 {
        return Err(unusable("KVM_SET_SIGNAL_MASK", &io::Error::last_os_error()));
    }
    Ok(())
}
