//! What kubelet and Prometheus ask.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;

/// The loop goes round at least once a second; a commit on a slow disk may take some of them.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Process and loop are alive; depends on nothing else. Before the loop starts there is nothing to be
/// late: recovery takes as long as it takes.
pub async fn livez(State(shared): State<Shared>) -> Response {
    match shared.heartbeat.age() {
        Some(age) if age > LONGEST_SILENCE => {
            let text = format!("the loop stands still for {} s\n", age.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        _ => "ok\n".into_response(),
    }
}

/// The journal is open and the bot recovered; nothing about feeds or venues.
pub async fn readyz(State(shared): State<Shared>) -> Response {
    if shared.view.borrow().is_some() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the bot is not recovered from its journal yet\n").into_response()
    }
}

/// The metrics, in the text form of OpenMetrics.
pub async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
