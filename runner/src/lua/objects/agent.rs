//! Who answers for what a test has made in a guest: a VM's agent, or a worker of it.
//!
//! Input: questions of the things a test holds (a process, an open file, a stream). Output: answers, in the
//! words of the call that asks; or nothing, where a thing only wants to be gone. Not here: what the things
//! are.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use provium_base::cancel::Cancel;
use provium_guest::{Epoch, GuestClient, GuestError};

use crate::lua::api::call::Call;
use crate::lua::api::interrupt::Deadline;
use crate::lua::api::raise::Raise;
use crate::lua::state::scope::Held;

/// Time limit for a guest to let go of one thing, before it is ended itself.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// A question to an agent, asked at most once.
pub(crate) type Question<'q> = &'q mut dyn FnMut(&mut GuestClient) -> Result<(), GuestError>;

/// A process of the guest's agent that answers on a session of its own.
pub(crate) trait Agent {
    /// Asks a question; the error is in the words of the call.
    fn question(&self, call: &Call<'_>, question: Question<'_>) -> Result<(), Raise>;

    /// Asks a question for which no call waits, if the guest runs; errors are dropped.
    fn settle(&self, cancel: &Arc<Cancel>, question: Question<'_>);

    /// A further session with the same process.
    fn session(&self, call: &Call<'_>) -> Result<GuestClient, Raise>;

    /// This moment of the guest's life.
    fn now(&self) -> Epoch;

    /// Whether what was made at that moment is there now.
    fn holds(&self, moment: Epoch) -> bool;

    /// Name of the VM.
    fn vm(&self) -> String;

    /// Name of the agent in messages: "VM `a`".
    fn shown(&self) -> String;

    /// Whether the agent is gone, with everything that was made through it.
    fn is_gone(&self) -> bool;

    /// Takes a thing that has to be closed before it.
    fn outlives(&self, _thing: Weak<dyn Held>) {}
}

/// Asks a question and returns its answer.
pub(crate) fn ask<R>(
    agent: &dyn Agent,
    call: &Call<'_>,
    question: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
) -> Result<R, Raise> {
    let (mut question, mut answer) = (Some(question), None);
    agent.question(call, &mut |client| {
        if let Some(question) = question.take() {
            answer = Some(question(client)?);
        }
        Ok(())
    })?;
    answer.ok_or_else(|| call.fail(format_args!("{} was not asked", agent.shown())))
}

/// Asks a question for which no call waits, within a time limit: a guest that does not answer is ended.
pub(crate) fn settle(agent: &dyn Agent, cancel: &Arc<Cancel>, question: Question<'_>) {
    let token = cancel.child();
    // Without a thread for it there is no limit but the run's own.
    let _limit = Deadline::new(&token, SETTLE_LIMIT);
    agent.settle(&token, question);
}

/// The agent through which a thing was made, and the moment of the guest's life in which it was.
pub(crate) struct Made {
    agent: Rc<dyn Agent>,
    moment: Epoch,
    cancel: Arc<Cancel>,
}

impl Made {
    /// A thing that is made now.
    pub(crate) fn now(call: &Call<'_>, agent: Rc<dyn Agent>) -> Made {
        Made {
            moment: agent.now(),
            agent,
            cancel: Arc::clone(&call.file().job().cancel),
        }
    }

    /// The agent it was made through.
    pub(crate) fn agent(&self) -> &Rc<dyn Agent> {
        &self.agent
    }

    /// Whether the guest still has the thing: it was not reset to an earlier moment, and the agent is there.
    pub(crate) fn is_there(&self) -> bool {
        !self.agent.is_gone() && self.agent.holds(self.moment)
    }

    /// Asks a question about the thing; an error where the guest was reset or booted since.
    pub(crate) fn ask<R>(
        &self,
        call: &Call<'_>,
        question: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, Raise> {
        self.check(call)?;
        ask(&*self.agent, call, question)
    }

    /// Checks that the guest was not reset or booted since: a number of the agent's may mean another thing
    /// there.
    pub(crate) fn check(&self, call: &Call<'_>) -> Result<(), Raise> {
        match self.agent.holds(self.moment) {
            true => Ok(()),
            false => Err(call.fail(format_args!(
                "this was made before {} was booted, restored or put back; the guest of then is gone",
                self.agent.shown()
            ))),
        }
    }

    /// Asks a question about the thing for which no call waits, where the guest still has it. A guest that
    /// does not answer is ended.
    pub(crate) fn settle(&self, mut question: impl FnMut(&mut GuestClient) -> Result<(), GuestError>) {
        if self.is_there() {
            settle(&*self.agent, &self.cancel, &mut question);
        }
    }
}
