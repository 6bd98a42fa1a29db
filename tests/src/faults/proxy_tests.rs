//! The proxy before a server that answers what the tests know.

use std::time::Instant;

use futures::TryStreamExt;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use super::*;

/// Long enough to come in pieces.
const ANSWER: &str = "0123456789012345678901234567890123456789";

/// Targets and credentials of the requests that arrived.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server that answers everything with [`ANSWER`] and watches with an event per 20 ms, a proxy before it, and a
/// client that tries nothing twice.
struct Bench {
    proxy: Proxy,
    client: Client,
    runtime: Runtime,
    asked: Asked,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let asked = Asked::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let kubeconfig = folder.path().join("user.kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": format!("http://{}", listener.local_addr().unwrap()),
            }}],
            "users": [{"name": "u", "user": {"token": "not the asker's"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        runtime.spawn(upstream(listener, Arc::clone(&asked)));
        let proxy = Proxy::start(&kubeconfig);
        let client = runtime.block_on(async {
            let mut config = Config::new(proxy.url().parse().unwrap());
            config.auth_info.token = Some("t0ken".to_owned().into());
            config.default_retry = false;
            Client::try_from(config).unwrap()
        });
        Self { proxy, client, runtime, asked }
    }

    fn only(&self, fault: Fault) {
        self.proxy.begin(Plan { seed: 1, percent: 100, faults: vec![fault] });
    }

    /// Status and body, `None` when the connection broke.
    fn ask(&self, method: Method, target: &str) -> Option<(u16, HeaderMap, String)> {
        let mut request = Request::new(Upstream::from(b"{}".to_vec()));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        self.runtime.block_on(async {
            let response = self.client.send(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let body = body.collect_bytes().await.ok()?;
            Some((parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap()))
        })
    }

    /// What a watch said, and whether it ended in order.
    fn watch(&self) -> (String, bool) {
        let mut request = Request::new(Upstream::empty());
        *request.uri_mut() = "/things?watch=true".parse().unwrap();
        self.runtime.block_on(async {
            let mut said = String::new();
            let mut pieces = self.client.send(request).await.unwrap().into_body().into_data_stream();
            loop {
                match pieces.try_next().await {
                    Ok(Some(piece)) => said += std::str::from_utf8(&piece).unwrap(),
                    Ok(None) => return (said, true),
                    Err(_) => return (said, false),
                }
            }
        })
    }

    fn asked(&self) -> usize {
        lock(&self.asked).len()
    }
}

async fn upstream(listener: TcpListener, asked: Asked) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let service = service_fn(async |request: Request<Incoming>| {
                let token =
                    request.headers().get("authorization").map(|value| value.to_str().unwrap().into());
                lock(&asked).push((request.uri().to_string(), token));
                let events = futures::stream::unfold((), |()| async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Some((Ok::<_, Reset>(Frame::data(Bytes::from_static(b"{\"event\": 1}\n"))), ()))
                });
                let body = if request.uri().query() == Some("watch=true") {
                    StreamBody::new(events).boxed_unsync()
                } else {
                    Full::from(ANSWER).map_err(|never| match never {}).boxed_unsync()
                };
                Ok::<_, Reset>(Response::new(body))
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

#[test]
fn without_a_plan_everything_passes_with_the_credentials_of_the_one_who_asks() {
    let bench = Bench::new();
    let (code, _, body) = bench.ask(Method::GET, "/things?limit=5").unwrap();
    assert_eq!((code, body.as_str()), (200, ANSWER));
    assert_eq!(*lock(&bench.asked), [("/things?limit=5".to_owned(), Some("Bearer t0ken".to_owned()))]);
    let seen = bench.proxy.seen();
    assert_eq!((seen[0].target.as_str(), seen[0].fault), ("/things?limit=5", None));
    assert!(bench.proxy.seen().is_empty(), "each is told once");
}

#[test]
fn refusals_are_worded_as_the_real_ones_and_the_server_does_not_hear_of_them() {
    let bench = Bench::new();
    for (fault, method, code, word) in [
        (Fault::Conflict, Method::PATCH, 409, "\"reason\":\"Conflict\""),
        (Fault::Gone, Method::GET, 410, "\"reason\":\"Expired\""),
        (Fault::TooManyRequests, Method::POST, 429, "try again later"),
        (Fault::Internal, Method::GET, 500, "\"reason\":\"InternalError\""),
        (Fault::Unavailable, Method::DELETE, 503, "upstream"),
    ] {
        bench.only(fault);
        let (answered, headers, body) = bench.ask(method, "/things").unwrap();
        assert_eq!(answered, code);
        assert!(body.contains(word), "{body}");
        assert_eq!(headers.contains_key("retry-after"), fault == Fault::TooManyRequests);
    }
    assert_eq!(bench.asked(), 0);
}

#[test]
fn a_reset_is_not_done_and_a_lost_answer_is() {
    let bench = Bench::new();
    bench.only(Fault::Reset);
    assert!(bench.ask(Method::POST, "/things").is_none());
    assert_eq!(bench.asked(), 0);
    bench.only(Fault::AnswerLost);
    assert!(bench.ask(Method::POST, "/things").is_none());
    assert_eq!(bench.asked(), 1);
    assert!(bench.ask(Method::GET, "/things").is_some(), "a read has nothing to lose");
}

#[test]
fn what_hangs_is_reset_when_the_faults_end() {
    let bench = Bench::new();
    bench.only(Fault::Hang);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.ask(Method::GET, "/things"));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        bench.proxy.end();
        assert!(waiting.join().unwrap().is_none());
    });
    assert!(bench.ask(Method::GET, "/things").is_some());
}

#[test]
fn what_is_held_hangs_alone_and_is_never_done() {
    let bench = Bench::new();
    bench.proxy.hold("/things/a");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.ask(Method::POST, "/things/a/status"));
        while bench.proxy.seen().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        for (method, target) in [(Method::GET, "/things/a"), (Method::POST, "/things/b")] {
            assert!(bench.ask(method, target).is_some(), "{target}");
        }
        assert!(!waiting.is_finished());
        bench.proxy.end();
        assert!(waiting.join().unwrap().is_none());
    });
    assert_eq!(bench.asked(), 2);
    assert!(bench.ask(Method::POST, "/things/a/status").is_some(), "it is over");
}

#[test]
fn what_drips_is_whole_and_slow() {
    let bench = Bench::new();
    bench.only(Fault::Drip);
    let start = Instant::now();
    assert_eq!(bench.ask(Method::GET, "/things").unwrap().2, ANSWER);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}

#[test]
fn watches_end_in_order_in_the_middle_of_an_event_and_as_too_old() {
    let bench = Bench::new();
    bench.only(Fault::Cut);
    let ends: Vec<(String, bool)> = (0..8).map(|_| bench.watch()).collect();
    assert!(ends.iter().any(|(said, in_order)| *in_order && said.ends_with('\n')), "{ends:?}");
    assert!(ends.iter().any(|(said, in_order)| !in_order && !said.ends_with('\n')), "{ends:?}");
    bench.only(Fault::Gone);
    let (said, _) = bench.watch();
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["object"]["code"]), (&json!("ERROR"), &json!(410)));
}

#[test]
fn a_plan_ends_the_watches_that_go_on() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| bench.watch());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!watching.is_finished());
        bench.only(Fault::Cut);
        assert!(watching.join().unwrap().0.lines().count() > 3);
    });
}
