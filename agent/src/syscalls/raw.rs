//! Any system call, with memory for it to point at.
//!
//! Input: number, six arguments, buffers and where their addresses go. Every index is checked before the
//! call.
//! Output: the raw return value (`-errno` on failure) and the buffers as the call left them.
//! Not here: any opinion about the call. It is made on the calling thread, so `exit` or `execve` hit the
//! agent, as the test asked for, and an address that is not a buffer's is taken as it is. Only the child of a
//! fork is ended at once: it would answer the host a second time.

use std::alloc::{self, Layout};
use std::arch::asm;
use std::ptr::NonNull;

use provium_protocol::{OpError, Response, Syscall};

use crate::failure::impossible;
use crate::sys;
use crate::threads::during_call;

/// Bytes of a pointer on x86-64.
const POINTER: usize = 8;
/// Alignment that direct I/O and page-wise calls ask for; buffers of at least this size get it.
const PAGE: usize = 4096;
/// Numbers of the calls that return twice, with 0 in the new process.
const FORKS: [i64; 4] = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];

pub(crate) fn make(call: Syscall) -> Result<Response, OpError> {
    let mut args = call.args;
    let mut bufs: Vec<Buffer> = call.bufs.iter().map(|bytes| Buffer::new(bytes)).collect();
    for (at, &(argument, buffer)) in call.ptrs.iter().enumerate() {
        let buffer = index(buffer, bufs.len(), format_args!("ptrs[{at}]"))?;
        let slot = args.get_mut(usize::from(argument)).ok_or_else(|| {
            impossible(format!(
                "syscall: ptrs[{at}] names argument {argument}; arguments are 0 to 5"
            ))
        })?;
        *slot = bufs[buffer].address();
    }
    for (at, nested) in call.nested.iter().enumerate() {
        let parent = index(nested.parent, bufs.len(), format_args!("nested[{at}].parent"))?;
        let child = index(nested.child, bufs.len(), format_args!("nested[{at}].child"))?;
        let address = bufs[child].address();
        let (offset, length) = (nested.offset as usize, bufs[parent].bytes().len());
        let Some(slot) = bufs[parent]
            .bytes_mut()
            .get_mut(offset..offset.saturating_add(POINTER))
        else {
            return Err(impossible(format!(
                "syscall: nested[{at}].offset is {offset}, but buffer {parent} has {length} bytes and the \
                 pointer needs {POINTER}"
            )));
        };
        slot.copy_from_slice(&address.to_ne_bytes());
    }
    // SAFETY: the buffers live until after the call. What else the call does to this process is the test's
    // decision and cannot be known here; that is what the op is for, and the guest is the test's own.
    let ret = during_call(call.nr, args[0], || unsafe { raw(call.nr, args) });
    if ret == 0 && FORKS.contains(&call.nr) {
        // The process that the call has just made must not go on as a second agent.
        sys::exit_at_once(0);
    }
    let bufs = bufs.iter().map(|buffer| buffer.bytes().to_vec().into()).collect();
    Ok(Response::Syscall { ret, bufs })
}

fn index(index: u32, count: usize, whose: std::fmt::Arguments<'_>) -> Result<usize, OpError> {
    match usize::try_from(index) {
        Ok(index) if index < count => Ok(index),
        _ => Err(impossible(format!(
            "syscall: {whose} names buffer {index}, but there are {count}, from 0"
        ))),
    }
}

/// Makes a system call; its raw return value.
///
/// # Safety
/// The call must not break this process's memory, or the caller must want it to.
unsafe fn raw(nr: i64, args: [u64; 6]) -> i64 {
    let ret;
    // SAFETY: the registers are those of the x86-64 system call convention; memory is assumed clobbered.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr => ret,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    ret
}

/// Memory with an address the kernel accepts everywhere: 16-byte aligned, page-aligned from a page's size on.
struct Buffer {
    memory: NonNull<u8>,
    length: usize,
    layout: Layout,
}

impl Buffer {
    fn new(content: &[u8]) -> Buffer {
        let align = if content.len() >= PAGE { PAGE } else { 16 };
        // An empty buffer has an address as well.
        let size = content.len().max(1);
        let layout = Layout::from_size_align(size, align).unwrap_or(Layout::new::<u128>());
        assert!(layout.size() >= size, "a frame's content fits in memory");
        // SAFETY: the layout's size is not zero; the content fits in it and cannot overlap new memory.
        let memory = unsafe {
            let memory = alloc::alloc_zeroed(layout);
            let Some(memory) = NonNull::new(memory) else {
                alloc::handle_alloc_error(layout)
            };
            memory.copy_from_nonoverlapping(NonNull::from(content).cast(), content.len());
            memory
        };
        Buffer {
            memory,
            length: content.len(),
            layout,
        }
    }

    /// The address, which other code may write to through the kernel.
    fn address(&mut self) -> u64 {
        self.memory.as_ptr().expose_provenance() as u64
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `memory` holds `length` initialised bytes until drop; no call is under way while this
        // lives.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}
