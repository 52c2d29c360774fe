//! A guest of a few instructions, for the rows that measure the machine alone.
//!
//! `p` is answered by `p`; a digit d makes it write to 10 to the power of d pages first, and print `d`. Then
//! it halts for good: it answers once, and is put back to the snapshot, where it waits for its byte. It runs
//! on any KVM, also on one that cannot carry a kernel.
//!
//! Input: a byte typed into its serial port.
//! Output: a byte printed there.
//! Not here: the ELF kernel around the instructions; the tests have it, too.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use provium_tests::payload;
use provium_vmm::Machine;

/// Byte that it prints when it begins to wait.
const READY: u8 = b'r';
/// A payload answers in less, or not at all.
const LIMIT: Duration = Duration::from_secs(20);

/// The instructions, in 64-bit mode with memory mapped as it is. No stack, so no page is written but those
/// asked for.
#[rustfmt::skip]
const CODE: [u8; 71] = [
    0xb0, READY,                        //        mov al, 'r'
    0x66, 0xba, 0xf8, 0x03,             //        mov dx, 0x3f8
    0xee,                               //        out dx, al
    0x66, 0xba, 0xfd, 0x03,             // wait:  mov dx, 0x3fd       ; line status
    0xec,                               //        in al, dx
    0xa8, 0x01,                         //        test al, 1          ; a byte has come
    0x74, 0xf7,                         //        jz wait
    0x66, 0xba, 0xf8, 0x03,             //        mov dx, 0x3f8
    0xec,                               //        in al, dx
    0x3c, b'p',                         //        cmp al, 'p'
    0x74, 0x29,                         //        je reply
    0x0f, 0xb6, 0xd8,                   //        movzx ebx, al
    0x83, 0xeb, b'0',                   //        sub ebx, '0'
    0xb9, 0x01, 0x00, 0x00, 0x00,       //        mov ecx, 1
    0x85, 0xdb,                         // times: test ebx, ebx
    0x74, 0x07,                         //        jz write
    0x6b, 0xc9, 0x0a,                   //        imul ecx, ecx, 10
    0xff, 0xcb,                         //        dec ebx
    0xeb, 0xf5,                         //        jmp times
    0xbf, 0x00, 0x00, 0x00, 0x02,       // write: mov edi, 0x2000000
    0x89, 0x0f,                         // page:  mov [rdi], ecx
    0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, //        add edi, 4096
    0xff, 0xc9,                         //        dec ecx
    0x75, 0xf4,                         //        jnz page
    0xb0, b'd',                         //        mov al, 'd'
    0x66, 0xba, 0xf8, 0x03,             // reply: mov dx, 0x3f8
    0xee,                               //        out dx, al
];

/// A halt that nothing ends.
const HALT: [u8; 3] = [0xf4, 0xeb, 0xfd];

/// Boots it until it waits for its byte.
///
/// # Errors
/// When the machine cannot be made, or says nothing.
pub(crate) fn boot(memory: u64) -> Result<Machine> {
    let machine = payload::start(&[&CODE[..], &HALT].concat(), memory)?;
    wait_for(&machine, READY)?;
    Ok(machine)
}

/// Types a byte into a paused machine, lets it run, and waits for its answer.
///
/// # Errors
/// When the answer does not come.
pub(crate) fn ask(machine: &Machine, byte: u8) -> Result<()> {
    machine.console_write(&[byte])?;
    machine.resume()?;
    wait_for(machine, if byte == b'p' { b'p' } else { b'd' })
}

/// Looks until the machine has printed `byte` last. Between looks, others run: where there is one processor,
/// the payload has it, until it has answered and halts.
fn wait_for(machine: &Machine, byte: u8) -> Result<()> {
    let begin = Instant::now();
    while machine.console_log().last() != Some(&byte) {
        if let Some(reason) = machine.ended() {
            bail!("the payload ended: {reason}");
        }
        if begin.elapsed() > LIMIT {
            bail!(
                "the payload did not print {:?} within {LIMIT:?}",
                char::from(byte)
            );
        }
        std::thread::yield_now();
    }
    Ok(())
}
