//! The agent's HTTP server: probes, metrics and what people may see of a bot.

mod api;
pub mod keys;
mod probes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::driver::Heartbeat;
use crate::metrics::Metrics;
use crate::view::View;
use keys::Keys;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be used.
    #[error(
        "cannot listen on {address}: {source}; choose a free address with --listen, such as 127.0.0.1:8001"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Others could reach it and nobody would have to show a key.
    #[error(
        "{address} can be reached by others, and there are no API keys; \
         listen on 127.0.0.1, or give --keys FOLDER with the files `read` and `trade`"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
}

/// Who must show a key.
#[derive(Clone, Debug)]
pub enum Access {
    /// Nobody: the listener is bound to loopback in local mode.
    Open,
    /// Everyone.
    Keys(Arc<Keys>),
}

/// What the handlers know.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The last durable projection; none until the bot is recovered.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// Whether the loop lives.
    pub heartbeat: Heartbeat,
    /// The metrics.
    pub metrics: Metrics,
    /// The journal's folder.
    pub journal: PathBuf,
    /// Who must show a key.
    pub access: Access,
}

/// Binds the address in local mode, which needs keys unless only this machine can reach it.
///
/// # Errors
/// When the address is taken, or open to others without keys.
pub async fn bind_local(address: SocketAddr, keys: Option<Keys>) -> Result<(TcpListener, Access), HttpError> {
    let access = match keys {
        Some(keys) if !keys.is_empty() => Access::Keys(Arc::new(keys)),
        None if address.ip().is_loopback() => Access::Open,
        _ => return Err(HttpError::Unprotected { address }),
    };
    Ok((bind(address).await?, access))
}

/// Binds the address.
///
/// # Errors
/// When it is taken or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| HttpError::Listen { address, source })
}

/// Answers until told to stop.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, shared: Shared, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(shared)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(shared: Shared) -> Router {
    let bot = Router::new()
        .route("/status", get(api::status))
        .route("/positions", get(api::positions))
        .route("/trades", get(api::trades))
        .route("/decisions", get(api::decisions))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), api::require_key));
    Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
        .nest("/api/v1/bot", bot)
        .with_state(shared)
}
