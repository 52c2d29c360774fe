//! The serial port, a 16550A, of which the UART itself is `vm-superio`'s.
//!
//! Input: register accesses from the guest, typed bytes from the host. Output: printed bytes to a writer,
//! edges on an interrupt line (COM1's pin is edge-triggered). Not here: what was printed before.
//!
//! Input longer than the UART's FIFO waits here and follows as the guest reads. While there are bytes in the
//! FIFO and their interrupt is enabled, the interrupt identification says so (16550A data sheet, section
//! 8.5): Linux reads at most 256 bytes at a time, and asks there whether it is to go on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vm_superio::{Serial, Trigger, serial::NoEvents};

use crate::{BusDevice, IrqLine, StateError};

struct EdgeLine(Arc<dyn IrqLine>);

impl Trigger for EdgeLine {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.pulse();
        Ok(())
    }
}

/// Register offsets: data, interrupt identification.
const DATA: u64 = 0;
const IDENTIFICATION: u64 = 2;
/// Interrupt enable: received data.
const ENABLE_RECEIVED: u8 = 1;
/// Interrupt identification: none is pending; received data.
const NONE_PENDING: u8 = 1;
const RECEIVED: u8 = 4;

/// A serial port that prints to `W`.
pub struct SerialPort<W: Write + Send> {
    uart: Serial<EdgeLine, NoEvents, W>,
    input: VecDeque<u8>,
}

/// The state of a serial port: the UART's registers, and bytes that were typed and not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialState {
    /// Divisor latch, low then high byte; interrupt enable, interrupt identification, line control, line
    /// status, modem control, modem status, scratch (16550A data sheet, section 8).
    pub registers: [u8; 9],
    /// Bytes in the receive FIFO.
    #[serde(with = "serde_bytes")]
    pub fifo: Vec<u8>,
    /// Bytes that wait for room in the FIFO.
    #[serde(with = "serde_bytes")]
    pub input: Vec<u8>,
}

/// Most bytes of typed input that wait for the guest; more is refused.
pub const MAX_PENDING_INPUT: usize = 1 << 20;

impl<W: Write + Send> SerialPort<W> {
    /// Bytes of register space.
    pub const SIZE: u64 = 8;

    /// A port that prints to `out`.
    pub fn new(line: Arc<dyn IrqLine>, out: W) -> Self {
        Self {
            uart: Serial::new(EdgeLine(line), out),
            input: VecDeque::new(),
        }
    }

    /// Types bytes; gives the number that was taken: all, unless the guest leaves a megabyte unread.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(MAX_PENDING_INPUT - self.input.len());
        self.input.extend(&bytes[..taken]);
        self.feed();
        taken
    }

    /// Types as many bytes as the receive FIFO has room for, none while others wait; gives their number.
    pub fn offer(&mut self, bytes: &[u8]) -> usize {
        self.feed();
        if !self.input.is_empty() {
            return 0;
        }
        let room = self.uart.fifo_capacity().min(bytes.len());
        match room {
            0 => 0,
            // In loopback mode the UART takes nothing.
            room => self.uart.enqueue_raw_bytes(&bytes[..room]).unwrap_or(0),
        }
    }

    /// The port's state; what it has printed is not part of it.
    pub fn save(&self) -> SerialState {
        let uart = self.uart.state();
        SerialState {
            registers: [
                uart.baud_divisor_low,
                uart.baud_divisor_high,
                uart.interrupt_enable,
                uart.interrupt_identification,
                uart.line_control,
                uart.line_status,
                uart.modem_control,
                uart.modem_status,
                uart.scratch,
            ],
            fifo: uart.in_buffer,
            input: self.input.iter().copied().collect(),
        }
    }

    /// Puts the port into a saved state. An interrupt that was pending is raised once more, so that a driver
    /// in the middle of a transmission goes on.
    ///
    /// # Errors
    /// [`StateError`] when no port can have been in that state.
    pub fn restore(&mut self, state: &SerialState) -> Result<(), StateError>
    where
        W: Clone,
    {
        if state.input.len() > MAX_PENDING_INPUT {
            let what = format!(
                "{} bytes of input, at most {MAX_PENDING_INPUT}",
                state.input.len()
            );
            return Err(StateError::new("serial port", what));
        }
        let [dll, dlh, ier, iir, lcr, lsr, mcr, msr, scratch] = state.registers;
        let uart = vm_superio::serial::SerialState {
            baud_divisor_low: dll,
            baud_divisor_high: dlh,
            interrupt_enable: ier,
            interrupt_identification: iir,
            line_control: lcr,
            line_status: lsr,
            modem_control: mcr,
            modem_status: msr,
            scratch,
            in_buffer: state.fifo.clone(),
        };
        let line = EdgeLine(Arc::clone(&self.uart.interrupt_evt().0));
        self.uart = Serial::from_state(&uart, line, NoEvents, self.uart.writer().clone())
            .map_err(|error| StateError::new("serial port", error.to_string()))?;
        self.input = state.input.iter().copied().collect();
        Ok(())
    }

    /// The interrupt identification as it is where the UART says `read`, which with each byte that is read
    /// takes back what it said of the others.
    fn identified(&self, read: u8) -> u8 {
        let uart = self.uart.state();
        let received = !uart.in_buffer.is_empty() && uart.interrupt_enable & ENABLE_RECEIVED != 0;
        match received && read & NONE_PENDING != 0 {
            true => read & !NONE_PENDING | RECEIVED,
            false => read,
        }
    }

    fn feed(&mut self) {
        let room = self.uart.fifo_capacity().min(self.input.len());
        if room > 0 {
            let chunk: Vec<u8> = self.input.iter().take(room).copied().collect();
            // In loopback mode the UART takes nothing; the bytes stay and follow later.
            if let Ok(taken) = self.uart.enqueue_raw_bytes(&chunk) {
                self.input.drain(..taken);
            }
        }
    }
}

impl<W: Write + Send> BusDevice for SerialPort<W> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        data[0] = self.uart.read(offset as u8);
        match offset {
            DATA => self.feed(),
            IDENTIFICATION => data[0] = self.identified(data[0]),
            _ => {}
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Err(error) = self.uart.write(offset as u8, data[0]) {
            tracing::debug!(%error, "serial write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::FakeLine;

    #[test]
    fn printed_bytes_come_out_and_the_transmitter_interrupts() {
        let line = Arc::new(FakeLine::default());
        let mut port = SerialPort::new(line.clone(), Vec::new());
        port.write(1, &[0x02]); // THR-empty interrupt on
        for (sent, byte) in b"hello".iter().enumerate() {
            assert_eq!(
                line.rises(),
                sent + 1,
                "user space's first write to the console never ends without it"
            );
            port.read(2, &mut [0]); // the driver identifies the interrupt
            port.write(0, &[*byte]);
        }
        assert_eq!(port.uart.writer(), b"hello");
    }

    #[test]
    fn input_longer_than_the_fifo_arrives_whole_and_in_order() {
        let mut port = SerialPort::new(Arc::new(FakeLine::default()), Vec::new());
        port.write(1, &[0x01]);
        let text: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        assert_eq!(port.type_bytes(&text), text.len());
        let mut got = Vec::new();
        let mut byte = [0];
        loop {
            port.read(5, &mut byte);
            if byte[0] & 1 == 0 {
                break;
            }
            port.read(0, &mut byte);
            got.push(byte[0]);
        }
        assert_eq!(got, text);
    }

    #[test]
    fn a_driver_that_reads_so_many_at_a_time_is_told_of_the_rest() {
        for length in 1..700 {
            let mut port = SerialPort::new(Arc::new(FakeLine::default()), Vec::new());
            port.write(1, &[ENABLE_RECEIVED]);
            port.type_bytes(&vec![b'x'; length]);
            let mut register = |offset| {
                let mut value = [0];
                port.read(offset, &mut value);
                value[0]
            };
            let mut got = 0;
            // As Linux does: until no interrupt is pending, and at most 256 bytes for each.
            while register(IDENTIFICATION) & NONE_PENDING == 0 {
                for _ in 0..256 {
                    register(DATA);
                    got += 1;
                    if register(5) & 1 == 0 {
                        break;
                    }
                }
            }
            assert_eq!(got, length);
            assert_eq!(
                register(IDENTIFICATION),
                0xc1,
                "nothing is left, and it has a FIFO"
            );
        }
    }

    #[test]
    fn an_offer_takes_what_the_fifo_holds_and_no_more() {
        let mut port = SerialPort::new(Arc::new(FakeLine::default()), Vec::new());
        let text: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        let taken = port.offer(&text);
        assert!((1..=64).contains(&taken), "{taken}");
        assert_eq!(port.offer(&text[taken..]), 0);
        assert_eq!(
            port.save().fifo,
            text[..taken],
            "what is pending is part of the state"
        );
        let mut byte = [0];
        port.read(0, &mut byte);
        assert_eq!((byte[0], port.offer(&text[taken..])), (0, 1));
        assert_eq!(port.offer(b""), 0);
    }

    #[test]
    fn unread_input_is_bounded() {
        let mut port = SerialPort::new(Arc::new(FakeLine::default()), Vec::new());
        let flood = vec![b'x'; 2 * MAX_PENDING_INPUT];
        let taken = port.type_bytes(&flood);
        assert!(taken < flood.len());
        assert!(port.type_bytes(&flood) <= 64);
    }
}
