//! A run that happens in another process: its events come out here.
//!
//! Input: events there, as lines on the process's standard output: MessagePack, which keeps bytes apart from
//! lists, in hexadecimal digits. Output: the same events here, for
//! the reports of this process; what it writes to its standard error. Not here: the process, which is the
//! emulated host's.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use provium_base::events::{Event, HostEvent, Sink};
use provium_emulated::Streams;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::report::Output;

/// Writes each event as a line.
pub(super) struct Sending(pub(super) Arc<Output>);

impl Sending {
    /// Sends to `output`. What another start of the process has left unfinished there ends here.
    pub(super) fn begin(output: Arc<Output>) -> Sending {
        output.write("\n");
        Sending(output)
    }
}

impl Sink for Sending {
    fn event(&self, event: &Event) {
        self.0.write(&line(event));
    }
}

/// The event as a line; nothing for one with a path that is not UTF-8, which only events that explain a wait
/// have.
pub(super) fn line(event: &Event) -> String {
    let bytes = rmp_serde::to_vec_named(event).unwrap_or_default();
    let mut line = String::with_capacity(2 * bytes.len() + 1);
    for byte in &bytes {
        line.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    if !line.is_empty() {
        line.push('\n');
    }
    line
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The event that a line is, if it is one.
fn parse(line: &[u8]) -> Option<Event> {
    let digit = |digit: &u8| DIGITS.iter().position(|known| known == digit);
    let (pairs, rest) = line.as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8));
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    rmp_serde::from_slice(&bytes).ok().filter(|_| rest.is_empty())
}

/// Is given a line that is no event: what the process says beside, or the rest of one that was cut off.
pub(super) type Others = dyn Fn(&[u8]) + Send;

/// The other end: threads that read what the process sends.
pub(super) struct Receiving(Vec<JoinHandle<()>>);

impl Receiving {
    /// Streams for a process whose events go to `sink` and whose other words go to `stderr`; `others` is
    /// given lines between the events that are none.
    ///
    /// # Errors
    /// When pipes cannot be made or threads not be started.
    pub(super) fn begin(
        sink: Arc<dyn Sink>,
        stderr: Arc<Output>,
        others: Box<Others>,
    ) -> io::Result<(Streams, Receiving)> {
        let (events, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (said, its_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let threads = vec![
            thread::Builder::new()
                .name("events".into())
                .spawn(move || tell(events, &*sink, &others))?,
            thread::Builder::new()
                .name("stderr".into())
                .spawn(move || say(said, &stderr))?,
        ];
        let streams = Streams {
            stdin: None,
            stdout,
            stderr: its_stderr,
        };
        Ok((streams, Receiving(threads)))
    }

    /// Waits until all that was sent is told, once the streams are closed.
    pub(super) fn end(self) {
        for thread in self.0 {
            let _ = thread.join();
        }
    }
}

/// Tells of each event.
pub(super) fn tell(events: OwnedFd, sink: &dyn Sink, others: &Others) {
    for line in BufReader::new(File::from(events)).split(b'\n') {
        let Ok(line) = line else { return };
        match parse(&line) {
            Some(event) => sink.event(&event),
            None => others(&line),
        }
    }
}

/// Shows what the process says beside its events.
pub(super) fn say(said: OwnedFd, output: &Output) {
    let (mut said, mut bytes, mut line) = (File::from(said), vec![0; 16 << 10], Vec::new());
    loop {
        match said.read(&mut bytes) {
            Ok(0) => return output.write(&super::stderr::whole_lines(&mut line, true)),
            Ok(len) => {
                line.extend_from_slice(&bytes[..len]);
                output.write(&super::stderr::whole_lines(&mut line, false));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Passes events on and makes the times of a run the user's own.
pub(super) struct UsersTime {
    sink: Arc<dyn Sink>,
    /// When the user began to wait.
    began: Mutex<Instant>,
    /// Since when the emulated host starts, and how long it has taken to before.
    start: Mutex<(Option<Instant>, Duration)>,
}

impl UsersTime {
    /// For a run that the user has waited for since `began`.
    pub(super) fn new(sink: Arc<dyn Sink>, began: Instant) -> UsersTime {
        UsersTime {
            sink,
            began: Mutex::new(began),
            start: Mutex::default(),
        }
    }
}

impl UsersTime {
    /// Begins another run, for which the user waits since `began`.
    pub(super) fn begin(&self, began: Instant) {
        *self.began.lock() = began;
        *self.start.lock() = (None, Duration::ZERO);
    }

    /// Gives it an event of any of the kinds there are.
    pub(super) fn emit(&self, event: impl Into<Event>) {
        self.event(&event.into());
    }
}

impl Sink for UsersTime {
    fn event(&self, event: &Event) {
        match event {
            Event::Host(HostEvent::Preparing { .. } | HostEvent::Starting { .. }) => {
                self.start.lock().0.get_or_insert_with(Instant::now);
            }
            Event::Host(HostEvent::Running { .. }) => {
                let mut start = self.start.lock();
                let took = start.0.take().map_or(Duration::ZERO, |since| since.elapsed());
                start.1 += took;
            }
            Event::RunEnded(summary) => {
                let mut summary = *summary;
                summary.elapsed = self.began.lock().elapsed();
                summary.host_start = self.start.lock().1;
                return self.sink.event(&Event::RunEnded(summary));
            }
            _ => {}
        }
        self.sink.event(event);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use provium_base::events::Recorder;
    use provium_base::meta::{Meta, MetaValue};
    use provium_base::outcome::Summary;

    use super::*;

    #[test]
    fn events_arrive_whatever_was_cut_off_before_them() {
        let heard = Recorder::default();
        let output = Arc::new(Output::new(Box::new(io::sink()), None));
        let (streams, receiving) =
            Receiving::begin(Arc::new(heard.clone()), output, Box::new(|_| {})).expect("pipes");
        let mut torn = File::from(streams.stdout.try_clone().expect("a descriptor"));
        torn.write_all(b"81ab72756e5f").expect("it is read");
        let events = [
            Event::RunStarted { files: 3 },
            Event::TestStarted {
                path: "a".into(),
                test: "line\nbreak".into(),
                meta: Meta::from([
                    ("list".to_owned(), MetaValue::Array(vec![MetaValue::Int(255)])),
                    ("bytes".to_owned(), MetaValue::Binary(vec![255].into())),
                ]),
            },
            Event::RunEnded(Summary::default()),
        ];
        let sending = Sending::begin(Arc::new(Output::new(Box::new(torn), None)));
        for event in &events {
            sending.event(event);
        }
        drop((sending, streams));
        receiving.end();
        assert_eq!(heard.take(), events);
    }

    #[test]
    fn the_time_of_a_run_has_the_start_of_the_emulated_host_in_it() {
        let heard = Recorder::default();
        let began = Instant::now()
            .checked_sub(Duration::from_secs(60))
            .expect("a machine up for a minute");
        let timed = UsersTime::new(Arc::new(heard.clone()), began);
        timed.start.lock().0 = Instant::now().checked_sub(Duration::from_secs(20));
        let sink: &dyn Sink = &timed;
        sink.emit(HostEvent::Running {
            after: Duration::from_secs(1),
        });
        sink.emit(Event::RunEnded(Summary::default()));
        let Some(Event::RunEnded(summary)) = heard.take().pop() else {
            panic!("the run has not ended");
        };
        assert_eq!(
            (summary.elapsed.as_secs(), summary.host_start.as_secs()),
            (60, 20)
        );
    }
}
