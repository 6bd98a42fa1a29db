//! A bot in a pod: what the operator made is its input, the Lease its right to trade.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use crds::api::TradingBot;
use crds::contract;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::{Service, say_ended};
use crate::cluster::config::{follow, newest};
use crate::cluster::lease::Window;
use crate::cluster::renewal::Renewal;
use crate::cluster::status::StatusWriter;
use crate::cluster::{Environment, certificate};
use crate::commands::{Failure, InputError};
use crate::driver::{Configure, Driver, DriverError, Ended, Ports};
use crate::feed::replay::Plan;
use crate::feed::{files, replay};
use crate::gate::{Gate, Holding};
use crate::http::keys::Keys;
use crate::http::{self, Access};
use crate::journal::{self, Journal};
use tokio::sync::watch;

pub async fn run(stop: CancellationToken) -> Result<(), Failure> {
    let environment = Environment::read(|name| std::env::var(name).ok()).input()?;
    let span = info_span!("agent", bot = %environment.bot);
    serve(environment, stop).instrument(span).await
}

async fn serve(environment: Environment, stop: CancellationToken) -> Result<(), Failure> {
    let bot = &environment.bot;
    let keys = Keys::open(Path::new(contract::KEYS_DIR));
    if keys.is_empty() {
        warn!(folder = contract::KEYS_DIR, "there are no API keys: every request is refused until there are");
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, contract::AGENT_PORT));
    let listener = http::bind(address).await?;
    let folder = Path::new(contract::JOURNAL_DIR);
    let access = Access::Keys(Arc::new(keys));
    let service = Service::start(listener, access, bot, folder.into(), environment.exposed.clone());

    let client =
        Client::try_default().await.context("the API server's address or credentials are missing")?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), &bot.namespace);
    let (renewal, holding) = Renewal::new(leases, &environment, service.metrics.clone());
    let release = CancellationToken::new();
    // It is taken while the journal is read: whoever recovers is about to trade.
    let renewal = tokio::spawn(renewal.run(release.clone()).in_current_span());

    let ended = trade(&environment, &service, client, holding, stop).await;
    release.cancel();
    let (_, _) = tokio::join!(renewal, service.stop());
    say_ended(ended?);
    Ok(())
}

async fn trade(
    environment: &Environment,
    service: &Service,
    client: Client,
    holding: watch::Receiver<Holding>,
    stop: CancellationToken,
) -> Result<Ended, Failure> {
    let bot = &environment.bot;
    let folder = Path::new(contract::JOURNAL_DIR);
    let children = contract::child_name(&bot.name);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &bot.namespace);
    let rendering = match newest(Path::new(contract::CONFIG_DIR), &maps, &children).await {
        Ok(rendering) => Some(rendering),
        Err(error) if folder.join(journal::FILE).is_file() => {
            warn!(%error, "going on with the configuration in the journal");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let config = rendering.as_ref().map(|rendering| &rendering.config);
    let (journal, recovered) = tokio::select! {
        biased;
        // A long journal takes its time, a shutdown has none; what was read is read again.
        () = stop.cancelled() => return Ok(Ended::Stopped),
        opened = Journal::open(folder, bot, config) => opened?,
    };
    info!(
        events = journal.last_seq(),
        replayed = recovered.replayed,
        applied = recovered.applied,
        "recovered"
    );
    let resume = recovered.resume;
    let wanted = match rendering {
        Some(rendering) => rendering.into(),
        None => Configure { config: recovered.engine.config().clone(), generation: recovered.generation },
    };
    let ports = Ports {
        view: service.view.clone(),
        metrics: service.metrics.clone(),
        heartbeat: service.heartbeat.clone(),
        gate: Gate::Lease { holding: holding.clone(), window: Window::default() },
        exit_at_end: false,
        wait_for_data: true,
    };
    let driver = Driver::new(bot.clone(), journal, recovered, wanted, ports).await?;

    let bots: Api<TradingBot> = Api::namespaced(client, &bot.namespace);
    let (certificate, reader) = certificate::follow(environment.tls_secret.clone());
    let reader = tokio::spawn(reader.in_current_span());
    let writer = StatusWriter::new(
        bots,
        environment.clone(),
        service.view.subscribe(),
        certificate,
        holding,
        service.metrics.clone(),
    );
    let writer = tokio::spawn(writer.run().in_current_span());
    let (sender, configurations) = mpsc::channel(4);
    let follower = tokio::spawn(follow(maps, children, sender).in_current_span());
    let plan = Plan::new(driver.config(), files::mounted(driver.config())).input()?;
    let feed = replay::start(plan, None, resume);
    let ended = driver.run(feed, configurations, stop).await;
    reader.abort();
    writer.abort();
    follower.abort();
    ended.map_err(|error: DriverError| error.into())
}
