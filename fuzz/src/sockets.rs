//! The host's side of a vsock device, and the bounds that its documentation promises.
//!
//! Input: choices. Output: connections of both sides, and panics where more is kept than may be.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use provium_devices::virtio::saved::DeviceState;
use provium_devices::virtio::vsock::{Vsock, VsockListener, VsockStream};

use crate::device::{Driver, Host};
use crate::input::Input;

/// Most connections alive.
const CONNECTIONS: usize = 1024;
/// Most bytes that one keeps for its reader.
const RECEIVED: usize = 256 << 10;
/// Packets without payload that wait before the guest's sending is held up, and the most that the packet in
/// hand, or a call of the host, may add: one for each connection, and as many more.
const CONTROL: usize = 256 + 2 * CONNECTIONS;
/// The ports of the host that there may be listeners on.
const PORTS: [u32; 3] = [1, 5252, 0x4000_0000];
/// What a device of ours calls a request, and each step after it.
const OPERATIONS: [u16; 9] = [1, 2, 3, 4, 5, 6, 7, 0, 0xffff];

/// The host's ends.
pub struct Sockets {
    device: Vsock,
    listeners: Vec<VsockListener>,
    streams: Vec<VsockStream>,
}

impl Sockets {
    /// The host's side of `device`.
    pub fn new(device: Vsock) -> Sockets {
        Sockets {
            device,
            listeners: Vec::new(),
            streams: Vec::new(),
        }
    }

    fn with_stream(&self, input: &mut Input<'_>, act: impl FnOnce(&VsockStream, &mut Input<'_>)) {
        let number = input.u8();
        if !self.streams.is_empty() {
            act(&self.streams[usize::from(number) % self.streams.len()], input);
        }
    }

    fn keep(&mut self, stream: VsockStream) {
        stream.set_read_timeout(Some(Duration::ZERO));
        stream.set_write_timeout(Some(Duration::ZERO));
        self.streams.push(stream);
    }

    /// Sends a packet as the guest's driver would, with a header that is right where it is not to be wrong.
    fn packet(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        let (operation, payload) = (input.pick(&OPERATIONS), input.bytes());
        let wrong = input.u8();
        let len = if wrong & 1 != 0 {
            input.u32()
        } else {
            payload.len() as u32
        };
        let mut packet = Vec::with_capacity(44 + payload.len());
        packet.extend(
            if wrong & 2 != 0 {
                input.u64()
            } else {
                u64::from(self.device.cid())
            }
            .to_le_bytes(),
        );
        packet.extend(2u64.to_le_bytes());
        packet.extend(u32::from(input.u8() & 7).to_le_bytes());
        packet.extend(
            input
                .pick(&PORTS)
                .wrapping_add(u32::from(wrong >> 6))
                .to_le_bytes(),
        );
        packet.extend(len.to_le_bytes());
        packet.extend(if wrong & 4 != 0 { input.u16() } else { 1 }.to_le_bytes());
        packet.extend(operation.to_le_bytes());
        packet.extend(u32::from(input.u8() & 7).to_le_bytes());
        packet.extend(if wrong & 8 != 0 { input.u32() } else { 65536 }.to_le_bytes());
        packet.extend(if wrong & 16 != 0 { input.u32() } else { 0 }.to_le_bytes());
        packet.extend(payload);
        driver.send(1, &packet, 0);
    }
}

impl Host for Sockets {
    fn act(&mut self, driver: &mut Driver, input: &mut Input<'_>) {
        match input.below(16) {
            0 | 1 => self.listeners.extend(self.device.listen(input.pick(&PORTS))),
            2 | 3 => {
                let stream = self
                    .listeners
                    .first()
                    .map(|listener| listener.accept(Some(Duration::ZERO)));
                stream.into_iter().flatten().for_each(|stream| self.keep(stream));
            }
            4 => {
                let port = u32::from(input.u8() & 7);
                let stream = self.device.connect(port, Duration::ZERO);
                stream.into_iter().for_each(|stream| self.keep(stream));
            }
            5 => self.with_stream(input, |mut stream, input| {
                let mut into = [0; 300];
                let len = usize::from(input.u16()) % into.len();
                let _ = stream.read(&mut into[..len]);
            }),
            6 => self.with_stream(input, |mut stream, input| {
                let _ = stream.write(input.bytes());
            }),
            7 => self.with_stream(input, |stream, input| {
                let how = input.pick(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
                let _ = stream.shutdown(how);
            }),
            8 => self.with_stream(input, |stream, _| stream.ask()),
            9 => {
                let ports = (input.pick(&PORTS), u32::from(input.u8() & 7));
                self.device
                    .adopt(ports)
                    .into_iter()
                    .for_each(|stream| self.keep(stream));
            }
            10 => self.device.close_unclaimed(),
            11 if input.u8() == 255 => self.device.end(),
            12 => drop(self.streams.pop()),
            13 => drop(self.listeners.pop()),
            _ => self.packet(driver, input),
        }
    }

    fn check(&mut self, driver: &Driver) {
        let DeviceState::Vsock(state) = driver.transport.save().device else {
            panic!("the state of another device");
        };
        assert!(
            state.connections.len() <= CONNECTIONS,
            "{} connections",
            state.connections.len()
        );
        assert!(
            state.control.len() <= CONTROL,
            "{} packets wait",
            state.control.len()
        );
        for connection in &state.connections {
            let kept = connection.received.len();
            assert!(kept <= RECEIVED, "{kept} bytes of one connection are kept");
        }
    }
}
