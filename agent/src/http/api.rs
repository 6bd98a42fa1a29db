//! `/api/v1/bot`: what a bot is, has and did.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::keys::Role;
use super::{Access, Shared};
use crate::journal::{JournalError, Reader};
use crate::view::View;

/// Rows of an answer unless the request says otherwise, and the most it may ask for: an answer is held
/// in memory.
const ROWS: u32 = 100;
const MOST_ROWS: u32 = 1_000;

/// Why a request is not answered.
pub enum ApiError {
    NotReady,
    Journal(JournalError),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "the bot is not recovered from its journal yet".to_owned())
            }
            Self::Journal(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        (status, Json(json!({ "error": message }))).into_response()
    }
}

impl From<JournalError> for ApiError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Lets through who shows a key, in `Authorization: Bearer`.
pub async fn require_key(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let role = match &shared.access {
        Access::Open => Some(Role::Trade),
        Access::Keys(keys) => bearer(&request).and_then(|key| keys.role_of(key)),
    };
    // Reading is the least that any role allows.
    if role.is_some() {
        return next.run(request).await;
    }
    shared.metrics.unauthorized();
    let body = Json(json!({"error": "show a key of this bot, as `Authorization: Bearer KEY`"}));
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn view(shared: &Shared) -> Result<Arc<View>, ApiError> {
    shared.view.borrow().clone().ok_or(ApiError::NotReady)
}

/// The bot at a glance.
pub async fn status(State(shared): State<Shared>) -> Result<Response, ApiError> {
    Ok(Json(view(&shared)?.as_ref()).into_response())
}

/// Its open positions.
pub async fn positions(State(shared): State<Shared>) -> Result<Response, ApiError> {
    Ok(Json(&view(&shared)?.positions).into_response())
}

/// How many rows to show.
#[derive(Debug, Deserialize)]
pub struct Page {
    limit: Option<u32>,
}

impl Page {
    fn rows(&self) -> u32 {
        self.limit.unwrap_or(ROWS).min(MOST_ROWS)
    }
}

/// Its last trades, the oldest first.
pub async fn trades(State(shared): State<Shared>, Query(page): Query<Page>) -> Result<Response, ApiError> {
    let mut reader = Reader::open(&shared.journal).await?;
    let trades = reader.trades(page.rows()).await;
    reader.close().await;
    Ok(Json(trades?).into_response())
}

/// Which decisions to show.
#[derive(Debug, Deserialize)]
pub struct DecisionPage {
    /// How their id begins.
    #[serde(default)]
    id: String,
    limit: Option<u32>,
}

/// Its last decisions, the oldest first.
pub async fn decisions(
    State(shared): State<Shared>,
    Query(DecisionPage { id, limit }): Query<DecisionPage>,
) -> Result<Response, ApiError> {
    let mut reader = Reader::open(&shared.journal).await?;
    let decisions = reader.decisions_of(&id, Page { limit }.rows()).await;
    reader.close().await;
    Ok(Json(decisions?).into_response())
}
