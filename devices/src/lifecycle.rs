//! Who may call what on a device, and when: the contract between the monitor, the guest's driver and every device.
//!
//! Three parties call a device. The **driver** reads and writes registers, from vCPU threads. The **host** uses a device's
//! own handle from any thread: types at the serial port, reads and writes streams, inserts and ejects media. The
//! **monitor** takes the device through its life:
//!
//! ```text
//! create ─► paused ── resume ─► running ── pause ─► paused ── … ── end, from anywhere
//!             │ ▲
//!             │ └── kick ◄── restore ◄── detach_queues ◄─┐
//!             └── save ──────────────────────────────────┘   (save as often as wanted, or not at all)
//! ```
//!
//! | step | calls | when | what holds afterwards |
//! | --- | --- | --- | --- |
//! | create | `new` | before any vCPU exists | no queues, nothing pending, lines low |
//! | resume | [`BlockHandle::resume`] | before the vCPUs go on | requests are taken |
//! | pause | [`BlockHandle::pause`] | after the last vCPU has left the guest | no request is under way, none is taken |
//! | save | [`MmioTransport::save`], [`SerialPort::save`], [`PciHostBridge::save`] | paused, the host's handles at rest | nothing has changed |
//! | detach | [`MmioTransport::detach_queues`] | paused | the device touches guest memory no more; streams fail |
//! | restore | [`MmioTransport::restore`], [`SerialPort::restore`], [`PciHostBridge::restore`] | paused, detached, memory and media in place | the device is as it was saved, its line at its level; or, with an error, as it was before |
//! | kick | [`MmioTransport::kick`] | paused, every other part of the machine restored | requests that waited are taken up; no notification is lost |
//! | reset | a driver writes 0 to the status register | running | as after create, but media and listeners stay |
//! | end | [`Vsock::end`], [`BlockHandle::end`] | once, at any time, from any thread | every blocked call fails, every thread that serves returns |
//!
//! Rules that follow:
//!
//! - A device without a row has no such step: only disks work on their own, so only they pause; ports of the machine's
//!   power have no state.
//! - Register accesses come only while vCPUs run, so never between pause and resume.
//! - Between detach and restore the guest's memory may be another's: whoever fails there ends the machine.
//! - What a driver does out of order is its own loss, and never the monitor's: see [`VirtioDevice`] for the order in which
//!   the transport lets its calls through.
//! - Locks are taken downwards: a transport's, then its device's, then its interrupt's, whose line is driven under the
//!   lock, so that a line and the bits behind it agree. An end that a register causes takes no transport's lock.
//!
//! The monitor keeps to this in `vmm/src/machine/`: `handle.rs` (create, resume, pause, end), `save.rs`, `load.rs`
//! (detach, restore, kick), `platform.rs` (all devices at once), `disks.rs` (media and threads).
//!
//! [`BlockHandle::resume`]: crate::virtio::block::BlockHandle::resume
//! [`BlockHandle::pause`]: crate::virtio::block::BlockHandle::pause
//! [`BlockHandle::end`]: crate::virtio::block::BlockHandle::end
//! [`MmioTransport::save`]: crate::virtio::mmio::MmioTransport::save
//! [`MmioTransport::detach_queues`]: crate::virtio::mmio::MmioTransport::detach_queues
//! [`MmioTransport::restore`]: crate::virtio::mmio::MmioTransport::restore
//! [`MmioTransport::kick`]: crate::virtio::mmio::MmioTransport::kick
//! [`SerialPort::save`]: crate::legacy::serial::SerialPort::save
//! [`SerialPort::restore`]: crate::legacy::serial::SerialPort::restore
//! [`PciHostBridge::save`]: crate::legacy::pci::PciHostBridge::save
//! [`PciHostBridge::restore`]: crate::legacy::pci::PciHostBridge::restore
//! [`Vsock::end`]: crate::virtio::vsock::Vsock::end
//! [`VirtioDevice`]: crate::virtio::VirtioDevice

#[cfg(test)]
mod tests;
