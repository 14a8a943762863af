//! A request body that streams a source and reports its progress.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
    time::Instant,
};

use crate::{Source, source::SourceReader};

const CHUNK: usize = 64 * 1024;

/// The longest wait for an answer after the last byte was handed to the kernel, which may buffer some megabytes. Beyond
/// it, the object may be stored or not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

struct Streamed {
    reader: SourceReader,
    left: u64,
    buffer: Box<[u8]>,
    sent: watch::Sender<u64>,
}

/// Returns the body, and the progress of its bytes into the connection.
pub async fn of(source: &Source) -> io::Result<(ByteStream, SendProgress)> {
    let (reader, size) = (source.open().await?, source.size());
    let (sent, receiver) = watch::channel(0);
    let streamed = Streamed { reader, left: size, buffer: vec![0; CHUNK].into(), sent };
    Ok((ByteStream::new(SdkBody::from_body_1_x(streamed)), SendProgress { size, receiver }))
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = CHUNK.min(usize::try_from(this.left).unwrap_or(CHUNK));
        let mut buffer = ReadBuf::new(&mut this.buffer[..wanted]);
        ready!(Pin::new(&mut this.reader).poll_read(cx, &mut buffer))?;
        let chunk = Bytes::copy_from_slice(buffer.filled());
        if chunk.is_empty() {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter while it was sent");
            return Poll::Ready(Some(Err(error)));
        }
        this.left -= chunk.len() as u64;
        this.sent.send_modify(|sent| *sent += chunk.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// How many bytes of a source were sent.
pub struct SendProgress {
    size: u64,
    receiver: watch::Receiver<u64>,
}

/// The whole source was sent, but no answer came.
#[derive(Debug)]
pub struct NoResponse;

impl SendProgress {
    /// Runs the request that sends the source, and reports each step.
    pub async fn drive<T>(mut self, request: impl Future<Output = T>, report: impl Fn(u64)) -> Result<T, NoResponse> {
        let mut request = pin!(request);
        let mut deadline = pin!(tokio::time::sleep_until(Instant::now() + ANSWER_TIMEOUT));
        let mut watching = true;
        loop {
            tokio::select! {
                answer = &mut request => {
                    report(*self.receiver.borrow());
                    return Ok(answer);
                }
                changed = self.receiver.changed(), if watching => {
                    watching = changed.is_ok();
                    report(*self.receiver.borrow_and_update());
                    deadline.as_mut().reset(Instant::now() + ANSWER_TIMEOUT);
                }
                () = &mut deadline, if *self.receiver.borrow() >= self.size => return Err(NoResponse),
            }
        }
    }
}

impl NoResponse {
    pub fn detail(&self) -> String {
        format!("everything was sent and no answer came within {} s", ANSWER_TIMEOUT.as_secs())
    }
}
