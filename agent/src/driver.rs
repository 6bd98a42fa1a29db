//! The one task that owns engine and journal. Everyone else hears of what is durable, and only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crds::config::BotConfig;
use engine::{BotId, Engine, Event, EventKind, Output};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::BootTime;
use crate::cluster::lease::Window;
use crate::feed::csv::CsvError;
use crate::feed::replay::Delivery;
use crate::feed::{FeedHealth, Step};
use crate::journal::{Entry, Journal, JournalError, Recovered};
use crate::metrics::Metrics;
use crate::narrate::narrate;
use crate::view::{Surroundings, View};

/// Events of one commit at most, and the longest that they may take: others run in between.
const BATCH_EVENTS: usize = 1_024;
const BATCH_TIME: Duration = Duration::from_millis(20);

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
    #[error("the configuration cannot replace the one that the journal was written with: {0}")]
    Configuration(String),
    /// Another process holds the lease.
    #[error(
        "LeaseLost: {holder} holds the Lease of this bot now; this process stops so that one agent trades"
    )]
    LeaseLost {
        /// The other's identity.
        holder: String,
    },
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

/// What the lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Not held, or not known to be.
    Waiting,
    /// Held; the last successful renewal was sent then.
    Held {
        /// When, on the clock of leases.
        sent: BootTime,
    },
    /// Taken by someone else after it was held.
    Lost {
        /// By whom.
        holder: String,
    },
}

/// Whether the market may go on.
#[derive(Debug)]
pub enum Gate {
    /// Always: the journal's lock alone keeps others away.
    Local,
    /// While the lease is held.
    Lease {
        /// What the task that renews it says.
        holding: watch::Receiver<Holding>,
        /// Until when entries may leave.
        window: Window,
    },
}

impl Gate {
    fn is_open(&mut self) -> bool {
        match self {
            Self::Local => true,
            Self::Lease { holding, window } => {
                let sent = match &*holding.borrow_and_update() {
                    Holding::Held { sent } => Some(*sent),
                    Holding::Waiting | Holding::Lost { .. } => None,
                };
                window.is_open(sent, BootTime::now())
            }
        }
    }

    fn lost_to(&self) -> Option<String> {
        match self {
            Self::Local => None,
            Self::Lease { holding, .. } => match &*holding.borrow() {
                Holding::Lost { holder } => Some(holder.clone()),
                Holding::Waiting | Holding::Held { .. } => None,
            },
        }
    }

    async fn changed(&mut self) {
        match self {
            Self::Local => std::future::pending().await,
            Self::Lease { holding, .. } => {
                if holding.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// A configuration for the bot from now on.
#[derive(Clone, Debug)]
pub struct Configure {
    /// The configuration.
    pub config: BotConfig,
    /// Of two, the higher is newer; local ones have none and always count.
    pub generation: Option<i64>,
}

/// When the loop last went round, in milliseconds of the boot clock.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    fn beat(&self) {
        self.0.store(Self::now(), Ordering::Relaxed);
    }

    fn now() -> u64 {
        let elapsed = BootTime::now().since(BootTime::from_start(Duration::ZERO));
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long ago; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            last => Some(Duration::from_millis(Self::now().saturating_sub(last))),
        }
    }
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
        let Recovered { engine, generation, resume: _, closed_trades, fills, replayed: _ } = recovered;
        let around = Surroundings {
            bot: identity,
            started_at: Timestamp::now(),
            config_hash: engine.config().hash()?,
            generation,
            feed: FeedHealth::Starting,
            lease_held: false,
            closed_trades,
            fills,
        };
        let mut driver = Self { engine, journal, around, ports, pending: Vec::new(), lease_told: false };
        driver.configure(wanted)?;
        // Even when nothing changed the projection is of this process from here on.
        driver.commit().await?;
        Ok(driver)
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
        let ended = self.turn(feed, configurations, stop).await;
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
        loop {
            self.ports.heartbeat.beat();
            if let Some(holder) = self.ports.gate.lost_to() {
                return Err(DriverError::LeaseLost { holder });
            }
            let open = self.open_gate().await?;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                Some(wanted) = configurations.recv() => {
                    if self.needs_restart(&wanted)? {
                        info!("the new configuration needs a new process");
                        return Ok(Ended::Restart);
                    }
                    self.configure(wanted)?;
                    self.commit().await?;
                }
                () = self.ports.gate.changed() => {}
                _ = tick.tick() => {}
                delivery = feed.recv(), if open && feeding => match delivery {
                    Some(delivery) => {
                        let finished = self.take(delivery, &mut feed)?;
                        self.commit().await?;
                        if finished && self.ports.exit_at_end {
                            return Ok(Ended::EndOfData);
                        }
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
            self.publish();
        }
        Ok(open)
    }

    /// Handles a delivery and what has arrived behind it. Says whether the data ended.
    fn take(&mut self, first: Delivery, feed: &mut mpsc::Receiver<Delivery>) -> Result<bool, DriverError> {
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
                    info!(market_time = ?self.engine.market_time().map(|at| at.to_string()), "the data ended");
                    self.around.feed = FeedHealth::Finished;
                    return Ok(true);
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
        Ok(false)
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
        self.pending.push(Entry { event, outputs });
    }

    fn needs_restart(&self, wanted: &Configure) -> Result<bool, DriverError> {
        let newer = wanted.generation.is_none_or(|new| self.around.generation.is_none_or(|old| new > old));
        Ok(newer && wanted.config.restart_hash()? != self.engine.config().restart_hash()?)
    }

    fn configure(&mut self, wanted: Configure) -> Result<(), DriverError> {
        let Configure { config, generation } = wanted;
        if let (Some(new), Some(old)) = (generation, self.around.generation)
            && new < old
        {
            return Ok(());
        }
        self.around.generation = generation.or(self.around.generation);
        let hash = config.hash()?;
        if hash == self.around.config_hash {
            return Ok(());
        }
        self.handle(Event { at: Timestamp::now(), kind: EventKind::Configuration(config) });
        let refused = self.pending.last().and_then(|entry| {
            entry.outputs.iter().find_map(|output| match output {
                Output::Refused(refused) => Some(refused.message.clone()),
                _ => None,
            })
        });
        if let Some(message) = refused {
            return Err(DriverError::Configuration(message));
        }
        info!(config_hash = hash, generation = self.around.generation, "a new configuration is in force");
        self.around.config_hash = hash;
        Ok(())
    }

    /// Makes everything pending durable, then lets the outside know.
    async fn commit(&mut self) -> Result<(), DriverError> {
        let last = self.journal.last_seq() + i64::try_from(self.pending.len()).unwrap_or(i64::MAX);
        let view = View::of(&self.engine, &self.around, last);
        self.journal.append(&self.pending, &view, self.around.generation).await?;
        for Entry { event, outputs } in self.pending.drain(..) {
            self.ports.metrics.handled(&event, &outputs);
            outputs.iter().for_each(narrate);
        }
        self.ports.metrics.committed(&view);
        self.ports.view.send_replace(Some(Arc::new(view)));
        if self.journal.is_snapshot_due() {
            self.journal.snapshot(&self.engine).await?;
        }
        Ok(())
    }

    /// Lets the outside know of what is no event.
    fn publish(&self) {
        let view = View::of(&self.engine, &self.around, self.journal.last_seq());
        self.ports.metrics.observe(&view);
        self.ports.view.send_replace(Some(Arc::new(view)));
    }
}
