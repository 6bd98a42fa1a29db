//! The server that stands between a client and the API server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::client::Body as Upstream;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::answer::{self, Body, Reset};
use super::plan::{Course, Fault, Kind, Plan};
use super::watching;

/// What hangs is reset after this time at the latest.
const LONGEST_HANG: Duration = Duration::from_secs(8);

/// A request that came through the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether it is a watch.
    pub watch: bool,
    /// What befell it.
    pub fault: Option<Fault>,
}

/// Plain HTTP on loopback before an API server. Without a plan it only passes on.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Ends the server when dropped.
    runtime: Option<Runtime>,
}

struct Shared {
    client: Client,
    course: Mutex<Option<Course>>,
    /// A part of the paths to which nothing is written.
    held: Mutex<Option<String>>,
    seen: Mutex<Vec<Seen>>,
    /// Changes when the plan does: what hangs is reset.
    changes: watch::Sender<u64>,
    /// Changes when a plan begins: watches begin anew, and meet it.
    unrest: watch::Sender<u64>,
}

impl Proxy {
    /// Stands before the server that a kubeconfig names; the credentials are those of each request.
    pub fn start(kubeconfig: &Path) -> Self {
        Self::listen(std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"), kubeconfig)
    }

    /// The same behind a listener, which may be of another network namespace.
    pub fn listen(listener: std::net::TcpListener, kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (address, shared) = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            let mut config = config.expect("a kubeconfig with a cluster");
            config.auth_info = AuthInfo::default();
            // Every answer is the client's to judge.
            config.default_retry = false;
            config.write_timeout = None;
            listener.set_nonblocking(true).expect("a listener");
            let listener = TcpListener::from_std(listener).expect("a listener");
            let address = listener.local_addr().expect("an address");
            let shared = Arc::new(Shared {
                client: Client::try_from(config).expect("a client"),
                course: Mutex::default(),
                held: Mutex::default(),
                seen: Mutex::default(),
                changes: watch::Sender::default(),
                unrest: watch::Sender::default(),
            });
            tokio::spawn(serve(listener, Arc::clone(&shared)));
            (address, shared)
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Where it serves, for a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests meet these faults, and watches that go on are ended.
    pub fn begin(&self, plan: Plan) {
        *lock(&self.shared.course) = Some(Course::new(plan));
        self.shared.changes.send_modify(|count| *count += 1);
        self.shared.unrest.send_modify(|count| *count += 1);
    }

    /// From now on writes to paths that contain this are not passed on and never answered, whatever else is on.
    pub fn hold(&self, part: &str) {
        *lock(&self.shared.held) = Some(part.to_owned());
    }

    /// From now on requests are only passed on, and what hangs is reset.
    pub fn end(&self) {
        *lock(&self.shared.course) = None;
        *lock(&self.shared.held) = None;
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// What came since this was asked last.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared.seen))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A connection that is dropped is reset; one that ends in order was ended by the client before.
        stream.set_zero_linger().ok();
        stream.set_nodelay(true).ok();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(async |request| shared.answer(request).await);
            let connection = hyper::server::conn::http1::Builder::new();
            // Errors are the client's, or made here on purpose.
            connection.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
        // From before the choice: an end that comes between the two is not missed.
        let mut changes = self.changes.subscribe();
        let unrest = self.unrest.subscribe();
        let kind = Kind::of(request.method(), request.uri().query().unwrap_or_default());
        if kind == Kind::Write && self.is_held(request.uri().path()) {
            self.record(kind, &request, Some(Fault::Hang));
            // Until the faults end or the client has gone, which drops this.
            changes.changed().await.ok();
            return Err(Reset);
        }
        let lot = self.lot(kind, request.method(), &request);
        let message = "faulted on purpose";
        match lot {
            Some((Fault::Conflict, _)) => Ok(answer::status(StatusCode::CONFLICT, "Conflict", message)),
            Some((Fault::Gone, _)) if kind == Kind::Read => {
                Ok(answer::status(StatusCode::GONE, "Expired", message))
            }
            Some((Fault::TooManyRequests, _)) => {
                let words = "Too many requests, please try again later.\n";
                Ok(answer::text(StatusCode::TOO_MANY_REQUESTS, words, Some(1)))
            }
            Some((Fault::Internal, _)) => {
                Ok(answer::status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message))
            }
            Some((Fault::Unavailable, _)) => {
                Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, "upstream connect error\n", None))
            }
            Some((Fault::Reset, _)) => Err(Reset),
            Some((Fault::AnswerLost, _)) => {
                self.whole(request).await?;
                Err(Reset)
            }
            Some((Fault::Hang, dice)) => {
                // Whoever waits in vain cannot know whether it was done.
                if kind == Kind::Write && dice % 2 == 0 {
                    self.whole(request).await?;
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(LONGEST_HANG) => {}
                }
                Err(Reset)
            }
            lot if kind == Kind::Watch => {
                let response = self.forward(request).await?;
                if response.status() != StatusCode::OK {
                    return collected(response).await.map(|response| response.map(answer::full));
                }
                Ok(response.map(|body| answer::streamed(watching::pass_on(body, lot, unrest))))
            }
            Some((Fault::Drip, dice)) => {
                Ok(self.whole(request).await?.map(|bytes| answer::drip(bytes, dice)))
            }
            Some((Fault::Cut | Fault::Gone, _)) | None => Ok(self.whole(request).await?.map(answer::full)),
        }
    }

    fn lot(&self, kind: Kind, method: &Method, request: &Request<Incoming>) -> Option<(Fault, u64)> {
        let lot =
            lock(&self.course).as_mut().and_then(|course| course.next(kind, method, request.uri().path()));
        self.record(kind, request, lot.map(|(fault, _)| fault));
        lot
    }

    fn is_held(&self, path: &str) -> bool {
        lock(&self.held).as_ref().is_some_and(|part| path.contains(part))
    }

    fn record(&self, kind: Kind, request: &Request<Incoming>, fault: Option<Fault>) {
        lock(&self.seen).push(Seen {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            watch: kind == Kind::Watch,
            fault,
        });
    }

    async fn whole(&self, request: Request<Incoming>) -> Result<Response<Bytes>, Reset> {
        collected(self.forward(request).await?).await
    }

    /// Asks the API server. One that cannot be reached resets connections, too.
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Upstream>, Reset> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
        let mut upstream = Request::new(Upstream::from(body));
        *upstream.method_mut() = parts.method;
        *upstream.uri_mut() = parts.uri;
        *upstream.headers_mut() = end_to_end(parts.headers);
        let response = self.client.send(upstream).await.map_err(|_| Reset)?;
        let (parts, body) = response.into_parts();
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = end_to_end(parts.headers);
        Ok(response)
    }
}

async fn collected(response: Response<Upstream>) -> Result<Response<Bytes>, Reset> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect_bytes().await.map_err(|_| Reset)?;
    Ok(Response::from_parts(parts, bytes))
}

/// Without what concerns one connection only.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for header in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(header);
    }
    headers
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
