//! What can be asked of any agent, a VM's own or a worker's.
//!
//! Input: a userdata behind which an agent answers. Output: answers, in the words of the call that asks. Not
//! here: the methods that all remotes share, which `tables` puts together; and how the agent is reached,
//! which each kind has.

use std::rc::Rc;

use provium_guest::{GuestClient, GuestError};

use crate::lua::api::binding::Kind;
use crate::lua::api::call::Call;
use crate::lua::api::raise::Raise;
use crate::lua::objects::agent::{self, Agent};

/// A userdata behind which an agent answers.
pub(crate) trait Remote: Kind {
    /// Whether it answers in the classic dialect where the two dialects contradict each other.
    fn is_classic(&self) -> bool;

    /// The agent that answers.
    fn agent(&self) -> Rc<dyn Agent>;

    /// Asks the agent a question; the error is in the words of the call.
    fn ask<R>(
        &self,
        call: &Call<'_>,
        question: impl FnOnce(&mut GuestClient) -> Result<R, GuestError>,
    ) -> Result<R, Raise> {
        agent::ask(&*self.agent(), call, question)
    }
}
