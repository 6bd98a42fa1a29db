//! What a client is told instead of, or together with, what the API server says.

use std::convert::Infallible;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

/// A body that can break off.
pub(super) type Body = UnsyncBoxBody<Bytes, Reset>;

/// Ends the connection at once: the client sees a reset.
#[derive(Debug)]
pub(super) struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl std::error::Error for Reset {}

/// The pieces that a dripping answer comes in.
const PIECES: usize = 20;

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A refusal as the API server words it.
pub(super) fn status(code: StatusCode, reason: &str, message: &str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(status_object(code, reason, message).to_string())));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
    response
}

fn status_object(code: StatusCode, reason: &str, message: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    })
}

/// A refusal by something in between, which does not speak Kubernetes.
pub(super) fn text(code: StatusCode, words: &'static str, retry_after: Option<u16>) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(words.as_bytes())));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("a header value"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// What a watch says before it ends because its history is gone.
pub(super) fn gone_event() -> Bytes {
    let object = status_object(StatusCode::GONE, "Expired", "too old resource version: 1 (2)");
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": object})))
}

/// The same bytes in small pieces, with a pause before each.
pub(super) fn drip(bytes: Bytes, dice: u64) -> Body {
    let pause = Duration::from_millis(20 + dice % 60);
    let size = bytes.len().div_ceil(PIECES).max(1);
    let pieces: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    streamed(stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(piece)
    }))
}

/// A body of which each piece is sent as it comes.
pub(super) fn streamed(pieces: impl Stream<Item = Result<Bytes, Reset>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}
