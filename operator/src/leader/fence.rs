//! Keeps a process that leads no more from writing.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use super::clock::BootTime;
use super::terms::Terms;

/// Through which every call of the API server goes that is not about the Lease. What only reads passes
/// always. What writes passes while this process leads, has to be answered within the margin, and is
/// given up then: so nothing is on its way when the Lease runs out.
///
/// The deadline is compared with the clock each time the call makes progress, and once more when a connection
/// is about to send its body, so that a process that was frozen sends nothing when it goes on.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Writes may begin before this moment.
    until: Arc<watch::Sender<BootTime>>,
    /// How long a write may take. None: as long as it likes.
    patience: Option<Duration>,
    unanswered: Arc<Mutex<Unanswered>>,
    now: fn() -> BootTime,
}

/// The writes that began and were not answered, also those that were given up: until when each may be done.
#[derive(Debug, Default)]
struct Unanswered {
    begun: u64,
    until: HashMap<u64, BootTime>,
}

/// A write that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// It was not sent.
    #[error("this process does not lead; the one that does makes the write")]
    NotLeading,
    /// It was sent, and not answered in time.
    #[error("the API server did not answer the write within {} ms, which leadership leaves it", .0.as_millis())]
    TooLate(Duration),
}

impl Fence {
    /// For a process that has no rival: never closed.
    pub fn open() -> Self {
        Self::new(BootTime::MAX, None, BootTime::now)
    }

    /// For one that has: closed until its first term begins.
    pub fn closed(terms: Terms) -> Self {
        Self::with_clock(terms, BootTime::now)
    }

    fn with_clock(terms: Terms, now: fn() -> BootTime) -> Self {
        Self::new(BootTime::from_start(Duration::ZERO), Some(terms.margin()), now)
    }

    fn new(until: BootTime, patience: Option<Duration>, now: fn() -> BootTime) -> Self {
        Self { until: Arc::new(watch::Sender::new(until)), patience, unanswered: Arc::default(), now }
    }

    /// Lets writes begin until a moment.
    pub fn extend(&self, until: BootTime) {
        self.until.send_replace(until);
    }

    /// Lets no more writes begin.
    pub fn close(&self) {
        self.until.send_replace(BootTime::from_start(Duration::ZERO));
    }

    /// Time that is left; none when writes may not begin.
    pub fn left(&self) -> Option<Duration> {
        let left = self.until.borrow().since((self.now)());
        (!left.is_zero()).then_some(left)
    }

    /// Returns once writes may begin.
    pub async fn opened(&self) {
        let mut changes = self.until.subscribe();
        while self.left().is_none() {
            // The sender lives in this very value.
            changes.changed().await.ok();
        }
    }

    /// Returns once they may not.
    pub async fn shut(&self) {
        let mut changes = self.until.subscribe();
        while let Some(left) = self.left() {
            tokio::time::timeout(left, changes.changed()).await.ok();
        }
    }

    /// Whether a write may still be on its way: it was not answered, and its time is not up.
    pub fn is_in_doubt(&self) -> bool {
        let now = (self.now)();
        self.unanswered().until.values().any(|until| *until > now)
    }

    /// When a write that begins now has to be answered, and by which number it is then known.
    fn begin(&self) -> Result<(BootTime, u64), Fenced> {
        let now = (self.now)();
        let until = self.patience.map_or(BootTime::MAX, |patience| now.after(patience));
        let mut unanswered = self.unanswered();
        // Looked at under the lock: whoever closes the fence and then asks for doubts misses none.
        if *self.until.borrow() <= now {
            return Err(Fenced::NotLeading);
        }
        unanswered.begun += 1;
        let number = unanswered.begun;
        if self.patience.is_some() {
            unanswered.until.retain(|_, until| *until > now);
            unanswered.until.insert(number, until);
        }
        Ok((until, number))
    }

    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Layer<S> for Fence {
    type Service = FencedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FencedService { inner, fence: self.clone() }
    }
}

/// A client's way to the API server behind a [`Fence`].
#[derive(Clone)]
pub struct FencedService<S> {
    inner: S,
    fence: Fence,
}

impl<S> fmt::Debug for FencedService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FencedService").field("fence", &self.fence).finish_non_exhaustive()
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<S, B> Service<Request<B>> for FencedService<S>
where
    S: Service<Request<FencedBody<B>>, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answer<S::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let now = self.fence.now;
        let until_end = |until| move |inner| FencedBody { inner, until, now };
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Box::pin(self.inner.call(request.map(until_end(BootTime::MAX))));
        }
        let (until, number) = match self.fence.begin() {
            Ok(begun) => begun,
            Err(refusal) => return Box::pin(std::future::ready(Err(refusal.into()))),
        };
        let mut request = request.map(until_end(until));
        let Some(patience) = self.fence.patience else { return Box::pin(self.inner.call(request)) };
        // The API server gives up then as well.
        if let Some(uri) = with_timeout(request.uri(), patience) {
            *request.uri_mut() = uri;
        }
        let call = self.inner.call(request);
        let fence = self.fence.clone();
        Box::pin(async move {
            let mut call = std::pin::pin!(call);
            let guarded = std::future::poll_fn(move |context| {
                // Not even a retry or a half-written request goes on after the deadline.
                if now() >= until { Poll::Ready(None) } else { call.as_mut().poll(context).map(Some) }
            });
            match tokio::time::timeout(patience, guarded).await {
                Ok(Some(Ok(answer))) => {
                    fence.unanswered().until.remove(&number);
                    Ok(answer)
                }
                // The connection may have broken after the write was sent.
                Ok(Some(Err(error))) => Err(error),
                Ok(None) | Err(_) => Err(Fenced::TooLate(patience).into()),
            }
        })
    }
}

/// What a request sends. A connection asks for it when it writes, which is another task's work and may be long
/// after the call was made; without it the API server does nothing.
#[derive(Debug)]
pub struct FencedBody<B> {
    inner: B,
    until: BootTime,
    now: fn() -> BootTime,
}

impl<B> Body for FencedBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if (self.now)() >= self.until {
            return Poll::Ready(Some(Err(Fenced::NotLeading.into())));
        }
        Pin::new(&mut self.inner).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The request's address with the API server's own time-out.
fn with_timeout(uri: &Uri, patience: Duration) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let before = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    let separator = if before.contains('?') { if before.ends_with('?') { "" } else { "&" } } else { "?" };
    let after = format!("{before}{separator}timeout={}ms", patience.as_millis());
    parts.path_and_query = Some(after.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    thread_local!(static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) });

    fn at(millis: u64) {
        NOW.set(Duration::from_millis(millis));
    }

    fn moment(millis: u64) -> BootTime {
        BootTime::from_start(Duration::from_millis(millis))
    }

    /// Answers when it is told to, and keeps what it was sent and how often it could go on.
    #[derive(Clone, Default)]
    struct Server {
        sent: Arc<Mutex<Vec<String>>>,
        polled: Arc<AtomicUsize>,
        answers: bool,
    }

    impl Service<Request<FencedBody<()>>> for Server {
        type Response = u16;
        type Error = BoxError;
        type Future = Answer<u16>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<FencedBody<()>>) -> Self::Future {
            self.sent.lock().unwrap().push(request.uri().to_string());
            let (answers, polled) = (self.answers, Arc::clone(&self.polled));
            Box::pin(std::future::poll_fn(move |_| {
                polled.fetch_add(1, Ordering::Relaxed);
                if answers { Poll::Ready(Ok(200)) } else { Poll::Pending }
            }))
        }
    }

    fn request(method: Method) -> Request<()> {
        Request::builder().method(method).uri("https://server/api/v1/x?force=true").body(()).unwrap()
    }

    fn fence() -> Fence {
        let fence = Fence::with_clock(Terms::new(4), || BootTime::from_start(NOW.get()));
        at(10_000);
        fence
    }

    fn refusal(answer: Result<u16, BoxError>) -> Fenced {
        *answer.unwrap_err().downcast_ref::<Fenced>().unwrap()
    }

    #[tokio::test]
    async fn what_reads_passes_and_what_writes_only_within_a_term() {
        let (fence, server) = (fence(), Server { answers: true, ..Server::default() });
        let mut client = fence.layer(server.clone());
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(refusal(client.call(request(method)).await), Fenced::NotLeading);
        }
        assert_eq!(client.call(request(Method::GET)).await.unwrap(), 200);
        fence.extend(moment(12_500));
        at(12_499);
        assert_eq!(client.call(request(Method::PATCH)).await.unwrap(), 200);
        at(12_500);
        assert_eq!(refusal(client.call(request(Method::PATCH)).await), Fenced::NotLeading);
        fence.extend(moment(20_000));
        fence.close();
        assert_eq!(refusal(client.call(request(Method::PATCH)).await), Fenced::NotLeading);
        let sent = server.sent.lock().unwrap().clone();
        let path = "https://server/api/v1/x?force=true";
        assert_eq!(sent, [path.to_owned(), format!("{path}&timeout=1500ms")]);
    }

    #[tokio::test]
    async fn a_process_that_was_frozen_does_not_go_on_with_a_write() {
        let (fence, server) = (fence(), Server::default());
        fence.extend(moment(12_500));
        let mut client = fence.layer(server.clone());
        let mut write = client.call(request(Method::PATCH));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
        at(11_499);
        assert!(write.as_mut().poll(&mut context).is_pending());
        let before = server.polled.load(Ordering::Relaxed);
        at(11_500);
        let Poll::Ready(answer) = write.as_mut().poll(&mut context) else { panic!("it goes on") };
        assert_eq!(refusal(answer), Fenced::TooLate(Duration::from_millis(1500)));
        assert_eq!(server.polled.load(Ordering::Relaxed), before, "the call was not let go on");
    }

    #[tokio::test]
    async fn a_write_is_in_doubt_until_it_is_answered_or_its_time_is_up() {
        let fence = fence();
        fence.extend(moment(20_000));
        let mut answering = fence.layer(Server { answers: true, ..Server::default() });
        answering.call(request(Method::PATCH)).await.unwrap();
        assert!(!fence.is_in_doubt(), "it was answered");
        let mut silent = fence.layer(Server::default());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut read = silent.call(request(Method::GET));
        assert!(read.as_mut().poll(&mut context).is_pending());
        assert!(!fence.is_in_doubt(), "it only reads");
        let mut write = silent.call(request(Method::PATCH));
        assert!(write.as_mut().poll(&mut context).is_pending());
        drop(write);
        fence.close();
        at(11_499);
        assert!(fence.is_in_doubt(), "whoever waited for it is gone, and it is not");
        at(11_500);
        assert!(!fence.is_in_doubt());
    }

    #[test]
    fn a_connection_sends_no_body_after_the_deadline() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut poll = |time| {
            let inner = kube::client::Body::from(b"{}".to_vec());
            let until = moment(11_500);
            let mut body = FencedBody { inner, until, now: || BootTime::from_start(NOW.get()) };
            at(time);
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(frame)) => frame.map(|frame| frame.into_data().unwrap()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(poll(11_499).unwrap(), "{}");
        assert_eq!(*poll(11_500).unwrap_err().downcast_ref::<Fenced>().unwrap(), Fenced::NotLeading);
    }

    #[tokio::test]
    async fn a_write_that_is_not_answered_is_given_up() {
        let fence = Fence::closed(Terms::new(1));
        fence.extend(BootTime::MAX);
        let answer = fence.layer(Server::default()).call(request(Method::POST)).await;
        assert_eq!(refusal(answer), Fenced::TooLate(Duration::from_millis(375)));
    }

    #[tokio::test]
    async fn without_a_rival_nothing_is_refused_or_changed() {
        let server = Server { answers: true, ..Server::default() };
        assert_eq!(Fence::open().layer(server.clone()).call(request(Method::POST)).await.unwrap(), 200);
        assert_eq!(*server.sent.lock().unwrap(), ["https://server/api/v1/x?force=true"]);
        Fence::open().opened().await;
    }

    #[test]
    fn a_time_out_is_added_to_any_address() {
        let with =
            |uri: &str| with_timeout(&uri.parse().unwrap(), Duration::from_millis(20)).unwrap().to_string();
        assert_eq!(with("https://s/a"), "https://s/a?timeout=20ms");
        assert_eq!(with("https://s/a?"), "https://s/a?timeout=20ms");
        assert_eq!(with("https://s/a?b=c"), "https://s/a?b=c&timeout=20ms");
        assert_eq!(with("/a"), "/a?timeout=20ms");
    }
}
