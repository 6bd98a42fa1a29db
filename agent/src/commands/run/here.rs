//! A bot on a laptop: no cluster, no key, no configuration but its manifest.

use anyhow::anyhow;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use super::{Here, Service, say_ended};
use crate::commands::answer::say;
use crate::commands::local::{Local, read_manifest};
use crate::commands::{Failure, InputError, default_journal, tables};
use crate::driver::{Configure, Driver, Ended, Ports};
use crate::feed::replay::Plan;
use crate::feed::{Steps, replay};
use crate::gate::Gate;
use crate::http;
use crate::http::keys::Keys;
use crate::journal::{Journal, Reader};

pub async fn run(arguments: Here, stop: CancellationToken) -> Result<(), Failure> {
    let file = arguments.file.clone().unwrap_or_default();
    let local = Local::new(read_manifest(&file)?, &arguments.data)?;
    let span = info_span!("agent", bot = %local.identity);
    trade(arguments, local, stop).instrument(span).await
}

async fn trade(arguments: Here, local: Local, stop: CancellationToken) -> Result<(), Failure> {
    let Local { identity, effective, plan } = local;
    let mut plan: Plan = plan
        .ok_or_else(|| {
            anyhow!(
                "the manifest's bars are in ConfigMaps, which only a cluster has; \
                 give --data FOLDER, FILE or PAIR@TIMEFRAME=FILE"
            )
        })
        .input()?;
    plan.speed = arguments.speed.unwrap_or(plan.speed);
    // Before anything is made: bars that cannot be used are found here.
    let steps = Steps::open(plan.sources.clone(), plan.on_end).input()?;
    let place = arguments.journal.place()?.unwrap_or_else(|| default_journal(&identity.name));
    let keys = arguments.keys.as_deref().map(Keys::open);
    let (listener, access) = http::bind_local(arguments.address(), keys).await.map_err(|error| {
        let input = matches!(error, http::HttpError::Unprotected { .. } | http::HttpError::NoKeys { .. });
        if input { Failure::Input(error.into()) } else { Failure::Fatal(error.into()) }
    })?;
    let service = Service::start(listener, access, &identity, place.clone(), None);

    let (journal, recovered) = Journal::open(&place, &identity, Some(&effective.bot)).await?;
    info!(
        journal = %place, events = journal.last_seq(), replayed = recovered.replayed, applied = recovered.applied,
        bars = steps.bars(), "recovered"
    );
    let resume = recovered.resume;
    let wanted = Configure { config: effective.bot, generation: None };
    let ports = Ports {
        view: service.view.clone(),
        metrics: service.metrics.clone(),
        heartbeat: service.heartbeat.clone(),
        gate: Gate::Local,
        exit_at_end: arguments.exit_at_end,
        wait_for_data: false,
    };
    let driver = Driver::new(identity, journal, recovered, wanted, ports).await?;
    let feed = replay::start(plan, Some(steps), resume);
    // Nobody changes a manifest under a running process here.
    let (_configurations, none) = mpsc::channel(1);
    let ended = driver.run(feed, none, stop).await;
    service.stop().await;
    let ended = ended?;
    say_ended(ended);
    if ended == Ended::EndOfData {
        let mut reader = Reader::open(&place).await?;
        if let Some(view) = reader.view().await? {
            say(&tables::status(&view))?;
        }
        reader.close().await;
    }
    Ok(())
}
