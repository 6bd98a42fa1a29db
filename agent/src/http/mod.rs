//! The agent's HTTP server: probes, metrics and what people may see of a bot.

mod api;
pub mod keys;
mod probes;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::driver::Heartbeat;
use crate::journal::Place;
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
    /// Keys are asked for and there are none.
    #[error("{folder} holds no API key; write one into its file `read` or `trade`, or leave --keys out")]
    NoKeys {
        /// The folder.
        folder: String,
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
    /// Where the journal is.
    pub journal: Place,
    /// Who must show a key.
    pub access: Access,
    /// The path under which the world reaches the agent; none when it does not.
    pub exposed: Option<String>,
}

/// Binds the address in local mode, which needs keys unless only this machine can reach it.
///
/// # Errors
/// When the address is taken, or open to others without keys.
pub async fn bind_local(address: SocketAddr, keys: Option<Keys>) -> Result<(TcpListener, Access), HttpError> {
    let access = match keys {
        Some(keys) if keys.is_empty() => {
            return Err(HttpError::NoKeys { folder: keys.folder().display().to_string() });
        }
        Some(keys) => Access::Keys(Arc::new(keys)),
        None if address.ip().is_loopback() => Access::Open,
        None => return Err(HttpError::Unprotected { address }),
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
    let metrics = || Router::new().route("/metrics", get(probes::metrics));
    let keyed = axum::middleware::from_fn_with_state(shared.clone(), api::require_key);
    let bot = Router::new()
        .route("/status", get(api::status))
        .route("/positions", get(api::positions))
        .route("/trades", get(api::trades))
        .route("/decisions", get(api::decisions))
        .layer(keyed.clone());
    let open = Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .nest("/api/v1/bot", bot);
    // Prometheus comes to the pod. What the world reaches tells of the account only to who shows a key.
    let exposed = open.clone().merge(metrics().layer(keyed));
    let router = match shared.exposed.as_deref() {
        None => open.merge(metrics()),
        Some("/") => exposed,
        Some(path) => open.merge(metrics()).nest(path, exposed),
    };
    router.with_state(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use reqwest::{Client, StatusCode};

    struct Server {
        url: String,
        view: watch::Sender<Option<Arc<View>>>,
        metrics: Metrics,
        _folder: tempfile::TempDir,
        stop: CancellationToken,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    async fn server(keys: bool) -> Server {
        server_at(keys, None).await
    }

    async fn server_at(keys: bool, exposed: Option<&str>) -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("read"), "the-key").unwrap();
        let keys = keys.then(|| Keys::open(folder.path()));
        let (listener, access) = bind_local("127.0.0.1:0".parse().unwrap(), keys).await.unwrap();
        let (view, receiver) = watch::channel(None);
        let metrics = Metrics::new("default", "majors");
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared {
            view: receiver,
            heartbeat: Heartbeat::default(),
            metrics: metrics.clone(),
            journal: folder.path().into(),
            access,
            exposed: exposed.map(str::to_owned),
        };
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, shared, stop.clone()));
        Server { url, view, metrics, _folder: folder, stop }
    }

    async fn get(server: &Server, path: &str, key: Option<&str>) -> (StatusCode, String) {
        let mut request = Client::new().get(format!("{}{path}", server.url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        if response.status() == StatusCode::UNAUTHORIZED {
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
        (response.status(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn probes_need_no_key_and_readiness_says_why_not() {
        let server = server(true).await;
        assert_eq!(get(&server, "/livez", None).await.0, StatusCode::OK);
        let (status, text) = get(&server, "/readyz", None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("not recovered"), "{text}");
        let engine = engine::Engine::new(fixtures::identity(), fixtures::config()).unwrap();
        server.view.send_replace(Some(Arc::new(fixtures::view(&engine))));
        assert_eq!(get(&server, "/readyz", None).await.0, StatusCode::OK);
        let in_trouble = fixtures::view(&engine).in_trouble("JournalDiskFull", "/secret/path is full".into());
        server.view.send_replace(Some(Arc::new(in_trouble)));
        let (status, text) = get(&server, "/readyz", None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("JournalDiskFull") && !text.contains("/secret"), "{text}");
        assert_eq!(get(&server, "/livez", None).await.0, StatusCode::OK);
        assert!(get(&server, "/metrics", None).await.1.contains("tradingbot_lease_held"));
    }

    #[tokio::test]
    async fn the_api_is_for_who_shows_a_key() {
        let server = server(true).await;
        let engine = engine::Engine::new(fixtures::identity(), fixtures::config()).unwrap();
        server.view.send_replace(Some(Arc::new(fixtures::view(&engine))));
        for path in ["status", "positions", "trades", "decisions"] {
            for key in [None, Some("no-key"), Some("")] {
                let (status, text) = get(&server, &format!("/api/v1/bot/{path}"), key).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {key:?}");
                assert!(!text.contains("the-key"));
            }
        }
        let (status, text) = get(&server, "/api/v1/bot/status", Some("the-key")).await;
        assert_eq!(status, StatusCode::OK);
        let view: View = serde_json::from_str(&text).unwrap();
        assert_eq!(view.bot, fixtures::identity());
        assert!(server.metrics.text().unwrap().contains("tradingbot_api_unauthorized_total 12"));
    }

    #[tokio::test]
    async fn everything_is_served_under_the_path_that_the_world_reaches_and_metrics_ask_for_a_key_there() {
        let key = Some("the-key");
        let server = server_at(true, Some("/bots/majors")).await;
        let engine = engine::Engine::new(fixtures::identity(), fixtures::config()).unwrap();
        server.view.send_replace(Some(Arc::new(fixtures::view(&engine))));
        for (path, key, expected) in [
            ("/bots/majors/livez", None, StatusCode::OK),
            ("/bots/majors/readyz", None, StatusCode::OK),
            ("/bots/majors/api/v1/bot/status", None, StatusCode::UNAUTHORIZED),
            ("/bots/majors/api/v1/bot/status", key, StatusCode::OK),
            ("/bots/majors/metrics", None, StatusCode::UNAUTHORIZED),
            ("/bots/majors/metrics", key, StatusCode::OK),
            ("/livez", None, StatusCode::OK),
            ("/readyz", None, StatusCode::OK),
            ("/metrics", None, StatusCode::OK),
            ("/api/v1/bot/status", key, StatusCode::OK),
            ("/bots/majors/nothing", key, StatusCode::NOT_FOUND),
            ("/bots/livez", None, StatusCode::NOT_FOUND),
        ] {
            assert_eq!(get(&server, path, key).await.0, expected, "{path} {key:?}");
        }
        let whole = server_at(true, Some("/")).await;
        assert_eq!(get(&whole, "/livez", None).await.0, StatusCode::OK);
        assert_eq!(get(&whole, "/metrics", None).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(get(&whole, "/metrics", key).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn only_this_machine_is_served_without_keys() {
        let server = server(false).await;
        let (status, text) = get(&server, "/api/v1/bot/status", None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let message = bind_local(everywhere, None).await.unwrap_err().to_string();
        assert!(message.contains("--keys FOLDER"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        for address in [everywhere, "127.0.0.1:0".parse().unwrap()] {
            let keys = Keys::open(folder.path());
            let message = bind_local(address, Some(keys)).await.unwrap_err().to_string();
            assert!(message.contains("holds no API key") && !message.contains("others"), "{message}");
        }
        let taken = server.url.strip_prefix("http://").unwrap().parse().unwrap();
        let message = bind(taken).await.unwrap_err().to_string();
        assert!(message.contains("--listen"), "{message}");
    }
}
