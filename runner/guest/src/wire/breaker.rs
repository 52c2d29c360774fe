//! A way to break off a request that is under way, for a thread that is not the one that waits for it.
//!
//! Input: begins and ends of requests, a wish to break off. Output: the connection hung up, if the request
//! that was under way has not ended by itself within a moment. Not here: why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::stream::Connection;

/// A handle that breaks off requests of one session; clones are of the same.
#[derive(Clone)]
pub(crate) struct Breaker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// Another handle of the session's connection; `None` where that has none.
    connection: Option<Box<dyn Connection>>,
    /// Number of the last request.
    number: u64,
    under_way: bool,
}

/// A request under way.
pub(crate) struct UnderWay {
    breaker: Breaker,
    number: u64,
}

impl Breaker {
    /// One for the session on this connection.
    pub(crate) fn new(connection: &dyn Connection) -> Breaker {
        Breaker(Arc::new(Shared {
            state: Mutex::new(State {
                connection: connection.try_clone().ok(),
                number: 0,
                under_way: false,
            }),
            ended: Condvar::new(),
        }))
    }

    /// Begins a request.
    pub(crate) fn begin(&self) -> UnderWay {
        let mut state = self.0.state.lock();
        state.number += 1;
        state.under_way = true;
        UnderWay {
            breaker: self.clone(),
            number: state.number,
        }
    }

    /// Breaks off the request of this number, unless it ends within `grace`; returns whether it did.
    fn break_off(&self, number: u64, grace: Duration) -> bool {
        let until = Instant::now() + grace;
        let mut state = self.0.state.lock();
        let busy = |state: &mut State| state.under_way && state.number == number;
        let late =
            self.0
                .ended
                .wait_while_for(&mut state, busy, until.saturating_duration_since(Instant::now()));
        if !late.timed_out() {
            return false;
        }
        // Under the lock, so that no other request begins before it.
        if let Some(connection) = &state.connection {
            connection.hang_up();
        }
        true
    }
}

impl UnderWay {
    /// A function that breaks this request off, unless it ends within `grace`.
    pub(crate) fn breaks_off(&self, grace: Duration) -> impl Fn() -> bool + Send + Sync + 'static {
        let (breaker, number) = (self.breaker.clone(), self.number);
        move || breaker.break_off(number, grace)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.breaker.0.state.lock().under_way = false;
        self.breaker.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_a_request_that_goes_on_is_broken_off() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let breaker = Breaker::new(&ours);
        let first = breaker.begin();
        let breaks_off = first.breaks_off(Duration::from_millis(1));
        drop(first);
        assert!(!breaks_off());
        let second = breaker.begin();
        assert!(!breaks_off(), "another is under way");
        let breaks_off = second.breaks_off(Duration::from_millis(1));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&ours).read(&mut [0; 1]).unwrap());
            assert!(breaks_off());
            assert_eq!(reader.join().unwrap(), 0);
        });
    }
}
