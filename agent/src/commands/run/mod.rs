//! `run`: a bot, alive, until it is stopped.

mod here;
mod pod;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use crds::contract;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use super::Failure;
use super::named::Named;
use crate::driver::{Ended, Heartbeat};
use crate::http::{self, Access, Shared};
use crate::journal::Place;
use crate::metrics::Metrics;
use crate::view::View;

/// A shutdown does not wait longer for connections that are still open.
const HTTP_GRACE: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    here: Here,
    /// Run in a pod made by the operator
    #[arg(long, conflicts_with_all = ["Here", "Named"])]
    cluster: bool,
}

#[derive(Debug, Args)]
struct Here {
    /// The bot's manifest, to run it here; other documents in it are passed over
    #[arg(short, long, value_name = "FILE", required_unless_present = "cluster")]
    file: Option<PathBuf>,
    /// Recorded bars in the place of the manifest's ConfigMaps: a folder, a file, or
    /// PAIR@TIMEFRAME=FILE; may be repeated. Files of one pair are read in the order of their names
    #[arg(long, value_name = "DATA")]
    data: Vec<String>,
    #[command(flatten)]
    journal: Named,
    /// Address of the API; without --keys it must be this machine's own [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Folder with the API's keys: the files `read` and `trade`, one key a line
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Seconds of market time per second, whatever the manifest says; 0 is as fast as possible
    #[arg(long, value_parser = speed, allow_negative_numbers = true)]
    speed: Option<f64>,
    /// Stop when the data ends and show the result
    #[arg(long)]
    exit_at_end: bool,
}

impl Here {
    fn address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, contract::AGENT_PORT)))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8001".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && *speed >= 0.0)
        .ok_or_else(|| "write a number of at least 0, such as 3600 for an hour a second".to_owned())
}

/// Runs the bot until it is stopped.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let Arguments { here, cluster } = arguments;
    if cluster { pod::run(stop).await } else { here::run(here, stop).await }
}

/// Cancelled by SIGTERM and by Ctrl-C.
fn stop_on_signal() -> Result<CancellationToken, std::io::Error> {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        token.cancel();
    });
    Ok(stop)
}

/// What outlives the driver: projections, metrics, the server.
struct Service {
    view: watch::Sender<Option<Arc<View>>>,
    metrics: Metrics,
    heartbeat: Heartbeat,
    down: CancellationToken,
    server: JoinHandle<()>,
}

impl Service {
    fn start(
        listener: TcpListener,
        access: Access,
        bot: &engine::BotId,
        journal: Place,
        exposed: Option<String>,
    ) -> Self {
        let (view, receiver) = watch::channel(None);
        let metrics = Metrics::new(&bot.namespace, &bot.name);
        let heartbeat = Heartbeat::default();
        let down = CancellationToken::new();
        let shared = Shared {
            view: receiver,
            heartbeat: heartbeat.clone(),
            metrics: metrics.clone(),
            journal,
            access,
            exposed,
        };
        if let Ok(address) = listener.local_addr() {
            info!(%address, "listening");
        }
        let serve = http::serve(listener, shared, down.clone());
        let server = tokio::spawn(
            async move {
                if let Err(error) = serve.await {
                    warn!(%error, "the HTTP server ended");
                }
            }
            .in_current_span(),
        );
        Self { view, metrics, heartbeat, down, server }
    }

    async fn stop(self) {
        self.down.cancel();
        // Whoever keeps a connection open is not waited for.
        let _ = tokio::time::timeout(HTTP_GRACE, self.server).await;
    }
}

fn say_ended(ended: Ended) {
    info!(reason = ?ended, "ended in order");
}
