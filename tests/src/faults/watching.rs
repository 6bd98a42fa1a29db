//! The answer to a watch, which goes on until something ends it.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube::client::Body as Upstream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Reset, gone_event};
use super::plan::Fault;

/// How long a watch that is to be cut in the middle of an event waits for one.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Passes a watch on and breaks it as its fault says; `unrest` ends every watch.
pub(super) fn pass_on(
    upstream: Upstream,
    fault: Option<(Fault, u64)>,
    mut unrest: watch::Receiver<u64>,
) -> impl Stream<Item = Result<Bytes, Reset>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            // Nobody listens any more; with this task the upstream's watch ends as well.
            () = sender.closed() => {}
            _ = unrest.changed() => {}
            () = passing(upstream, fault, &sender) => {}
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

async fn passing(
    upstream: Upstream,
    fault: Option<(Fault, u64)>,
    sender: &mpsc::Sender<Result<Bytes, Reset>>,
) {
    let mut pieces = upstream.into_data_stream().map(|piece| piece.map_err(|_| Reset));
    let (end, dice) = match fault {
        Some((Fault::Cut | Fault::Gone, dice)) => {
            (Some(Instant::now() + Duration::from_millis(50 + dice % 1950)), dice / 1950)
        }
        Some((_, dice)) => (None, dice),
        None => (None, 0),
    };
    let over = async {
        match end {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => break,
            piece = pieces.next() => match piece {
                // The receiver is gone only with the client.
                Some(Ok(piece)) => send_slowly(piece, fault, sender).await,
                Some(Err(reset)) => return drop(sender.send(Err(reset)).await),
                None => return,
            },
        }
    }
    if matches!(fault, Some((Fault::Gone, _))) {
        return drop(sender.send(Ok(gone_event())).await);
    }
    if dice % 2 == 0 {
        return;
    }
    if let Ok(Some(Ok(piece))) = tokio::time::timeout(LAST_WORD, pieces.next()).await {
        drop(sender.send(Ok(piece.slice(..piece.len() / 2))).await);
    }
    drop(sender.send(Err(Reset)).await);
}

async fn send_slowly(piece: Bytes, fault: Option<(Fault, u64)>, sender: &mpsc::Sender<Result<Bytes, Reset>>) {
    let Some((Fault::Drip, dice)) = fault else { return drop(sender.send(Ok(piece)).await) };
    for part in piece.chunks(piece.len().div_ceil(4).max(1)) {
        sleep(Duration::from_millis(10 + dice % 40)).await;
        drop(sender.send(Ok(Bytes::copy_from_slice(part))).await);
    }
}
