//! The one task that owns engine and journal. Everyone else hears of what is durable, and only then.

mod configuration;
mod durability;
mod heartbeat;
mod venues;

use std::sync::Arc;
use std::time::Duration;

use crds::config::BotConfig;
use engine::{BotId, Engine, Event, EventKind, Output};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::feed::csv::CsvError;
use crate::feed::replay::Delivery;
use crate::feed::{FeedHealth, Step};
use crate::gate::Gate;
use crate::journal::{Entry, Journal, JournalError, Recovered};
use crate::metrics::Metrics;
use crate::venue::{Outbox, Venues};
use crate::view::{Surroundings, View};

pub use configuration::Configure;
use durability::Trouble;
pub use heartbeat::Heartbeat;

/// Events of one commit at most, and the longest that they may take: others run in between.
const BATCH_EVENTS: usize = 1_024;
const BATCH_TIME: Duration = Duration::from_millis(20);
/// Events of a live market that wait for a journal which takes nothing, at most: there is memory for as many.
const MOST_PENDING: usize = 100_000;

/// Why a bot cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The truth cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The data cannot be used.
    #[error(transparent)]
    Feed(#[from] CsvError),
    /// The engine refuses the configuration.
    #[error(
        "the configuration cannot replace the one that the journal was written with: {0}; \
         undo the change, or name another folder with --journal to start anew"
    )]
    Configuration(String),
    /// Another process holds the lease.
    #[error("LeaseLost: the Lease belongs to {holder} now; this process stops so that one agent trades")]
    LeaseLost {
        /// The other's identity.
        holder: String,
    },
    /// The venues' side is gone.
    #[error(
        "VenuesLost: nothing is heard from the venues any more; this process stops, and the next one asks what \
         became of its orders"
    )]
    VenuesLost,
    /// A configuration has no hash.
    #[error("the configuration cannot be hashed: {0}")]
    Hash(#[from] serde_json::Error),
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The data ended.
    EndOfData,
    /// The new configuration needs a new process.
    Restart,
}

/// What the task needs beside its journal.
#[derive(Debug)]
pub struct Ports {
    /// Where projections go.
    pub view: watch::Sender<Option<Arc<View>>>,
    /// Where counts go.
    pub metrics: Metrics,
    /// Where the loop shows that it lives.
    pub heartbeat: Heartbeat,
    /// Whether the market may go on.
    pub gate: Gate,
    /// Whether the end of the data is the end of the run.
    pub exit_at_end: bool,
    /// Whether unusable data is a condition to be reported, as opposed to the end.
    pub wait_for_data: bool,
}

/// A bot, alive.
#[derive(Debug)]
pub struct Driver {
    engine: Engine,
    journal: Journal,
    around: Surroundings,
    ports: Ports,
    pending: Vec<Entry>,
    lease_told: bool,
    /// Positions and orders that were open when a configuration was refused on their account.
    refused_with: Option<usize>,
    /// What keeps the journal from taking entries.
    trouble: Option<Trouble>,
    /// The venues that answer by message, and what is on its way to them.
    venues: Option<Venues>,
    outbox: Outbox,
}

impl Driver {
    /// Brings a recovered bot under the configuration that is in force now.
    ///
    /// # Errors
    /// When the engine refuses the configuration or the journal cannot be written.
    pub async fn new(
        identity: BotId,
        journal: Journal,
        recovered: Recovered,
        wanted: Configure,
        ports: Ports,
    ) -> Result<Self, DriverError> {
        let Recovered { engine, generation, resume: _, closed_trades, fills, replayed: _, applied: _ } =
            recovered;
        let around = Surroundings {
            bot: identity,
            started_at: Timestamp::now(),
            config_hash: engine.config().hash()?,
            generation,
            feed: FeedHealth::Starting,
            lease_held: false,
            closed_trades,
            fills,
            refused_config: None,
        };
        let pending = Vec::new();
        let mut driver = Self {
            engine,
            journal,
            around,
            ports,
            pending,
            lease_told: false,
            refused_with: None,
            trouble: None,
            venues: None,
            outbox: Outbox::default(),
        };
        driver.configure(wanted)?;
        // Even when nothing changed the projection is of this process from here on.
        driver.commit().await?;
        match driver.take_trouble() {
            None => Ok(driver),
            Some(error) => Err(error.into()),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &BotConfig {
        self.engine.config()
    }

    /// Handles what comes until asked to stop, the data ends, or something cannot go on. The journal is
    /// closed in every case, with a snapshot when nothing failed.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub async fn run(
        mut self,
        feed: mpsc::Receiver<Delivery>,
        configurations: mpsc::Receiver<Configure>,
        stop: CancellationToken,
    ) -> Result<Ended, DriverError> {
        let mut ended = self.turn(feed, configurations, stop).await;
        if ended.is_ok() && self.trouble.is_some() {
            // A last attempt: the engine is ahead of its journal and cannot be kept as it is.
            let last = self.write().await;
            ended = last.and(match self.take_trouble() {
                Some(error) => Err(error.into()),
                None => ended,
            });
        }
        let kept = match &ended {
            Ok(_) => self.journal.snapshot(&self.engine).await,
            Err(_) => Ok(()),
        };
        let closed = self.journal.close().await;
        let ended = ended?;
        kept.and(closed)?;
        Ok(ended)
    }

    async fn turn(
        &mut self,
        mut feed: mpsc::Receiver<Delivery>,
        mut configurations: mpsc::Receiver<Configure>,
        stop: CancellationToken,
    ) -> Result<Ended, DriverError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut feeding = true;
        let mut held = None;
        loop {
            self.ports.heartbeat.beat();
            let refused = self.refused_with.is_some_and(|before| self.open() < before);
            if refused && self.trouble.is_none() {
                info!("a position is closed; the refused configuration is tried again");
                return Ok(Ended::Restart);
            }
            if self.ports.exit_at_end && self.around.feed == FeedHealth::Finished && self.trouble.is_none() {
                return Ok(Ended::EndOfData);
            }
            if let Some(holder) = self.ports.gate.lost_to() {
                return Err(DriverError::LeaseLost { holder });
            }
            let open = self.open_gate().await?;
            let again = self.tried_again_at();
            // A recorded market waits. A live one goes on, and what it does to positions must be seen.
            let feeds = match self.is_live() {
                true => self.pending.len() < MOST_PENDING,
                false => open && again.is_none(),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    self.write().await?;
                }
                Some(wanted) = configurations.recv() => {
                    if self.needs_restart(&wanted)? {
                        info!("the new configuration needs a new process");
                        return Ok(Ended::Restart);
                    }
                    self.configure(wanted)?;
                    self.commit().await?;
                }
                () = self.ports.gate.changed() => {}
                _ = tick.tick() => self.pass_time().await?,
                report = venues::next_report(&mut self.venues), if self.lease_told => match report {
                    Some(report) => self.report(report).await?,
                    None => return Err(DriverError::VenuesLost),
                },
                delivery = next(&mut held, &mut feed), if feeding && feeds => match delivery {
                    // A process that was frozen while it waited for this finds its lease old.
                    Some(delivery) if !self.is_live() && !self.ports.gate.is_open() => held = Some(delivery),
                    Some(delivery) => {
                        self.take(delivery, &mut feed)?;
                        self.commit().await?;
                    }
                    None => feeding = false,
                },
            }
        }
    }

    /// Whether the market may go on; the engine is told when it first may.
    async fn open_gate(&mut self) -> Result<bool, DriverError> {
        let open = self.ports.gate.is_open();
        if open && !self.lease_told {
            self.lease_told = true;
            self.handle(Event { at: Timestamp::now(), kind: EventKind::Lease { held: true } });
            self.around.lease_held = true;
            self.take_over();
            self.commit().await?;
        } else if open != self.around.lease_held {
            // The market stands still while the gate is shut, so that the engine has nothing to decide;
            // telling it would cancel orders that the same data leaves alone in another run.
            if open {
                info!("the lease is held again");
            } else {
                warn!("the lease is not held: the market stands still");
            }
            self.around.lease_held = open;
            self.tell_of_lease(open).await?;
            self.publish();
        }
        Ok(open)
    }

    /// Handles a delivery and what has arrived behind it.
    fn take(&mut self, first: Delivery, feed: &mut mpsc::Receiver<Delivery>) -> Result<(), DriverError> {
        let began = Instant::now();
        let mut next = Some(first);
        while let Some(delivery) = next {
            match delivery {
                Delivery::Step(Step { events, warmup, .. }) => {
                    if !warmup {
                        self.around.feed = FeedHealth::Replaying;
                    }
                    for event in events {
                        self.handle(event);
                    }
                }
                Delivery::Finished => {
                    let market_time = self.engine.market_time().map(|at| at.to_string());
                    info!(market_time, "the data ended");
                    self.around.feed = FeedHealth::Finished;
                    return Ok(());
                }
                Delivery::Broken(error) if self.ports.wait_for_data => {
                    error!(%error, "the data cannot be used");
                    self.around.feed = FeedHealth::Broken(error.to_string());
                }
                Delivery::Broken(error) => return Err(error.into()),
            }
            let full = self.pending.len() >= BATCH_EVENTS || began.elapsed() >= BATCH_TIME;
            next = if full { None } else { feed.try_recv().ok() };
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        let mut outputs = Vec::new();
        self.engine.handle(&event, &mut outputs);
        for output in &outputs {
            match output {
                Output::TradeClosed(_) => self.around.closed_trades += 1,
                Output::Fill(_) => self.around.fills += 1,
                _ => {}
            }
        }
        let at_once = self.outbox.take(&event, &outputs);
        self.pending.push(Entry { event, outputs });
        self.send(at_once);
    }

    fn open(&self) -> usize {
        self.engine.positions().len() + self.engine.open_orders().len()
    }
}

/// What was held back, or what comes next.
async fn next(held: &mut Option<Delivery>, feed: &mut mpsc::Receiver<Delivery>) -> Option<Delivery> {
    match held.take() {
        Some(delivery) => Some(delivery),
        None => feed.recv().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::BootTime;
    use crate::cluster::lease::Window;
    use crate::feed::replay;
    use crate::fixtures::{Site, config, handled, identity, steps, view};
    use crate::gate::Holding;
    use crate::journal::{Place, Reader};
    use sqlx::{Connection, Executor};

    fn plan(speed: f64) -> replay::Plan {
        replay::Plan { speed, on_end: crds::config::OnEnd::Hold, sources: Vec::new() }
    }

    pub(super) fn wanted(config: BotConfig, generation: Option<i64>) -> Configure {
        Configure { config, generation }
    }

    pub(super) async fn driver(
        place: impl Into<Place>,
        gate: Gate,
    ) -> (Driver, watch::Receiver<Option<Arc<View>>>, Option<Timestamp>) {
        let (journal, recovered) = Journal::open(place, &identity(), Some(&config())).await.unwrap();
        let resume = recovered.resume;
        let (view, receiver) = watch::channel(None);
        let ports = Ports {
            view,
            metrics: Metrics::new("default", "majors"),
            heartbeat: Heartbeat::default(),
            gate,
            exit_at_end: true,
            wait_for_data: false,
        };
        let driver =
            Driver::new(identity(), journal, recovered, wanted(config(), None), ports).await.unwrap();
        (driver, receiver, resume)
    }

    fn idle() -> (mpsc::Sender<Configure>, mpsc::Receiver<Configure>, CancellationToken) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, receiver, CancellationToken::new())
    }

    /// An engine that was given everything, and its trades.
    fn undisturbed() -> (Engine, Vec<engine::Trade>) {
        let mut engine = engine::Engine::new(identity(), config()).unwrap();
        let mut trades = Vec::new();
        handled(&mut engine, Event { at: Timestamp::UNIX_EPOCH, kind: EventKind::Lease { held: true } });
        let mut bars = steps();
        while let Some(step) = bars.next_step().unwrap() {
            for event in step.events {
                trades.extend(handled(&mut engine, event).outputs.into_iter().filter_map(|o| match o {
                    Output::TradeClosed(trade) => Some(trade),
                    _ => None,
                }));
            }
        }
        assert!(!trades.is_empty());
        (engine, trades)
    }

    #[tokio::test]
    async fn whatever_the_pace_and_the_stops_the_trades_are_those_of_the_engine_alone() {
        let (engine, expected) = undisturbed();
        for (speed, stop_after) in [(0.0, None), (4e7, None), (2e7, Some(Duration::from_millis(150)))] {
            let folder = tempfile::tempdir().unwrap();
            loop {
                let (driver, view, resume) = driver(folder.path(), Gate::Local).await;
                let feed = replay::start(plan(speed), Some(steps()), resume);
                let (_sender, none, stop) = idle();
                if let Some(after) = stop_after {
                    let stop = stop.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        stop.cancel();
                    });
                }
                if driver.run(feed, none, stop).await.unwrap() == Ended::EndOfData {
                    let view = view.borrow().clone().unwrap();
                    assert_eq!(view.account, engine.account());
                    assert_eq!(view.positions, engine.positions());
                    assert_eq!(view.feed.reason, "ReplayFinished");
                    break;
                }
            }
            let trades = Reader::open(folder.path()).await.unwrap().trades(1_000).await.unwrap();
            assert_eq!(trades, expected);
        }
    }

    fn trouble(view: &Option<Arc<View>>) -> Option<&str> {
        view.as_ref()?.journal.trouble.as_deref()
    }

    #[tokio::test]
    async fn a_full_disk_holds_the_market_until_there_is_room_and_changes_no_trade() {
        let (engine, expected) = undisturbed();
        let site = Site::sqlite();
        let (mut driver, mut view, resume) = driver(&site.place, Gate::Local).await;
        driver.journal.fill_disk().await;
        let metrics = driver.ports.metrics.clone();
        let feed = replay::start(plan(0.0), Some(steps()), resume);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(feed, none, stop));
        view.wait_for(|view| trouble(view) == Some("JournalDiskFull")).await.unwrap();
        let shown = view.borrow().clone().unwrap();
        assert_eq!(shown.loop_health.as_str(), "Degraded");
        assert!(shown.events < 10, "{} events are shown, which are not durable", shown.events);
        assert!(shown.journal.message.contains("free some"), "{:?}", shown.journal);
        assert!(metrics.text().unwrap().contains("tradingbot_journal_healthy 0"));
        // The next connection has room.
        assert_eq!(running.await.unwrap().unwrap(), Ended::EndOfData);
        let shown = view.borrow().clone().unwrap();
        assert_eq!((trouble(&Some(shown.clone())), &shown.account), (None, &engine.account()));
        let text = metrics.text().unwrap();
        assert!(text.contains("tradingbot_journal_failures_total{reason=\"JournalDiskFull\"}"), "{text}");
        assert!(text.contains("tradingbot_journal_healthy 1"));
        assert_eq!(Reader::open(&site.place).await.unwrap().trades(1_000).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_database_that_goes_away_holds_the_market_until_it_is_back_and_changes_no_trade() {
        let (engine, expected) = undisturbed();
        let mut site = Site::postgres();
        let (driver, mut view, resume) = driver(&site.place, Gate::Local).await;
        let heartbeat = driver.ports.heartbeat.clone();
        let feed = replay::start(plan(4e6), Some(steps()), resume);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(feed, none, stop));
        for (events, how) in [(2_000, lab::postgres::Stop::Crash), (4_000, lab::postgres::Stop::Fast)] {
            view.wait_for(|view| view.as_ref().is_some_and(|view| view.events > events)).await.unwrap();
            let server = site.server.as_mut().unwrap();
            server.stop(how).unwrap();
            view.wait_for(|view| trouble(view) == Some("JournalUnreachable")).await.unwrap();
            let still = view.borrow().as_ref().unwrap().events;
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            assert_eq!(
                view.borrow().as_ref().unwrap().events,
                still,
                "nothing was shown that is not durable"
            );
            assert!(heartbeat.age().unwrap() < Duration::from_secs(5), "the loop lives");
            server.start_again().unwrap();
            view.wait_for(|view| trouble(view).is_none()).await.unwrap();
        }
        assert_eq!(running.await.unwrap().unwrap(), Ended::EndOfData);
        assert_eq!(view.borrow().as_ref().unwrap().account, engine.account());
        assert_eq!(Reader::open(&site.place).await.unwrap().trades(1_000).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_slow_write_is_told_of_while_it_lasts_and_no_longer() {
        let site = Site::postgres();
        let (driver, mut view, _) = driver(&site.place, Gate::Local).await;
        let (feed, deliveries) = mpsc::channel(1);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(deliveries, none, stop.clone()));
        let mut server = sqlx::PgConnection::connect(&site.server.as_ref().unwrap().url()).await.unwrap();
        server.execute("BEGIN; LOCK TABLE snapshots").await.unwrap();
        // The lease, and steps up to the first snapshot; nothing comes after it.
        let (mut given, mut bars) = (1, steps());
        while given < crate::journal::SNAPSHOT_EVERY {
            let step = bars.next_step().unwrap().unwrap();
            given += i64::try_from(step.events.len()).unwrap();
            feed.send(Delivery::Step(step)).await.unwrap();
        }
        view.wait_for(|view| trouble(view) == Some("JournalSlow")).await.unwrap();
        let shown = view.borrow().clone().unwrap();
        assert_eq!((shown.events, shown.loop_health.as_str()), (given, "Degraded"));
        server.execute("COMMIT").await.unwrap();
        view.wait_for(|view| trouble(view).is_none()).await.unwrap();
        stop.cancel();
        assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    }

    #[tokio::test]
    async fn who_is_stopped_while_the_journal_takes_nothing_says_so_and_loses_nothing() {
        let mut site = Site::postgres();
        let (driver, mut view, resume) = driver(&site.place, Gate::Local).await;
        let feed = replay::start(plan(4e6), Some(steps()), resume);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(feed, none, stop.clone()));
        view.wait_for(|view| view.as_ref().is_some_and(|view| view.events > 1_000)).await.unwrap();
        site.server.as_mut().unwrap().stop(lab::postgres::Stop::Crash).unwrap();
        view.wait_for(|view| trouble(view) == Some("JournalUnreachable")).await.unwrap();
        let durable = view.borrow().as_ref().unwrap().events;
        stop.cancel();
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("cannot be reached"), "{error}");
        site.server.as_mut().unwrap().start_again().unwrap();
        let (journal, recovered) = Journal::open(&site.place, &identity(), None).await.unwrap();
        assert!(journal.last_seq() >= durable);
        // Nothing that is not durable is in the engine.
        assert_eq!(recovered.engine.market_time(), recovered.resume);
    }

    #[tokio::test]
    async fn a_driver_whose_journal_was_taken_over_ends() {
        let site = Site::sqlite();
        let (driver, mut view, resume) = driver(&site.place, Gate::Local).await;
        let feed = replay::start(plan(4e6), Some(steps()), resume);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(feed, none, stop));
        view.wait_for(|view| view.as_ref().is_some_and(|view| view.events > 100)).await.unwrap();
        site.tamper("UPDATE meta SET value = '9' WHERE key = 'epoch'").await;
        let error = running.await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with("JournalFenced"), "{error}");
    }

    #[tokio::test]
    async fn the_market_stands_still_until_the_lease_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let (lease, holding) = watch::channel(Holding::Waiting);
        let gate = Gate::Lease { holding, window: Window::default() };
        let (driver, mut view, _) = driver(folder.path(), gate).await;
        let feed = replay::start(plan(0.0), Some(steps()), None);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(feed, none, stop));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(view.borrow_and_update().as_ref().unwrap().events, 0, "nothing was handled");
        lease.send_replace(Holding::Held { sent: BootTime::now() });
        view.wait_for(|view| view.as_ref().is_some_and(|view| view.events > 100 && view.lease_held))
            .await
            .unwrap();
        assert_eq!(running.await.unwrap().unwrap(), Ended::EndOfData);
    }

    #[tokio::test]
    async fn what_arrives_after_the_window_shut_waits_for_the_next_renewal() {
        let folder = tempfile::tempdir().unwrap();
        // It shuts between two looks of the loop at the gate, as it does for a process that was frozen.
        let nearly_old = crds::contract::lease::ENTRY_WINDOW - Duration::from_millis(300);
        let sent = BootTime::from_start(BootTime::now().since(BootTime::from_start(nearly_old)));
        let (lease, holding) = watch::channel(Holding::Held { sent });
        let gate = Gate::Lease { holding, window: Window::default() };
        let (driver, mut view, _) = driver(folder.path(), gate).await;
        let (feed, deliveries) = mpsc::channel(1);
        let (_sender, none, stop) = idle();
        let running = tokio::spawn(driver.run(deliveries, none, stop.clone()));
        tokio::time::sleep(Duration::from_millis(500)).await;
        feed.send(Delivery::Step(steps().next_step().unwrap().unwrap())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let market_time = |view: &Option<Arc<View>>| view.as_ref().and_then(|view| view.market_time);
        assert_eq!(market_time(&view.borrow_and_update()), None, "it was handled on an old renewal");
        lease.send_replace(Holding::Held { sent: BootTime::now() });
        view.wait_for(|view| market_time(view).is_some()).await.unwrap();
        stop.cancel();
        assert_eq!(running.await.unwrap().unwrap(), Ended::Stopped);
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (_lease, holding) = watch::channel(Holding::Lost { holder: "other".into() });
        let gate = Gate::Lease { holding, window: Window::default() };
        let (driver, ..) = driver(folder.path(), gate).await;
        let (_sender, none, stop) = idle();
        let (_feed, deliveries) = mpsc::channel(1);
        let error = driver.run(deliveries, none, stop).await.unwrap_err().to_string();
        assert!(error.contains("LeaseLost") && error.contains("other"), "{error}");
    }

    #[tokio::test]
    async fn a_refused_configuration_leaves_exits_only_until_what_is_held_is_closed() {
        let spec = serde_json::json!({
            "assets": [{"pair": "ETH-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "ETH-USD", "timeframe": "1h", "configMaps": [{"name": "eth", "key": "h1.csv"}]}
            ]}}]
        });
        let other = crds::config::resolve(&spec).unwrap().bot;
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut recovered) =
            Journal::open(folder.path(), &identity(), Some(&config())).await.unwrap();
        let lease = Event { at: Timestamp::UNIX_EPOCH, kind: EventKind::Lease { held: true } };
        let mut entries = vec![handled(&mut recovered.engine, lease)];
        let mut bars = steps();
        while recovered.engine.positions().is_empty() {
            for event in bars.next_step().unwrap().expect("the bars make a trade").events {
                entries.push(handled(&mut recovered.engine, event));
            }
        }
        journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
        recovered.resume = recovered.engine.market_time();
        let (sender, receiver) = watch::channel(None);
        let ports = || Ports {
            view: sender.clone(),
            metrics: Metrics::new("default", "majors"),
            heartbeat: Heartbeat::default(),
            gate: Gate::Local,
            exit_at_end: true,
            wait_for_data: false,
        };
        let resume = recovered.resume;
        let driver = Driver::new(identity(), journal, recovered, wanted(other.clone(), Some(2)), ports())
            .await
            .unwrap();
        let shown = receiver.borrow().clone().unwrap();
        assert_eq!((shown.state.as_str(), shown.loop_health.as_str()), ("Paused", "Degraded"));
        assert!(shown.refused_config.clone().unwrap().contains("BTC-USD"), "{shown:?}");
        assert_eq!((shown.generation, shown.positions.len()), (None, 1));
        assert_ne!(shown.config_hash, other.hash().unwrap());
        let feed = replay::start(plan(0.0), Some(steps()), resume);
        let (_sender, none, stop) = idle();
        assert_eq!(driver.run(feed, none, stop).await.unwrap(), Ended::Restart);
        let shown = receiver.borrow().clone().unwrap();
        assert_eq!((shown.positions.len(), shown.closed_trades), (0, 1), "the stop was watched");
        let (journal, recovered) = Journal::open(folder.path(), &identity(), None).await.unwrap();
        let driver = Driver::new(identity(), journal, recovered, wanted(other.clone(), Some(2)), ports())
            .await
            .unwrap();
        assert_eq!(driver.config(), &other);
        assert_eq!(receiver.borrow().clone().unwrap().refused_config, None);
    }

    #[tokio::test]
    async fn a_limit_changes_while_running_and_survives_and_a_feed_needs_a_new_process() {
        let folder = tempfile::tempdir().unwrap();
        let (running, mut view, _) = driver(folder.path(), Gate::Local).await;
        let (sender, configurations, stop) = idle();
        let (_feed, deliveries) = mpsc::channel(1);
        let running = tokio::spawn(running.run(deliveries, configurations, stop));
        let mut limited = config();
        limited.risk.confidence_floor = 90;
        let hash = limited.hash().unwrap();
        sender.send(wanted(limited.clone(), Some(7))).await.unwrap();
        view.wait_for(|view| view.as_ref().is_some_and(|view| view.config_hash == hash)).await.unwrap();
        // What is older is not taken back.
        sender.send(wanted(config(), Some(6))).await.unwrap();
        let mut other = limited.clone();
        other.feeds[0].name = "other".into();
        other.assets[0].feed = "other".into();
        sender.send(wanted(other, Some(8))).await.unwrap();
        assert_eq!(running.await.unwrap().unwrap(), Ended::Restart);
        let (journal, recovered) = Journal::open(folder.path(), &identity(), None).await.unwrap();
        assert_eq!((recovered.engine.config(), recovered.generation), (&limited, Some(7)));
        journal.close().await.unwrap();
    }
}
