//! Streams that the agent brings: a file that grows, a descriptor.
//!
//! Input: what the agent is to follow. Output: its bytes, as a [`ByteSource`]. It is read when the test
//! reads, so that what nobody reads stays in the guest. Not here: a program's output, which is taken in at
//! once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use provium_guest::{Follow, FollowStream, StreamRead};

use super::handle::{ByteSource, Tail};
use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::raise::{Answer, one};
use crate::lua::objects::agent::Made;

/// A stream that the agent brings.
struct Followed {
    made: Made,
    stream: RefCell<Option<FollowStream>>,
    over: Cell<bool>,
    shown: String,
}

impl ByteSource for Followed {
    fn more(&self, limit: Duration) -> Result<Vec<u8>, String> {
        let mut stream = self.stream.borrow_mut();
        let Some(following) = stream.as_mut().filter(|_| !self.over.get()) else {
            return Ok(Vec::new());
        };
        match following.read(Some(limit)) {
            Ok(StreamRead::Bytes(bytes)) => Ok(bytes),
            Ok(StreamRead::TimedOut) => Ok(Vec::new()),
            Ok(StreamRead::End) => {
                self.over.set(true);
                Ok(Vec::new())
            }
            Err(error) => {
                self.over.set(true);
                Err(error.to_string())
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.get()
    }

    fn close(&self) {
        self.stream.take();
    }

    fn vm(&self) -> String {
        self.made.agent().vm()
    }

    fn is_gone(&self) -> bool {
        !self.made.is_there()
    }

    fn shown(&self) -> String {
        self.shown.clone()
    }
}

/// Opens a stream that the agent brings.
pub(crate) fn follow(call: &Call<'_>, made: Made, what: Follow, shown: String) -> Answer {
    made.check(call)?;
    let session = made.agent().session(call)?;
    let vm = made.agent().shown();
    let stream = session
        .follow(what)
        .map_err(|error| call.fail(format_args!("{vm}: {error}")))?;
    let agent = Rc::clone(made.agent());
    let tail = Tail::open(
        call,
        Box::new(Followed {
            made,
            stream: RefCell::new(Some(stream)),
            over: Cell::new(false),
            shown,
        }),
    );
    agent.outlives(tail.weak());
    one(call.lua(), tail.into_userdata(call.lua())?)
}
