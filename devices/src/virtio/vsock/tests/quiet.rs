//! What the device does not say, and what it says without being asked: notifications kept back, kicks that
//! need not come, registers that are read without it.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::*;
use crate::virtio::page::RegisterPage;
use crate::virtio::registers::status;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<HashMap<u64, u32>>>);

impl RegisterPage for Page {
    fn show(&self, offset: u64, value: u32) {
        self.0.lock().insert(offset, value);
    }
}

/// A guest with a connection, whose device is on a page of registers: each interrupt is an edge.
fn on_page() -> (Vsock, Guest, VsockStream, VsockListener, Page) {
    let (vsock, line, page) = (Vsock::new(CID), Arc::new(FakeLine::default()), Page::default());
    let transport = MmioTransport::new(Box::new(vsock.clone()), ram(), line.clone());
    let mut driver = FakeDriver::new(transport.on_page(Box::new(page.clone())));
    driver.set_up(F_VERSION_1 | F_EVENT_IDX);
    let mut guest = Guest {
        driver,
        line,
        next_tx: 0,
        inbox: VecDeque::new(),
    };
    for id in 0..RX_BUFFERS {
        guest.driver.offer(0, id, Err(BUFFER_SIZE));
    }
    guest.driver.kick(0);
    let listener = vsock.listen(70).unwrap();
    guest.say(70, 1000, op::REQUEST);
    let stream = listener.accept(Some(SOON)).unwrap();
    guest.expect(op::RESPONSE);
    (vsock, guest, stream, listener, page)
}

impl Guest {
    /// Offers a packet and kicks if the device wants it; whether it did.
    fn send_like_linux(&mut self, guest: u32, op: u16, payload: &[u8]) -> bool {
        let header = Header {
            len: payload.len() as u32,
            ..self.header(70, guest, op)
        };
        let bytes = [&header.to_bytes()[..], payload].concat();
        self.driver.offer(1, self.next_tx % 256, Ok(&bytes));
        self.next_tx = self.next_tx.wrapping_add(1);
        let kicks = self.driver.is_to_kick(1);
        if kicks {
            self.driver.kick(1);
        }
        kicks
    }
}

#[test]
fn buffers_that_came_back_are_told_together_or_with_the_next_packet() {
    let (_vsock, mut guest, mut stream, _listener, _page) = on_page();
    let mut rises = guest.line.rises();
    let mut since = |guest: &Guest| {
        let before = std::mem::replace(&mut rises, guest.line.rises());
        rises - before
    };
    for _ in 0..7 {
        guest.say(70, 1000, op::CREDIT_UPDATE);
    }
    assert_eq!(since(&guest), 0, "seven are kept back");
    guest.say(70, 1000, op::CREDIT_UPDATE);
    assert_eq!(since(&guest), 1, "eight are told");
    for _ in 0..5 {
        guest.say(70, 1000, op::CREDIT_UPDATE);
    }
    stream.write_all(b"news").unwrap();
    assert_eq!(since(&guest), 1, "one interrupt for both queues");
    guest.expect(op::RW);
    for _ in 0..7 {
        guest.say(70, 1000, op::CREDIT_UPDATE);
    }
    assert_eq!(since(&guest), 0, "they are counted anew");
}

#[test]
fn what_is_kept_back_is_told_before_a_save() {
    let (_vsock, mut guest, _stream, _listener, _page) = on_page();
    guest.driver.transport().settle();
    let before = guest.line.rises();
    assert!(guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]));
    assert_eq!(guest.line.rises(), before);
    guest.driver.transport().settle();
    assert_eq!(guest.line.rises(), before + 1);
    guest.driver.transport().settle();
    assert_eq!(guest.line.rises(), before + 1, "once");
}

#[test]
fn what_is_kept_back_is_told_when_the_reader_waits_long() {
    let (_vsock, mut guest, mut stream, _listener, _page) = on_page();
    guest.driver.transport().settle();
    let before = guest.line.rises();
    assert!(guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]));
    let line = Arc::clone(&guest.line);
    let reader = std::thread::spawn(move || stream.read(&mut [0]));
    let deadline = Instant::now() + SOON;
    while line.rises() == before {
        assert!(
            Instant::now() < deadline,
            "a driver that waits for its buffer waits for ever"
        );
        std::thread::yield_now();
    }
    guest.say(70, 1000, op::RST);
    reader.join().unwrap().unwrap_err();
}

#[test]
fn a_request_is_answered_with_one_kick() {
    let (_vsock, mut guest, mut stream, _listener, _page) = on_page();
    stream.set_read_timeout(Some(SOON));
    for _ in 0..3 {
        stream.ask();
        stream.write_all(b"how much?").unwrap();
        guest.expect(op::RW);
        assert!(!guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]));
        assert!(guest.send_like_linux(1000, op::RW, b"so much"));
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"so much");
    }
    assert!(
        guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]),
        "what comes by itself comes with a kick"
    );
}

#[test]
fn an_answer_for_which_nobody_kicked_is_found() {
    let (_vsock, mut guest, mut stream, _listener, _page) = on_page();
    stream.set_read_timeout(Some(SOON));
    stream.ask();
    stream.write_all(b"how much?").unwrap();
    guest.expect(op::RW);
    assert!(!guest.send_like_linux(1000, op::RW, b"so much"));
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"so much");
    assert!(guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]));
}

#[test]
fn whoever_asks_and_goes_leaves_nothing_unread() {
    let (_vsock, mut guest, mut stream, listener, _page) = on_page();
    guest.say(70, 1001, op::REQUEST);
    let mut other = listener.accept(Some(SOON)).unwrap();
    guest.expect(op::RESPONSE);
    stream.ask();
    stream.write_all(b"how much?").unwrap();
    guest.expect(op::RW);
    assert!(!guest.send_like_linux(1001, op::RW, b"else"));
    drop(stream);
    other.set_read_timeout(Some(SOON));
    let mut answer = [0; 4];
    other.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"else");
}

#[test]
fn a_reader_of_a_driver_that_never_stops_sending_still_ends_in_time() {
    let (_vsock, mut guest, mut stream, _listener, _page) = on_page();
    for _ in 0..256 {
        guest.send_like_linux(1000, op::CREDIT_UPDATE, &[]);
    }
    stream.set_read_timeout(Some(MOMENT));
    guest.driver.keep_full(1, |_| {
        stream.ask();
        stream.write_all(b"how much?").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn the_page_shows_what_the_registers_are() {
    let (_vsock, guest, _stream, _listener, page) = on_page();
    let shown = |offset: u64| page.0.lock()[&offset];
    let all = |guest: &Guest| {
        for offset in (0..reg::CONFIG + 8).step_by(4) {
            assert_eq!(shown(offset), guest.driver.read(offset), "register {offset:#x}");
        }
    };
    all(&guest);
    assert_eq!((shown(reg::CONFIG), shown(reg::INTERRUPT_STATUS)), (CID, 1));
    for queue in [0, 1, 2, 3] {
        guest.driver.write(reg::QUEUE_SEL, queue);
        all(&guest);
    }
    let saved = guest.driver.transport().save();
    guest.driver.write(reg::STATUS, 0);
    assert_eq!(shown(reg::STATUS), 0);
    all(&guest);
    guest.driver.transport().restore(&saved).unwrap();
    assert_ne!(shown(reg::STATUS) & status::DRIVER_OK, 0);
    all(&guest);
}
