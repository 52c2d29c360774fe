//! What every floor of the runner stands on.
//!
//! Input and output: plain values. Not here: guests, Lua, configuration and anything else that would tie the
//! crates above to each other.
//!
//! ```text
//! events, outcome     what happens and what it comes to, as data; who hears of it
//! failure, trace      what is known of a failure; what of a kernel's dump a person reads
//! cancel              telling a run to stop
//! group               commands of the host, which end with it
//! exit, units         exit codes; sizes and durations as people write and read them
//! outer               what an emulated host shows of the machine outside, and does not write there
//! nearest, walk       "did you mean"; which folders a search goes into
//! cause               what the system said, once and without its number
//! terminal            the user's, while a command elsewhere has it
//! initramfs, initrd   archives for a guest, made and looked at
//! kernel              a kernel's configuration, and what is lacking in it
//! modules             modules of a kernel, in the order to load them
//! ```

pub mod cancel;
pub mod cause;
pub mod events;
pub mod exit;
pub mod failure;
pub mod group;
pub mod initramfs;
pub mod initrd;
pub mod kernel;
pub mod meta;
pub mod modules;
pub mod nearest;
pub mod outcome;
pub mod outer;
pub mod subtest;
pub mod terminal;
pub mod trace;
pub mod units;
pub mod walk;
