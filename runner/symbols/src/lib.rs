//! Addresses of a guest's kernel as function, file and line: a trace that one can read.
//!
//! Input: the files of a kernel ([`KernelFiles`]); text of its console, or the address of an instruction.
//! Output: the text with file and line behind each place, inlined functions too, as the kernel's own
//! `scripts/decode_stacktrace.sh` has it. Not here: which text is a trace, and guests.
//!
//! Nothing is read before the first question. What a file may cost is bounded: 2 GiB of debug information in
//! memory (a kernel's without types has 50 MB, a distribution's 500), and [`LIMIT`] of time, after which
//! traces stay as the kernel printed them. A damaged file costs its lines, never the report.
//!
//! ```text
//! known        the symbols of several kernels
//! symbolizer   the door: files opened at the first question, a limit of time
//! annotate     text in, text out
//! trace        what in a line is a place
//! kernel       which files know a kernel, and how far it ran from where it was linked to
//! file         one file: names, lines, short paths
//! table lines paths      symbols; DWARF; paths of sources
//! module elf   a module's addresses; sections of a file
//! ```

mod annotate;
mod elf;
mod file;
mod kernel;
mod known;
mod lines;
mod module;
mod paths;
mod symbolizer;
mod table;
mod trace;

pub use elf::ElfError;
pub use kernel::KernelFiles;
pub use known::KnownKernels;
pub use symbolizer::{LIMIT, Symbolizer};

#[cfg(test)]
mod tests;
