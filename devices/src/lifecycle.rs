//! Who may call what on a device, and when: the contract of monitor, driver and device.
//!
//! Input: nothing. Output: rules, and a test that holds each device to them. Not here: code.
//!
//! Three parties call a device. The **driver** reads and writes registers, from vCPU threads. The **host**
//! uses a device's own handle from any thread: types at the serial port, reads and writes streams, inserts
//! and ejects media. The **monitor** takes the device through its life:
//!
//! ```text
//! create ─► paused ── resume ─► running ── pause ─► paused ── … ── end, from anywhere
//!             ├─ save, as often as wanted
//!             └─ detach_queues ─► restore ─► kick ─► paused
//! ```
//!
//! Each step: what the monitor calls, when, and what holds afterwards.
//!
//! - **create**: `new`, before any vCPU exists. No queues, nothing pending, lines low; a disk's slot is
//!   paused.
//! - **resume**: [`BlockHandle::resume`], before the vCPUs go on. Requests are taken.
//! - **pause**: [`BlockHandle::pause`], after the last vCPU has left the guest. No request is under way, none
//!   is taken.
//! - **save**: [`MmioTransport::save`], [`SerialPort::save`], [`PciHostBridge::save`], while paused and with
//!   the host's handles at rest. Nothing has changed.
//! - **detach**: [`MmioTransport::detach_queues`], while paused. The device touches guest memory no more;
//!   streams fail.
//! - **restore**: [`MmioTransport::restore`], [`SerialPort::restore`], [`PciHostBridge::restore`], while
//!   paused and detached, with memory and media in place. The device is as it was saved, its line at its
//!   level; a state that is refused has changed nothing in that device.
//! - **kick**: [`MmioTransport::kick`], while paused, when every other part of the machine is restored.
//!   Requests that waited are taken up; no notification is lost.
//! - **end**: [`Vsock::end`], [`BlockHandle::end`], at any time and from any thread. Every blocked call
//!   fails, every thread that serves returns.
//!
//! One step is the driver's: a **reset**, by writing 0 to the status register while the machine runs. The
//! device is as after create, but media, listeners and the stream of random numbers stay as they are.
//!
//! Rules that follow:
//!
//! - A device that a step does not name has no such step: only disks work on their own, so only they pause;
//!   the registers of the machine's power have no state.
//! - Register accesses come only while vCPUs run, so never between pause and resume.
//! - Between detach and restore the guest's memory may be another's: whoever fails there ends the machine.
//! - What a driver does out of order is its own loss, and never the monitor's: see [`VirtioDevice`] for the
//!   order in which the transport lets its calls through.
//! - Locks are taken downwards: a transport's, then its device's, then its interrupt's, whose line is driven
//!   under the lock, so that a line and the bits behind it agree. An end that a register causes takes no
//!   transport's lock.
//!
//! The monitor keeps to this in `vmm/src/machine/`: `handle.rs` (create, resume, pause, end), `save.rs`,
//! `load.rs` (detach, restore, kick), `platform.rs` (all devices at once), `disks.rs` (media and threads).
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
