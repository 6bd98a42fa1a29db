//! What kubelet and Prometheus ask.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::view::{JournalView, View};

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

/// The bot is recovered and its journal takes what happens; nothing about feeds or venues.
pub async fn readyz(State(shared): State<Shared>) -> Response {
    let refused = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    match shared.view.borrow().as_deref() {
        None => refused("the bot is not recovered from its journal yet\n".to_owned()),
        // Anybody may ask: the word is enough, the message tells of paths and hosts.
        Some(View { journal: JournalView { trouble: Some(trouble), .. }, .. }) => {
            refused(format!("the journal takes nothing: {trouble}\n"))
        }
        Some(_) => "ok\n".into_response(),
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
