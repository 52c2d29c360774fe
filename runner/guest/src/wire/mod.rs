//! One session on the wire: bytes, frames and the order of requests and answers.
//!
//! Input: a connection and requests of the protocol. Output: replies and data. Not here: what a request
//! means, which `client` knows.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod exchange;
pub(crate) mod stream;
