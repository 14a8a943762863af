//! Uploads of blobs: a POST, one PATCH with all bytes, and a PUT with the digest, as engines do it. Registries differ in
//! what else they take: Amazon's wants parts of 5 MiB at least, if there are several.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use url::Url;

use crate::{
    Digest, RegistryError,
    authorization::Scope,
    image_name::image,
    manifest::Descriptor,
    message::header,
    place::Pieces,
    transport::{ANSWER, Ask, Transport},
};

/// Takes a blob from another repository of the registry, without moving its bytes. Returns whether that was possible.
pub async fn mount(
    transport: &Transport,
    repository: &str,
    from: &str,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    let what = image(repository, &digest.to_string());
    let mut url = transport.url(&format!("{repository}/blobs/uploads/")).await?;
    url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
    let scope = Scope::push(repository);
    let ask = Ask { method: "POST", url, scope: &scope, headers: Vec::new(), body: Bytes::new(), what: &what };
    match transport.ask(&ask).await {
        Ok(answer) if answer.status().as_u16() == 201 => Ok(true),
        // It began an upload instead, which ends by itself, or refused: the bytes are sent.
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a blob. It is stored only if its digest is right.
pub async fn blob(
    transport: &Transport,
    repository: &str,
    blob: &Descriptor,
    pieces: Pieces,
) -> Result<(), RegistryError> {
    let what = image(repository, &blob.digest.to_string());
    let scope = Scope::push(repository);
    let url = transport.url(&format!("{repository}/blobs/uploads/")).await?;
    let ask = Ask { method: "POST", url, scope: &scope, headers: Vec::new(), body: Bytes::new(), what: &what };
    let begun = transport.ask(&ask).await?;
    let at = match begun.status().as_u16() {
        202 => location(transport, &ask.url, &begun, &what)?,
        _ => return Err(transport.refusal(begun, &what).await),
    };
    let (sent, progress) = watch::channel(0);
    let body = SdkBody::from_body_1_x(Sending { pieces, left: blob.size, sent });
    let sending = transport.send("PATCH", &at, &scope, body, &what);
    let answer = tokio::select! {
        answer = sending => answer?,
        () = stalled(progress) => return Err(transport.unreachable(&what, "it takes no more bytes")),
    };
    let mut end = match answer.status().as_u16() {
        200..=202 | 204 => location(transport, &at, &answer, &what)?,
        _ => return Err(transport.refusal(answer, &what).await),
    };
    end.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
    let ask = Ask { method: "PUT", url: end, scope: &scope, headers: Vec::new(), body: Bytes::new(), what: &what };
    let answer = transport.ask(&ask).await?;
    match answer.status().as_u16() {
        200..=202 | 204 => Ok(()),
        _ => Err(transport.refusal(answer, &what).await),
    }
}

/// Ends when no byte was sent for long, and long after the last one.
async fn stalled(mut progress: watch::Receiver<u64>) {
    // A registry may hash what it has received before it answers.
    const LAST: Duration = Duration::from_secs(900);
    loop {
        match tokio::time::timeout(ANSWER, progress.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return tokio::time::sleep(LAST).await,
            Err(_) => return,
        }
    }
}

fn location(transport: &Transport, at: &Url, answer: &HttpResponse, what: &str) -> Result<Url, RegistryError> {
    let location = header(answer.headers(), "location");
    let location = location.ok_or_else(|| transport.refused(what, "it does not say where the upload goes on"))?;
    at.join(&location).map_err(|cause| transport.refused(what, cause))
}

/// The body of a PATCH. It fails if the pieces end early, so that no registry takes a part for the whole.
struct Sending {
    pieces: Pieces,
    left: u64,
    sent: watch::Sender<u64>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let refuse = |why: &str| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why.to_owned()))));
        match self.pieces.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => refuse("the blob ended early"),
            Poll::Ready(Some(piece)) if piece.len() as u64 > self.left => refuse("the blob is too long"),
            Poll::Ready(Some(piece)) => {
                self.left -= piece.len() as u64;
                self.sent.send_modify(|sent| *sent += piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
