//! Streams of unknown length: stored while they are produced, and read back in ranges.
//!
//! The head of a stream comes first in its object, but is known only at its end. So the first part of a multipart upload
//! is held back and sent last, see [`put_stream`]. Nothing is visible in the vault before the whole is.

mod cut;
mod payload;
mod plan;
mod put;
mod ranges;
#[cfg(test)]
mod tests;

pub use payload::{Closed, Ending, Payload, PayloadSender, PayloadWriter, payload};
pub use plan::StreamSizes;
pub use put::{StreamUpload, put_stream};
pub use ranges::Ranges;
