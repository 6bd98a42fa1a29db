//! `tradingbot-operator run`: watches, controller and server, from start to SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::{StreamExt, stream};
use http::header::{HeaderValue, USER_AGENT};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Config, Resource};
use rand::Rng;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::controller::{
    Backoff, BotRef, Context, Events, Guarded, Installation, Looks, Shares, reconcile, wait_after,
};
use crate::leader::{Candidacy, Election, Fence, fenced, unfenced};
use crate::metrics::Metrics;
use crate::patience::{LONGEST_SILENCE, patient};
use crate::server::{self, Shown};
use crate::watch::{BotWatch, Cause, Children, ConfigMaps, Hosts, Leases, Pods, Scope, Secrets, Triggers};

/// A shutdown does not wait longer for connections that are still open.
const HTTP_GRACE: Duration = Duration::from_millis(500);

/// Nor for writes that the API server does not answer.
const WRITE_GRACE: Duration = Duration::from_secs(5);

/// Nor for the Lease to be released: it runs out.
const RESIGN_GRACE: Duration = Duration::from_secs(10);

/// What `run` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// What every bot is built with.
    pub installation: Installation,
    /// Where probes and metrics are served.
    pub address: SocketAddr,
    /// Bots that are looked at side by side.
    pub concurrency: u16,
    /// The namespaces that are looked after.
    pub scope: Scope,
    /// This process's name among its rivals: its pod's.
    pub name: String,
    /// How the one that writes is found. None: this process has no rivals.
    pub election: Option<Candidacy>,
}

/// Runs until SIGTERM or SIGINT, and then ends in order: what is being written is finished first, and
/// leadership is given up after that.
///
/// # Errors
/// When the cluster's address is unknown, the port is taken, or a part fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config =
        Config::infer().await.context("no cluster: run in one, or name a kubeconfig in KUBECONFIG")?;
    let mut config = patient(config, LONGEST_SILENCE);
    // A container that starts again in the same pod is another process: it waits like any other.
    let identity = format!("{}_{:08x}", options.name, rand::rng().random::<u32>());
    config.headers.push((USER_AGENT, user_agent(&identity)?));
    let fence = match &options.election {
        None => Fence::open(),
        Some(candidacy) => Fence::closed(candidacy.terms),
    };
    let client = fenced(&config, &fence).context("the kubeconfig makes no client")?;
    let of_lease = unfenced(config).context("the kubeconfig makes no client")?;

    let listener = TcpListener::bind(options.address)
        .await
        .with_context(|| format!("cannot serve at {}; choose another --address", options.address))?;
    let stop = stop_on_signal()?;
    let (bots, writer) = reflector::store::<Guarded>();
    let (metrics, registry) = Metrics::new(bots.clone());
    let ready = Arc::new(AtomicBool::new(false));
    let shown = Shown { ready: Arc::clone(&ready), registry: Arc::new(registry) };
    let served = tokio::spawn(server::serve(listener, shown, stop.clone()));
    info!(address = %options.address, agent_image = options.installation.agent_image, version = env!("CARGO_PKG_VERSION"), "started");

    let mut tasks = JoinSet::new();
    let (triggers, triggered) = Triggers::new(bots.clone());
    let leases = Arc::<Leases>::default();
    let context = Arc::new(Context {
        children: Children::watch(&client, &options.scope, &triggers, &leases, &mut tasks),
        config_maps: ConfigMaps::watch(&client, &options.scope, triggers.clone(), &mut tasks),
        pods: Pods::watch(&client, &options.scope, &mut tasks),
        hosts: Hosts::new(triggers.clone()),
        leases: Arc::clone(&leases),
        secrets: Secrets::default(),
        causes: triggers.causes(),
        looks: Looks::default(),
        shares: Shares::default(),
        events: Events::default(),
        backoff: Backoff::of_failures(),
        outdated: Backoff::of_conflicts(),
        metrics,
        client,
        bots: bots.clone(),
        installation: options.installation,
    });
    let watch = BotWatch::new(writer, triggers.clone(), Arc::clone(&context));
    let again = triggers.clone();
    tasks.spawn(async move { leases.expire(again).await });
    let resign = CancellationToken::new();
    let elected = options.election.map(|candidacy| {
        let election = Election::new(of_lease, &candidacy, identity, fence.clone());
        tokio::spawn(election.run(resign.clone()))
    });
    let (listed, bots_listed) = watch::channel(false);
    tasks.spawn(tell_ready(Arc::clone(&context), bots_listed, ready));
    let (scope, concurrency) = (options.scope, options.concurrency);
    let work = Work { context, scope, concurrency, bots, watch, listed, triggers, triggered };
    tokio::select! {
        () = work.run(&fence, &stop) => {}
        () = async { stop.cancelled().await; tokio::time::sleep(WRITE_GRACE).await } => {
            warn!("a write was not answered in time; who leads next finishes it");
        }
    }
    stop.cancel();
    resign.cancel();
    if let Some(elected) = elected {
        match tokio::time::timeout(RESIGN_GRACE, elected).await {
            Ok(ended) => ended.context("the election ended")?,
            Err(_) => warn!("the Lease was not released in time; it runs out"),
        }
    }
    // Whoever keeps a connection open, or a request unfinished, is not waited for.
    if let Ok(served) = tokio::time::timeout(HTTP_GRACE, served).await {
        served.context("the server ended")?.context("the server failed")?;
    }
    info!("stopped");
    Ok(())
}

/// By which the API server's audit log tells the processes of one operator apart.
fn user_agent(identity: &str) -> anyhow::Result<HeaderValue> {
    let text = format!("tradingbot-operator/{} ({identity})", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).with_context(|| format!("--name makes no User-Agent: {text:?}"))
}

/// Sets the flag once everything was listed: a standby is ready too. Not the store of bots is asked: of those who
/// wait for it only one is woken, and that is the controller's.
async fn tell_ready(context: Arc<Context>, mut bots: watch::Receiver<bool>, ready: Arc<AtomicBool>) {
    listed(&context).await;
    if bots.wait_for(|listed| *listed).await.is_ok() {
        ready.store(true, Ordering::Relaxed);
        info!("ready");
    }
}

async fn listed(context: &Context) {
    context.children.wait_until_ready().await;
    context.config_maps.wait_until_ready().await;
    context.pods.wait_until_ready().await;
}

/// The work on bots: always watched, written while this process leads.
struct Work {
    context: Arc<Context>,
    scope: Scope,
    concurrency: u16,
    bots: Store<Guarded>,
    watch: BotWatch,
    listed: watch::Sender<bool>,
    triggers: Triggers,
    triggered: UnboundedReceiver<BotRef>,
}

impl Work {
    /// Runs until it is told to stop, and finishes what it began.
    async fn run(mut self, fence: &Fence, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = fence.opened() => {
                    self.context.metrics.leads(true);
                    self.lead(fence, stop).await;
                    self.context.metrics.leads(false);
                }
                () = self.watch(None) => {}
            }
        }
    }

    /// One term. It begins with a list of all bots: what a standby has seen may be old without its knowing,
    /// and an old configuration must not be written over a newer one. Work that the end of the term cuts
    /// short is left as a crash would leave it: whoever leads next finishes it.
    async fn lead(&mut self, fence: &Fence, stop: &CancellationToken) {
        self.context.begin_term();
        let (queue, queued) = mpsc::unbounded();
        let (context, bots) = (Arc::clone(&self.context), self.bots.clone());
        let control = control(&context, &bots, queued, self.concurrency, stop);
        tokio::select! {
            biased;
            () = control => {}
            () = fence.shut() => warn!("leading no more: nothing is written until this process leads again"),
            () = self.watch(Some(queue)) => {}
        }
    }

    /// Lists and watches the bots, and queues those that are worth a look if there is a queue. Never ends.
    async fn watch(&mut self, queue: Option<UnboundedSender<BotRef>>) {
        let events = self.scope.watch(&self.context.client, &watcher::Config::default());
        // What nobody here reads is most of a bot: kubectl keeps a second copy of it in an annotation.
        let mut events = events.modify(|bot: &mut Guarded| {
            bot.meta_mut().managed_fields = None;
            bot.meta_mut().annotations = None;
        });
        let mut listed = false;
        loop {
            tokio::select! {
                Some(bot) = self.triggered.next() => {
                    // Before the list the store may be a former watch's, and old.
                    if let Some(queue) = queue.as_ref().filter(|_| listed) {
                        // Its receiver ends with the term, as this does.
                        queue.unbounded_send(bot).ok();
                    }
                }
                Some(event) = events.next() => match event {
                    Ok(event) => {
                        self.watch.take(&event);
                        if matches!(event, Event::InitDone) {
                            listed = true;
                            self.listed.send_replace(true);
                            // What was asked for while nobody led is forgotten: each bot is looked at.
                            if queue.is_some() {
                                self.triggers.each(|_| true, Cause::Stages);
                            }
                        }
                    }
                    Err(error) => {
                        warn!(%error, "the watch of TradingBots is interrupted; is their CRD installed?");
                    }
                },
            }
        }
    }
}

/// Reconciles what is queued until it is told to stop, and finishes what it began.
async fn control(
    context: &Arc<Context>,
    bots: &Store<Guarded>,
    queued: UnboundedReceiver<BotRef>,
    concurrency: u16,
    stop: &CancellationToken,
) {
    // What is not listed yet would look absent.
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = listed(context) => {}
    }
    Controller::for_stream(stream::pending(), bots.clone())
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(queued)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, wait_after, Arc::clone(context))
        .for_each(async |result| match result {
            Ok((bot, _)) => debug!(%bot, "reconciled"),
            // Failures are logged where they are counted; a bot that is gone is no failure.
            Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
            Err(error) => warn!(%error, "the controller is interrupted"),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use crds::api::TradingBotStatus;
    use serde_json::json;

    use super::*;
    use crate::controller::bench::{Bench, list};

    /// The work on one bot that a former watch has shown.
    fn work(bench: Bench) -> (Work, BotRef) {
        let bot = bench.bot(|_| {});
        let bot_ref = BotRef::from_obj(&bot);
        let (bots, writer) = reflector::store();
        let (triggers, triggered) = Triggers::new(bots.clone());
        let (bots_there, causes) = (bots.clone(), triggers.causes());
        let context = Context { bots: bots_there, causes, ..Arc::into_inner(bench.context).unwrap() };
        let context = Arc::new(context);
        let mut watch = BotWatch::new(writer, triggers.clone(), Arc::clone(&context));
        for event in [Event::Init, Event::InitApply(bot), Event::InitDone] {
            watch.take(&event);
        }
        let (listed, _) = watch::channel(false);
        let scope = Scope::default();
        (Work { context, scope, concurrency: 1, bots, watch, listed, triggers, triggered }, bot_ref)
    }

    #[tokio::test]
    async fn nothing_is_looked_at_before_the_list_of_this_term_is_done() {
        let bench = Bench::new();
        let server = bench.server.clone();
        let newer = json!({"metadata": {"name": "paper-btc", "namespace": "trading", "generation": 4,
            "resourceVersion": "200", "uid": bench.bot(|_| {}).meta().uid}, "spec": {}});
        server.answer("GET", "/tradingbots", 200, list(json!([newer])));
        let list_it = server.hold("/tradingbots");
        let (mut work, bot_ref) = work(bench);
        let (queue, queued) = mpsc::unbounded();
        let seen = Mutex::new(Vec::new());
        let bots = work.bots.clone();
        let reader = queued.for_each(async |bot| {
            seen.lock().unwrap().push(bots.get(&bot).unwrap().meta().generation);
        });
        work.triggers.one(bot_ref, Cause::Stages);
        let story = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(*seen.lock().unwrap(), [], "what the store has is old");
            list_it.cancel();
            while seen.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(seen.lock().unwrap().iter().all(|generation| *generation == Some(4)));
        };
        tokio::select! {
            () = work.watch(Some(queue)) => {}
            () = reader => {}
            ended = tokio::time::timeout(Duration::from_secs(20), story) => ended.unwrap(),
        }
    }

    #[tokio::test]
    async fn a_term_begins_with_nothing_of_a_former_one() {
        let bench = Bench::new();
        let uid = bench.bot(|_| {}).meta().uid.clone().unwrap();
        let (mut work, _) = work(bench);
        let context = Arc::clone(&work.context);
        context.backoff.failed(&uid);
        context.outdated.failed(&uid);
        context.shares.keep(&uid, 7, TradingBotStatus::default());
        let stopped = CancellationToken::new();
        stopped.cancel();
        work.lead(&Fence::open(), &stopped).await;
        assert_eq!((context.backoff.failures(&uid), context.outdated.failures(&uid)), (0, 0));
        assert_eq!(context.shares.newest(&uid, 0, None).0, 0);
    }
}
