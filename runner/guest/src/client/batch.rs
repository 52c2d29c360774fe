//! Several operations sent in one go, each answered by itself.
//!
//! Input: a list of [`Op`]s. Output: what each came to or failed with, in the same order; one that fails
//! stops no other. The requests go out on a thread of their own while the answers are read, so that neither
//! side waits for the other however much there is to say. Not here: requests whose answer the next one needs;
//! time limits.

use super::op::{Answer, AnswerData, Decode, Explain, Op};
use super::session::GuestClient;
use crate::error::GuestError;
use crate::wire::exchange::Pipeline;

impl GuestClient {
    /// Makes all these operations in one round trip.
    ///
    /// # Errors
    /// Only what ends the session; what one operation failed with is its own answer.
    pub fn batch<T>(
        &mut self,
        ops: impl IntoIterator<Item = Op<T>>,
    ) -> Result<Vec<Result<T, GuestError>>, GuestError> {
        let mut pipeline = Pipeline::default();
        let mut data = Vec::new();
        // How each that was sent is decoded, or why it was not.
        let mut queued = Vec::new();
        for op in ops {
            let pushed = op
                .request
                .and_then(|request| pipeline.push(request, op.body.as_deref()));
            queued.push(pushed.map(|()| {
                data.push(AnswerData::new(op.data));
                (op.decode, op.explain)
            }));
        }
        let replies = self
            .exchange
            .pipeline(pipeline, &mut |at, channel, bytes| data[at].take(channel, bytes))?;
        let mut answered = replies.into_iter().zip(data);
        let mut answer = |queued: Result<(Decode<T>, Explain), GuestError>| {
            let (decode, explain) = match queued {
                Ok(queued) => queued,
                Err(refused) => return Ok(Err(refused)),
            };
            match answered.next() {
                Some((Ok(response), data)) => {
                    let decoded = decode(Answer { response, data });
                    decoded.map(Ok).map_err(|what| self.exchange.broken(what))
                }
                Some((Err(error), _)) => Ok(Err(explain(GuestError::Op(error)))),
                None => Err(GuestError::Protocol("an answer is missing".to_owned())),
            }
        };
        queued.into_iter().map(&mut answer).collect()
    }
}
