//! The self-test guest: two megabytes that a vCPU can be pointed into.
//!
//! Input: nothing. Output: [`fill`]ed guest memory, the [`Entry`] points and registers to start them with.
//! Not here: the host's side of the conversation.
//!
//! The guest speaks by writing EAX to a port; the port's number is a [`step`]. It starts in long mode, below
//! page tables that map its memory to itself, open to ring 3, with descriptor tables for both rings, handlers
//! for all exceptions and a task segment for the way back from ring 3. Ring 3 has IOPL 3: it may speak too.

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes of guest memory; also how much the page tables map, in whole 2 MiB pages.
pub(super) const MEMORY: u64 = 2 << 20;

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const GDT: u64 = 0x4000;
const TSS: u64 = 0x5000;
const IDT: u64 = 0x6000;
/// Address of zeros, on a 64-byte boundary, for the instructions that need an operand in memory.
const SCRATCH: u64 = 0x7000;
const CODE: u64 = 0x10000;
const KERNEL_STACK: u64 = 0x20000;
const EXCEPTION_STACK: u64 = 0x21000;
const USER_STACK: u64 = 0x22000;

const KERNEL_CS: u16 = 0x08;
const KERNEL_SS: u16 = 0x10;
// SYSRET takes SS from STAR+8 and CS from STAR+16: data before code.
const USER_SS: u16 = 0x20 | 3;
const USER_CS: u16 = 0x28 | 3;
const TSS_SELECTOR: u16 = 0x30;

/// What the guest says by the port it writes to.
pub(super) mod step {
    /// The timed loop is about to begin.
    pub(crate) const LOOP_BEGIN: u16 = 0x10;
    /// The timed loop is over.
    pub(crate) const LOOP_END: u16 = 0x11;
    /// IRET from ring 0 has arrived; the value is CS.
    pub(crate) const IN_RING3: u16 = 0x20;
    /// SYSCALL has arrived at its handler; the value is CS.
    pub(crate) const SYSCALL: u16 = 0x21;
    /// The handler has executed an instruction that only ring 0 may.
    pub(crate) const PRIVILEGED: u16 = 0x22;
    /// SYSRET has arrived; the value is CS.
    pub(crate) const SYSRET: u16 = 0x23;
    /// IRET from the second system call has arrived; the value is CS.
    pub(crate) const IRET: u16 = 0x24;
    /// The instruction under test has run, and its result was right.
    pub(crate) const EXECUTED: u16 = 0x30;
    /// An exception; the value is its vector.
    pub(crate) const EXCEPTION: u16 = 0x3f;
}

// Position-independent: it is copied to guest memory and runs there. Entry points take their parameters in
// registers that `Entry::start` sets. Nothing here runs on the host.
std::arch::global_asm!(
    r#"
    .pushsection .rodata.provium_soundness, "a"
    .balign 16
    .globl provium_soundness_begin, provium_soundness_end
    .globl provium_soundness_loop, provium_soundness_rings, provium_soundness_handler
    .globl provium_soundness_int3, provium_soundness_popcnt, provium_soundness_cmpxchg16b
    .globl provium_soundness_xrstor, provium_soundness_vectors
provium_soundness_begin:

// edi = iterations of two instructions each
provium_soundness_loop:
    out {loop_begin}, eax
    mov ecx, edi
2:  dec ecx
    jnz 2b
    out {loop_end}, eax
    hlt

// From ring 0 to ring 3 and back and forth. r12 counts the system calls.
provium_soundness_rings:
    xor r12d, r12d
    push {user_ss}
    push {user_stack}
    push 0x3002                 // IOPL 3
    push {user_cs}
    lea rax, [rip + 2f]
    push rax
    iretq
2:  mov eax, cs
    out {in_ring3}, eax
    syscall
    mov eax, cs
    out {sysret}, eax
    syscall
    mov eax, cs
    out {iret}, eax
2:  jmp 2b                      // HLT is not for ring 3; the host has what it wants

// LSTAR: rcx = return address, r11 = flags of the caller
provium_soundness_handler:
    mov eax, cs
    out {syscall}, eax
    mov rax, cr3
    mov cr3, rax
    out {privileged}, eax
    inc r12d
    cmp r12d, 1
    jne 2f
    sysretq
2:  push {user_ss}
    push {user_stack}
    push r11
    push {user_cs}
    push rcx
    iretq

// Instructions in ring 0; rsi = zeroed memory, aligned to 64 bytes
provium_soundness_int3:
    int3
    jmp 9f
provium_soundness_popcnt:
    mov eax, 0x0f0f0f0f
    popcnt eax, eax
    cmp eax, 16
    je 9f
    hlt
provium_soundness_cmpxchg16b:
    xor eax, eax
    xor edx, edx
    mov ebx, 1
    xor ecx, ecx
    cmpxchg16b [rsi]
    jz 9f
    hlt
provium_soundness_xrstor:
    mov eax, 1
    xor edx, edx
    xrstor [rsi]
9:  out {executed}, eax
    hlt

// One handler of 16 bytes for each of 32 vectors
    .balign 16
provium_soundness_vectors:
    .set vector, 0
    .rept 32
    .balign 16
    .if vector == 3
    iretq
    .else
    mov eax, vector
    jmp 8f
    .endif
    .set vector, vector + 1
    .endr
    .balign 16
8:  out {exception}, eax
    hlt
provium_soundness_end:
    .popsection
    "#,
    loop_begin = const step::LOOP_BEGIN,
    loop_end = const step::LOOP_END,
    in_ring3 = const step::IN_RING3,
    syscall = const step::SYSCALL,
    privileged = const step::PRIVILEGED,
    sysret = const step::SYSRET,
    iret = const step::IRET,
    executed = const step::EXECUTED,
    exception = const step::EXCEPTION,
    user_ss = const USER_SS,
    user_cs = const USER_CS,
    user_stack = const USER_STACK,
);

unsafe extern "C" {
    static provium_soundness_begin: u8;
    static provium_soundness_end: u8;
    static provium_soundness_loop: u8;
    static provium_soundness_rings: u8;
    static provium_soundness_handler: u8;
    static provium_soundness_int3: u8;
    static provium_soundness_popcnt: u8;
    static provium_soundness_cmpxchg16b: u8;
    static provium_soundness_xrstor: u8;
    static provium_soundness_vectors: u8;
}

/// The assembled guest code.
fn code() -> &'static [u8] {
    // SAFETY: both symbols delimit one run of read-only bytes that the assembler laid down above.
    unsafe {
        let begin = &raw const provium_soundness_begin;
        std::slice::from_raw_parts(
            begin,
            (&raw const provium_soundness_end).offset_from_unsigned(begin),
        )
    }
}

/// Guest address of a label in the code.
fn at(label: *const u8) -> u64 {
    CODE + (label as u64 - code().as_ptr() as u64)
}

/// An entry point of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The timed loop, in ring 0.
    LoopRing0,
    /// The timed loop, in ring 3, without having got there by an instruction.
    LoopRing3,
    /// From ring 0 to ring 3 and back, twice.
    Rings,
    /// `int3` and its handler, in ring 0.
    Int3,
    /// `popcnt` in ring 0.
    Popcnt,
    /// `cmpxchg16b` in ring 0.
    Cmpxchg16b,
    /// `xrstor` in ring 0.
    Xrstor,
}

impl Entry {
    fn address(self) -> u64 {
        at(match self {
            Entry::LoopRing0 | Entry::LoopRing3 => &raw const provium_soundness_loop,
            Entry::Rings => &raw const provium_soundness_rings,
            Entry::Int3 => &raw const provium_soundness_int3,
            Entry::Popcnt => &raw const provium_soundness_popcnt,
            Entry::Cmpxchg16b => &raw const provium_soundness_cmpxchg16b,
            Entry::Xrstor => &raw const provium_soundness_xrstor,
        })
    }

    /// General registers to begin with; `iterations` is for the loops.
    pub(super) fn regs(self, iterations: u32) -> kvm_regs {
        let ring3 = self == Entry::LoopRing3;
        kvm_regs {
            rip: self.address(),
            rsp: if ring3 { USER_STACK } else { KERNEL_STACK },
            rflags: if ring3 { 0x3002 } else { 2 },
            rdi: iterations.into(),
            rsi: SCRATCH,
            ..Default::default()
        }
    }

    /// System registers to begin with: `sregs` are those of a vCPU after reset.
    pub(super) fn sregs(self, mut sregs: kvm_sregs, xsave: bool) -> kvm_sregs {
        let ring3 = self == Entry::LoopRing3;
        let (cs, ss, dpl) = if ring3 {
            (USER_CS, USER_SS, 3)
        } else {
            (KERNEL_CS, KERNEL_SS, 0)
        };
        let flat = |selector, type_| kvm_segment {
            limit: u32::MAX,
            selector,
            type_,
            present: 1,
            dpl,
            s: 1,
            g: 1,
            ..Default::default()
        };
        sregs.cs = kvm_segment {
            l: 1,
            ..flat(cs, 0xb)
        };
        let data = kvm_segment { db: 1, ..flat(ss, 3) };
        (sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs) = (data, data, data, data, data);
        sregs.tr = kvm_segment {
            base: TSS,
            limit: 0x67,
            selector: TSS_SELECTOR,
            type_: 0xb,
            present: 1,
            ..Default::default()
        };
        sregs.gdt = kvm_dtable {
            base: GDT,
            limit: 0x3f,
            ..Default::default()
        };
        sregs.idt = kvm_dtable {
            base: IDT,
            limit: 32 * 16 - 1,
            ..Default::default()
        };
        sregs.cr0 = 0x8005_0033; // PG AM WP NE ET MP PE
        sregs.cr3 = PML4;
        sregs.cr4 = 0x620 | if xsave { 1 << 18 } else { 0 }; // PAE OSFXSR OSXMMEXCPT, OSXSAVE
        sregs.efer = 0x501; // LMA LME SCE
        sregs
    }
}

/// The model-specific registers SYSCALL needs: index and value.
pub(super) fn msrs() -> [(u32, u64); 3] {
    let star = u64::from(KERNEL_CS) << 32 | u64::from(USER_SS - 8) << 48;
    [
        (0xc000_0081, star),
        (0xc000_0082, at(&raw const provium_soundness_handler)),
        (0xc000_0084, 1 << 9), // SFMASK: interrupts off, IOPL kept: whoever arrives may speak
    ]
}

/// Writes the guest's tables and code into its memory.
pub(super) fn fill(memory: &GuestMemoryMmap) -> Result<(), vm_memory::GuestMemoryError> {
    let put = |address: u64, value: u64| memory.write_obj(value, GuestAddress(address));
    const OPEN: u64 = 7; // present, writable, for ring 3 too
    put(PML4, PDPT | OPEN)?;
    put(PDPT, PD | OPEN)?;
    for page in 0..MEMORY >> 21 {
        put(PD + page * 8, page << 21 | OPEN | 1 << 7)?;
    }
    for (i, descriptor) in gdt().into_iter().enumerate() {
        put(GDT + i as u64 * 8, descriptor)?;
    }
    memory.write_obj(EXCEPTION_STACK, GuestAddress(TSS + 4))?; // rsp0
    let vectors = at(&raw const provium_soundness_vectors);
    for vector in 0..32 {
        let [low, high] = gate(vectors + vector * 16);
        put(IDT + vector * 16, low)?;
        put(IDT + vector * 16 + 8, high)?;
    }
    memory.write_slice(code(), GuestAddress(CODE))
}

/// Null, kernel code and data, (32-bit user code, unused), user data and code, the task segment's two words.
fn gdt() -> [u64; 8] {
    let tss = 0x67 | (TSS & 0xff_ffff) << 16 | 0x8b << 40;
    [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        tss,
        0,
    ]
}

/// An interrupt gate to `handler`, open to ring 3.
fn gate(handler: u64) -> [u64; 2] {
    let low = handler & 0xffff | u64::from(KERNEL_CS) << 16 | 0xee << 40 | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = assert!(IDT + 32 * 16 <= SCRATCH && USER_STACK < MEMORY);

    #[test]
    fn the_code_ends_before_the_stacks() {
        let end = CODE + code().len() as u64;
        assert!(end <= KERNEL_STACK - 0x1000, "it ends at {end:#x}");
    }

    #[test]
    fn every_exception_handler_is_where_its_gate_points() {
        let vectors = (at(&raw const provium_soundness_vectors) - CODE) as usize;
        assert_eq!(vectors % 16, 0);
        for vector in 0..32u8 {
            let handler = &code()[vectors + usize::from(vector) * 16..][..5];
            if vector == 3 {
                assert_eq!(handler[..2], [0x48, 0xcf], "iretq");
            } else {
                assert_eq!(handler, [0xb8, vector, 0, 0, 0], "mov eax, {vector}");
            }
        }
    }

    #[test]
    fn gates_carry_the_whole_address() {
        let [low, high] = gate(0x1122_3344_5566_7788);
        assert_eq!(low & 0xffff | low >> 32 & 0xffff_0000, 0x5566_7788);
        assert_eq!(high, 0x1122_3344);
    }

    #[test]
    fn sysret_finds_the_selectors_that_iret_uses() {
        let base = (msrs()[0].1 >> 48) as u16;
        assert_eq!((base + 8) | 3, USER_SS);
        assert_eq!((base + 16) | 3, USER_CS);
    }
}
