//! What reconciles work with, before an API server that is a function: it lists nothing, takes every write and keeps
//! what it was asked, unless it is told to answer something else.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::validate::tests::spec;
use super::{Backoff, BotRef, Context, Events, Guarded, Installation, Looks, Shares, build};
use crate::metrics::Metrics;
use crate::watch::{ChildKind, Children, ConfigMaps, Hosts, Leases, Pods, Scope, Secrets, Triggers};

/// The answer to calls of a method whose path contains a text.
struct Answer(&'static str, &'static str, StatusCode, Value);

/// An API server.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<State>>);

struct State {
    answers: Vec<Answer>,
    calls: Vec<(String, Value)>,
    version: u64,
    held: Option<(&'static str, CancellationToken)>,
}

impl Default for State {
    fn default() -> Self {
        Self { answers: Vec::new(), calls: Vec::new(), version: 1000, held: None }
    }
}

impl Server {
    /// Answers so from now on.
    pub(crate) fn answer(&self, method: &'static str, path: &'static str, code: u16, body: Value) {
        let code = StatusCode::from_u16(code).unwrap();
        self.0.lock().unwrap().answers.insert(0, Answer(method, path, code, body));
    }

    /// Answers lists whose path contains a text only when the token is cancelled.
    pub(crate) fn hold(&self, path: &'static str) -> CancellationToken {
        let token = CancellationToken::new();
        self.0.lock().unwrap().held = Some((path, token.clone()));
        token
    }

    /// What it was asked since this was last called, but for lists and watches.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.sent().into_iter().map(|(call, _)| call).collect()
    }

    /// The same with what was sent, as JSON.
    pub(crate) fn sent(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    /// The version of what it wrote last.
    pub(crate) fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let (method, path) = (head.method.as_str(), head.uri.path());
        let query = head.uri.query().unwrap_or_default();
        let answer = self.0.lock().unwrap().told(method, path);
        let held = self.0.lock().unwrap().held.clone().filter(|(part, _)| path.contains(part));
        if query.contains("watch=") {
            std::future::pending::<()>().await;
        } else if let Some((_, token)) = held {
            token.cancelled().await;
        }
        let body = body.collect_bytes().await.unwrap();
        let mut state = self.0.lock().unwrap();
        let is_list = query.contains("limit=");
        if !is_list {
            let sent = serde_json::from_slice(&body).unwrap_or_default();
            state.calls.push((format!("{method} {path}"), sent));
        }
        let (code, answer) = answer.unwrap_or_else(|| match method {
            "GET" if is_list => (StatusCode::OK, list(json!([]))),
            "GET" => (StatusCode::NOT_FOUND, failure(404, "NotFound", "it is not there")),
            _ => {
                let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
                // Of the object that a JSON patch changes nothing is known here.
                if object.is_array() {
                    object = json!({"metadata": {}});
                }
                if object.is_object() {
                    state.version += 1;
                    object["metadata"]["resourceVersion"] = json!(state.version.to_string());
                }
                (StatusCode::OK, object)
            }
        });
        let body = Body::from(serde_json::to_vec(&answer).unwrap());
        Response::builder().status(code).body(body).unwrap()
    }
}

impl State {
    fn told(&self, method: &str, path: &str) -> Option<(StatusCode, Value)> {
        let fits = |answer: &&Answer| answer.0 == method && path.contains(answer.1);
        self.answers.iter().find(fits).map(|Answer(_, _, code, body)| (*code, body.clone()))
    }
}

/// What a list answers.
pub(crate) fn list(items: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})
}

/// What a refusal answers.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
}

/// One bot, the one of every builder's golden file, and what reconciles it.
pub(crate) struct Bench {
    /// The API server.
    pub(crate) server: Server,
    /// What reconciles work with.
    pub(crate) context: Arc<Context>,
    /// What the watch of bots has shown.
    pub(crate) bots: Writer<Guarded>,
    /// The watches; they end with the bench.
    _tasks: JoinSet<()>,
}

impl Bench {
    /// Nothing is known of any bot yet.
    pub(crate) fn new() -> Self {
        Self::of(Server::default())
    }

    fn of(server: Server) -> Self {
        let (client, scope, mut tasks) = (server.client(), Scope::default(), JoinSet::new());
        let (bots, writer) = reflector::store();
        let (triggers, _) = Triggers::new(bots.clone());
        let context = Context {
            children: Children::default(),
            config_maps: ConfigMaps::watch(&client, &scope, triggers.clone(), &mut tasks),
            pods: Pods::watch(&client, &scope, &mut tasks),
            hosts: Hosts::new(triggers.clone()),
            leases: Arc::<Leases>::default(),
            secrets: Secrets::default(),
            causes: triggers.causes(),
            looks: Looks::default(),
            shares: Shares::default(),
            events: Events::default(),
            backoff: Backoff::of_failures(),
            outdated: Backoff::of_conflicts(),
            metrics: Metrics::new(bots.clone()).0,
            client,
            bots,
            installation: Installation {
                agent_image: "example.com/agent:1.0".into(),
                ..Installation::default()
            },
        };
        Self { server, context: Arc::new(context), bots: writer, _tasks: tasks }
    }

    /// A bot whose bars exist.
    pub(crate) async fn with_bars() -> Self {
        let server = Server::default();
        let bars =
            ["btc-h1", "btc-h2"].map(|name| json!({"metadata": {"namespace": "trading", "name": name}}));
        server.answer("GET", "/configmaps", 200, list(json!(bars)));
        let bench = Self::of(server);
        let listed = bench.context.config_maps.wait_until_ready();
        tokio::time::timeout(Duration::from_secs(20), listed).await.unwrap();
        bench
    }

    /// The bot, after a change.
    pub(crate) fn bot(&self, change: impl FnOnce(&mut Value)) -> Guarded {
        let mut bot = json!({
            "metadata": {"name": "paper-btc", "namespace": "trading", "generation": 3, "resourceVersion": "100",
                "uid": "0f7b1a52-9a0e-4c55-8f39-5e4f3c1c2d10"},
            "spec": spec(),
        });
        change(&mut bot);
        serde_json::from_value(bot).unwrap()
    }

    /// The watch shows the bot, after a change.
    pub(crate) fn show(&mut self, change: impl FnOnce(&mut Value)) -> Arc<Guarded> {
        let bot = self.bot(change);
        let bot_ref = BotRef::from_obj(&bot);
        self.take(&Event::Apply(bot));
        self.context.bots.get(&bot_ref).unwrap()
    }

    /// The watch tells of an event.
    pub(crate) fn take(&mut self, event: &Event<Guarded>) {
        self.context.hosts.observe(event);
        self.bots.apply_watcher_event(event);
    }

    /// The child of a kind exists as it is built.
    pub(crate) fn make(&self, kind: ChildKind) {
        self.make_changed(kind, |_| {});
    }

    /// The child of a kind exists, after a change.
    pub(crate) fn make_changed(&self, kind: ChildKind, change: impl FnOnce(&mut Value)) {
        let children = build::build(&super::validate::tests::validated()).unwrap();
        let mut object = children.into_iter().find(|child| child.kind == kind).unwrap().desired;
        object["metadata"]["uid"] = json!("child");
        object["metadata"]["resourceVersion"] = json!("10");
        change(&mut object);
        self.context.children.read(kind, &serde_json::from_value(object).unwrap());
    }
}
