//! An API server of one Lease and one TradingBot, for tests of what talks to it. Like the real one it
//! compares resource versions and ignores the UID of what is applied to a status.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::{Json, Router};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::Environment;

/// What the server holds and what was asked of it.
#[derive(Debug)]
pub struct Objects {
    pub lease: Value,
    pub bot: Value,
    pub writes: u32,
}

pub type Shared = Arc<Mutex<Objects>>;

pub fn environment() -> Environment {
    Environment {
        bot: engine::BotId { namespace: "default".into(), name: "majors".into() },
        bot_uid: "ours".into(),
        pod: "majors-0".into(),
        pod_uid: "me".into(),
        image: None,
        exposed: None,
        tls_secret: None,
    }
}

/// Changes an object as somebody else would.
pub fn touch(object: &mut Value, change: impl FnOnce(&mut Value)) {
    change(object);
    let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: axum::http::Uri,
    body: String,
) -> (StatusCode, Json<Value>) {
    let mut objects = shared.lock().unwrap();
    let write = method != Method::GET;
    let Objects { lease, bot, writes } = &mut *objects;
    let is_lease = uri.path().contains("/leases/");
    let object = if is_lease { lease } else { bot };
    if write {
        let wanted: Value = serde_json::from_str(&body).unwrap();
        if wanted["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409,
                "reason": "Conflict", "message": "the object has been modified"});
            return (StatusCode::CONFLICT, Json(status));
        }
        *writes += 1;
        let part = if is_lease { "spec" } else { "status" };
        touch(object, |object| object[part] = wanted[part].clone());
    }
    (StatusCode::OK, Json(object.clone()))
}

/// Starts the server.
pub async fn start() -> (Client, Shared) {
    let meta =
        |uid: &str| json!({"name": "majors", "namespace": "default", "uid": uid, "resourceVersion": "1"});
    let objects = Objects {
        lease: json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta("lease")}),
        bot: json!({"apiVersion": "trading.three-rivers-tech.com/v1alpha1", "kind": "TradingBot",
            "metadata": meta("ours"), "spec": {"assets": [{"pair": "BTC-USD"}]}}),
        writes: 0,
    };
    let shared = Arc::new(Mutex::new(objects));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Client::try_from(Config::new(url)).unwrap(), shared)
}
