//! `tradingbot-operator run`: watches, controller and server, from start to SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::controller::{
    Backoff, BotRef, Context, Events, Guarded, Installation, Looks, Shares, reconcile, wait_after,
};
use crate::metrics::{Bots, Metrics};
use crate::server::{self, Shown};
use crate::watch::{BotWatch, Children, ConfigMaps, Leases, Secrets, Triggers};

/// A shutdown does not wait longer for connections that are still open.
const HTTP_GRACE: Duration = Duration::from_millis(500);

/// Nor for writes that the API server does not answer.
const WRITE_GRACE: Duration = Duration::from_secs(5);

/// What `run` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What every bot is built with.
    pub installation: Installation,
    /// Where probes and metrics are served.
    pub address: SocketAddr,
    /// Bots that are looked at side by side.
    pub concurrency: u16,
}

/// Runs until SIGTERM or SIGINT, and then ends in order: what is being written is finished first.
///
/// # Errors
/// When the cluster's address is unknown, the port is taken, or a part fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let client =
        Client::try_default().await.context("no cluster: run in one, or name a kubeconfig in KUBECONFIG")?;
    let listener = TcpListener::bind(options.address)
        .await
        .with_context(|| format!("cannot serve at {}; choose another --address", options.address))?;
    let stop = stop_on_signal()?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let (bots, writer) = reflector::store::<Guarded>();
    registry.register_collector(Box::new(Bots(bots.clone())));
    let ready = Arc::new(AtomicBool::new(false));
    let shown = Shown { ready: Arc::clone(&ready), registry: Arc::new(registry) };
    let served = tokio::spawn(server::serve(listener, shown, stop.clone()));
    info!(address = %options.address, agent_image = options.installation.agent_image, version = env!("CARGO_PKG_VERSION"), "started");

    let mut tasks = JoinSet::new();
    let (triggers, triggered) = Triggers::new(bots.clone());
    let leases = Arc::<Leases>::default();
    let context = Arc::new(Context {
        children: Children::watch(&client, &triggers, &leases, &mut tasks),
        config_maps: ConfigMaps::watch(&client, triggers.clone(), &mut tasks),
        leases: Arc::clone(&leases),
        secrets: Secrets::default(),
        causes: triggers.causes(),
        looks: Looks::default(),
        shares: Shares::default(),
        events: Events::default(),
        backoff: Backoff::default(),
        metrics,
        client,
        installation: options.installation,
    });
    let watch = BotWatch::new(writer, triggers.clone(), Arc::clone(&context));
    tasks.spawn(async move { leases.expire(triggers).await });
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        // What is not listed yet would look absent.
        listed = listed(&context) => {
            listed?;
            let control = control(context, bots, watch, triggered, options.concurrency, ready, stop.clone());
            tokio::select! {
                () = control => {}
                () = async { stop.cancelled().await; tokio::time::sleep(WRITE_GRACE).await } => {
                    warn!("a write was not answered in time; the next start finishes it");
                }
            }
        }
    }
    stop.cancel();
    // Whoever keeps a connection open, or a request unfinished, is not waited for.
    if let Ok(served) = tokio::time::timeout(HTTP_GRACE, served).await {
        served.context("the server ended")?.context("the server failed")?;
    }
    info!("stopped");
    Ok(())
}

async fn listed(context: &Context) -> anyhow::Result<()> {
    context.children.wait_until_ready().await;
    context.config_maps.wait_until_ready().await;
    Ok(())
}

/// Reconciles until it is told to stop, and finishes what it began.
async fn control(
    context: Arc<Context>,
    bots: Store<Guarded>,
    mut watch: BotWatch,
    triggered: UnboundedReceiver<BotRef>,
    concurrency: u16,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    // The watch itself decides what is worth a look, and asks for it by a trigger.
    let watched = watcher(Api::<Guarded>::all(context.client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|bot| bot.meta_mut().managed_fields = None)
        .filter_map(move |event| {
            let failed = match event {
                Ok(event) => {
                    watch.take(&event);
                    if matches!(event, Event::InitDone) && !ready.swap(true, Ordering::Relaxed) {
                        info!("ready");
                    }
                    None
                }
                Err(error) => Some(Err(error)),
            };
            std::future::ready(failed)
        });
    Controller::for_stream(watched, bots)
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(triggered)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, wait_after, context)
        .for_each(async |result| match result {
            Ok((bot, _)) => debug!(%bot, "reconciled"),
            // Failures are logged where they are counted; a bot that is gone is no failure.
            Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
            Err(error) => warn!(%error, "the watch of TradingBots is interrupted; is their CRD installed?"),
        })
        .await;
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = stop.clone();
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
