//! Output of a program, put together from the pieces that come on several ways.
//!
//! Input: pieces with the place they have in the whole, from waiting for the program and from the streams of
//! its output, in any order and more than once. Output: the program's output from its first byte on, without
//! gaps. Not here: how much is kept of all programs together, which `budget` says; an output that does not
//! fit any more has an error in its place.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use provium_base::units::LONGEST;
use provium_guest::{Connection, FollowStream, GuestError, OutputChunk, StreamRead};

use super::budget::{Budget, Room};

/// Standard output, then standard error.
pub(crate) const OUTPUTS: usize = 2;

/// Time limit for a guest to end a stream of output that nobody wants any more.
const PARTING: Duration = Duration::from_secs(2);

/// Memory that a piece behind a gap takes beside its bytes.
const PIECE: u64 = 64;

/// Both outputs of a program, as far as they have come.
pub(crate) struct Capture {
    outputs: Mutex<[Output; OUTPUTS]>,
    changed: Condvar,
    budget: Arc<Budget>,
}

/// One output of a program.
struct Output {
    room: Room,
    /// The output from its first byte on, without a gap.
    whole: Vec<u8>,
    /// Pieces that lie behind a gap.
    ahead: BTreeMap<u64, Vec<u8>>,
    /// Whether a thread reads a stream of it.
    followed: bool,
    /// Whether no more can come.
    over: bool,
    /// Error that broke the stream of it, if one did.
    broken: Option<String>,
    /// What is said of an output of which a piece did not fit; no more is taken in.
    full: Option<String>,
}

impl Output {
    fn new(budget: &Arc<Budget>) -> Output {
        Output {
            room: budget.room(),
            whole: Vec::new(),
            ahead: BTreeMap::new(),
            followed: false,
            over: false,
            broken: None,
            full: None,
        }
    }

    /// Takes room for `bytes` more; whether there was enough.
    fn fits(&mut self, bytes: u64, most: u64) -> bool {
        let fits = self.room.take(bytes);
        if !fits {
            self.full = Some(format!(
                "the output of programs takes more than {} MiB, the most that is kept in memory of all together; \
                 send it to a file in the guest",
                most >> 20
            ));
        }
        fits
    }

    fn put(&mut self, from: u64, bytes: &[u8], most: u64) {
        let have = self.whole.len() as u64;
        match usize::try_from(have.saturating_sub(from)) {
            _ if from > have => {
                let there = self
                    .ahead
                    .get(&from)
                    .is_some_and(|ahead| ahead.len() >= bytes.len());
                // What it is counted for stays counted when the gap is closed: it is kept then, too.
                if !there && self.fits(bytes.len() as u64 + PIECE, most) {
                    self.ahead.insert(from, bytes.to_vec());
                }
            }
            Ok(known) if known < bytes.len() && self.fits((bytes.len() - known) as u64, most) => {
                self.whole.extend_from_slice(&bytes[known..]);
            }
            _ => {}
        }
    }

    /// Takes in a piece, and those that it reaches; none once a piece did not fit.
    fn add(&mut self, from: u64, bytes: &[u8], most: u64) {
        if self.full.is_some() {
            return;
        }
        self.put(from, bytes, most);
        while let Some((at, _)) = self.ahead.first_key_value()
            && *at <= self.whole.len() as u64
            && let Some((at, bytes)) = self.ahead.pop_first()
        {
            self.put(at, &bytes, most);
        }
    }
}

impl Default for Capture {
    fn default() -> Capture {
        Capture::within(Budget::of_run())
    }
}

impl Capture {
    /// Nothing so far; what comes is kept as far as there is room.
    fn within(budget: Arc<Budget>) -> Capture {
        Capture {
            outputs: Mutex::new([Output::new(&budget), Output::new(&budget)]),
            changed: Condvar::new(),
            budget,
        }
    }

    /// A copy cut to these lengths, which no thread writes to.
    pub(crate) fn cut(&self, lengths: [u64; OUTPUTS]) -> Capture {
        let outputs = self.outputs.lock();
        let copy = Capture::within(Arc::clone(&self.budget));
        for ((from, to), length) in outputs.iter().zip(copy.outputs.lock().iter_mut()).zip(lengths) {
            let length = from.whole.len().min(length as usize);
            to.add(0, &from.whole[..length], self.budget.most());
        }
        copy
    }

    /// Number of bytes of each output that are here without a gap.
    pub(crate) fn lengths(&self) -> [u64; OUTPUTS] {
        let outputs = self.outputs.lock();
        [outputs[0].whole.len() as u64, outputs[1].whole.len() as u64]
    }

    /// The bytes of each output that are here without a gap.
    pub(crate) fn so_far(&self) -> [Vec<u8>; OUTPUTS] {
        let outputs = self.outputs.lock();
        [outputs[0].whole.clone(), outputs[1].whole.clone()]
    }

    /// Takes in pieces of both outputs.
    pub(crate) fn add(&self, pieces: &[OutputChunk; OUTPUTS]) {
        let mut outputs = self.outputs.lock();
        for (output, piece) in outputs.iter_mut().zip(pieces) {
            output.add(piece.from, &piece.bytes, self.budget.most());
        }
        self.changed.notify_all();
    }

    /// Both outputs of a program that has ended. All of them was taken in but for what a stream still brings,
    /// which is waited for at most `limit`; an error says how much of an output is missing.
    pub(crate) fn finish(&self, limit: Duration) -> Result<[Vec<u8>; OUTPUTS], String> {
        let deadline = Instant::now() + limit.min(LONGEST);
        let mut outputs = self.outputs.lock();
        while outputs
            .iter()
            .any(|output| !output.ahead.is_empty() && output.followed)
        {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(&mut outputs, left);
        }
        for output in outputs.iter_mut() {
            if let Some(full) = &output.full {
                return Err(full.clone());
            }
            if let Some((at, _)) = output.ahead.first_key_value() {
                let missing = at - output.whole.len() as u64;
                return Err(format!("{missing} bytes of its output have been lost"));
            }
            output.over = true;
        }
        self.changed.notify_all();
        Ok([outputs[0].whole.clone(), outputs[1].whole.clone()])
    }

    /// The bytes of an output behind `at`, waited for at most `limit`.
    pub(crate) fn since(&self, which: usize, at: u64, limit: Duration) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + limit.min(LONGEST);
        let mut outputs = self.outputs.lock();
        loop {
            let output = &outputs[which];
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            if at < output.whole.len() {
                return Ok(output.whole[at..].to_vec());
            }
            if let Some(why) = output.full.as_ref().or(output.broken.as_ref())
                && !output.over
            {
                return Err(why.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !output.followed {
                return Ok(Vec::new());
            }
            self.changed.wait_for(&mut outputs, left);
        }
    }

    /// Whether no more can come of an output, or nobody brings it.
    pub(crate) fn is_over(&self, which: usize) -> bool {
        let output = &self.outputs.lock()[which];
        output.over || (!output.followed && output.broken.is_none() && output.full.is_none())
    }
}

/// A thread that brings a stream's bytes into a [`Capture`], until it is dropped or there can be no more.
pub(crate) struct Feeder {
    capture: Arc<Capture>,
    which: usize,
    connection: Box<dyn Connection>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Starts the thread, which brings what `stream` has of an output.
    pub(crate) fn start(
        capture: &Arc<Capture>,
        which: usize,
        mut stream: FollowStream,
    ) -> Result<Rc<Feeder>, GuestError> {
        let connection = stream.handle()?;
        let into = Arc::clone(capture);
        let thread = std::thread::Builder::new().name("provium-output".to_owned());
        into.outputs.lock()[which].followed = true;
        let feed = move || {
            let mut at = stream.offset();
            let end = loop {
                match stream.read(None) {
                    Ok(StreamRead::Bytes(bytes)) => {
                        let mut outputs = into.outputs.lock();
                        outputs[which].add(at, &bytes, into.budget.most());
                        at += bytes.len() as u64;
                        if let Some(full) = outputs[which].full.clone() {
                            break Some(full);
                        }
                    }
                    Ok(StreamRead::TimedOut) => {}
                    Ok(StreamRead::End) => break None,
                    Err(error) => break Some(error.to_string()),
                }
                into.changed.notify_all();
            };
            let mut outputs = into.outputs.lock();
            let output = &mut outputs[which];
            output.followed = false;
            output.over |= end.is_none();
            output.broken = end;
            into.changed.notify_all();
        };
        match thread.spawn(feed) {
            Ok(thread) => Ok(Rc::new(Feeder {
                capture: Arc::clone(capture),
                which,
                connection,
                thread: Some(thread),
            })),
            Err(error) => {
                capture.outputs.lock()[which].followed = false;
                Err(GuestError::Lost(error))
            }
        }
    }

    /// Whether the thread still runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // The guest counts as had what it has sent: all of that is taken in before the connection goes.
        self.connection.finish();
        let deadline = Instant::now() + PARTING;
        let mut outputs = self.capture.outputs.lock();
        while outputs[self.which].followed && Instant::now() < deadline {
            self.capture.changed.wait_for(&mut outputs, PARTING);
        }
        drop(outputs);
        self.connection.hang_up();
        if let Some(thread) = self.thread.take() {
            // It only reads and copies; a panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u64, bytes: &[u8]) -> OutputChunk {
        OutputChunk {
            from,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn pieces_make_a_whole_in_any_order() {
        let capture = Capture::default();
        for (from, bytes) in [
            (6, &b"ghi"[..]),
            (3, b"de"),
            (0, b"abcd"),
            (0, b"ab"),
            (4, b"ef"),
            (9, b""),
        ] {
            capture.add(&[piece(from, bytes), piece(0, b"x")]);
        }
        assert_eq!(capture.lengths(), [9, 1]);
        let [out, err] = capture.finish(Duration::ZERO).unwrap();
        assert_eq!((out, err), (b"abcdefghi".to_vec(), b"x".to_vec()));
        assert_eq!(capture.since(0, 7, Duration::ZERO).unwrap(), b"hi");
        assert!(capture.is_over(0));
    }

    #[test]
    fn what_is_missing_is_told() {
        let capture = Capture::default();
        capture.add(&[piece(0, b"ab"), piece(0, b"")]);
        capture.add(&[piece(5, b"f"), piece(0, b"")]);
        let error = capture.finish(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error, "3 bytes of its output have been lost");
        let cut = capture.cut([1, 0]);
        assert_eq!(cut.lengths(), [1, 0]);
        cut.add(&[piece(1, b"z"), piece(0, b"")]);
        assert_eq!(cut.finish(Duration::ZERO).unwrap()[0], b"az");
    }

    #[test]
    fn what_does_not_fit_breaks_the_output_wherever_it_lies() {
        let budget = Budget::new(300);
        let add = |capture: &Capture, from: u64, len: usize| {
            capture.add(&[piece(from, &vec![1; len]), piece(0, b"")]);
        };
        let one = Capture::within(Arc::clone(&budget));
        add(&one, 0, 200);
        let other = Capture::within(Arc::clone(&budget));
        add(&other, 0, 101);
        let error = other.finish(Duration::ZERO).unwrap_err();
        assert!(error.contains("of all together; send it to a file"), "{error}");
        assert_eq!(other.lengths(), [0, 0]);
        assert_eq!(other.since(0, 0, Duration::ZERO), Err(error));
        // Pieces behind a gap take more than their bytes.
        let ahead = Capture::within(Arc::clone(&budget));
        add(&ahead, 7, 1);
        add(&ahead, 9, 1);
        assert!(
            ahead
                .finish(Duration::ZERO)
                .unwrap_err()
                .contains("send it to a file")
        );
        drop((one, ahead));
        let again = Capture::within(budget);
        add(&again, 0, 300);
        assert_eq!(again.finish(Duration::ZERO).unwrap()[0].len(), 300);
    }
}
