//! Nothing is told, and nothing is acted on, before it is durable; and what follows when the journal says no.
//!
//! Then the market stands still: the engine is given nothing more that it could decide on, what it has
//! already said stays here untold, and the same batch is tried again until the journal takes it. A replay
//! waits as long as it takes, so that no bar passes a stop by. Only what time does not heal ends the process:
//! another holder, or a journal that was put back to an older state.
//!
//! Where orders are messages, time and reports go on meanwhile, and all but entries leave.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::venues::deliver;
use super::{Driver, DriverError, Ports};
use crate::journal::{Entry, JournalError};
use crate::narrate::narrate;
use crate::view::View;

/// The first and the longest pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A commit that takes so long is told of while it is waited for.
const SLOW: Duration = Duration::from_secs(5);
/// A live market is not kept waiting for longer by one attempt to commit: there are positions to be watched.
const LIVE_PATIENCE: Duration = SLOW;
/// A sign of life is given so often while a commit takes its time.
const BEAT: Duration = Duration::from_secs(1);

/// A journal that takes nothing.
#[derive(Debug)]
pub(super) struct Trouble {
    error: JournalError,
    since: Instant,
    pause: Duration,
    again: Instant,
}

impl Driver {
    /// When the journal is tried again, if it takes nothing now.
    pub(super) fn tried_again_at(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.again)
    }

    /// Makes everything pending durable, then lets the outside know. While the journal takes nothing it
    /// waits for the next attempt.
    pub(super) async fn commit(&mut self) -> Result<(), DriverError> {
        if self.trouble.is_none() {
            return self.write().await;
        }
        self.send_without_journal();
        Ok(())
    }

    /// Tries to make everything pending durable.
    pub(super) async fn write(&mut self) -> Result<(), DriverError> {
        self.append().await?;
        // An order that was not sent after all is told of, which has to be durable, too.
        while !self.pending.is_empty() && self.trouble.is_none() {
            self.append().await?;
        }
        Ok(())
    }

    async fn append(&mut self) -> Result<(), DriverError> {
        let view = View::of(&self.engine, &self.around, self.journal.seq_after(self.pending.len()));
        let began = Instant::now();
        let Self { journal, pending, engine, ports, outbox, venues, around, .. } = self;
        let live = venues.is_some();
        let append = journal.append(pending, engine, &view, around.generation);
        let append = patiently(ports, append, || deliver(venues, outbox.failing()));
        let done = match live {
            true => tokio::time::timeout(LIVE_PATIENCE, append).await.ok(),
            false => Some(append.await),
        };
        let done = match done {
            Some(done) => done,
            None => Err(self.journal.give_up().await),
        };
        if let Err(error) = done {
            return self.hold(error);
        }
        if let Some(trouble) = self.trouble.take() {
            let seconds = trouble.since.elapsed().as_secs();
            info!(
                seconds,
                reason = trouble.error.reason(),
                "the journal takes entries again: the market goes on"
            );
        }
        for Entry { event, outputs } in self.pending.drain(..) {
            self.ports.metrics.handled(&event, &outputs);
            narrate(&self.around.bot, &event, &outputs);
        }
        self.ports.metrics.committed(&view, began.elapsed());
        self.ports.view.send_replace(Some(Arc::new(view)));
        self.release();
        if self.pending.is_empty() && self.journal.is_snapshot_due() {
            let snapshot = self.journal.snapshot(&self.engine);
            // Everything is durable, and whatever waited for that has left.
            if let Err(error) = patiently(&self.ports, snapshot, || ()).await {
                return self.hold(error);
            }
            // It may have been told that this takes long.
            self.publish();
        }
        Ok(())
    }

    /// Holds the market until the journal takes what is pending, if that can be.
    fn hold(&mut self, error: JournalError) -> Result<(), DriverError> {
        self.ports.metrics.journal_failure(error.reason());
        if !error.may_pass() {
            return Err(error.into());
        }
        let now = Instant::now();
        let (since, pause) = match &self.trouble {
            None => (now, FIRST_PAUSE),
            Some(trouble) => (trouble.since, (trouble.pause * 2).min(LONGEST_PAUSE)),
        };
        // Each kind is told once; the attempts are counted.
        if self.trouble.as_ref().is_none_or(|before| before.error.reason() != error.reason()) {
            error!(reason = error.reason(), %error, "the journal takes nothing: the market stands still");
        }
        self.trouble = Some(Trouble { error, since, pause, again: now + pause });
        self.send_without_journal();
        self.publish();
        Ok(())
    }

    /// What keeps the journal from taking entries, for a run that ends on it. What is pending was told to
    /// nobody; a replay gives it again.
    pub(super) fn take_trouble(&mut self) -> Option<JournalError> {
        self.trouble.take().map(|trouble| trouble.error)
    }

    /// Lets the outside know of what is no event. Of a bot that is ahead of its journal only what is durable
    /// is shown.
    pub(super) fn publish(&self) {
        let view = match &self.trouble {
            None => View::of(&self.engine, &self.around, self.journal.last_seq()),
            Some(trouble) => {
                let Some(shown) = self.ports.view.borrow().clone() else { return };
                let shown = View { lease_held: self.around.lease_held, ..View::clone(&shown) };
                shown.in_trouble(trouble.error.reason(), trouble.error.to_string())
            }
        };
        self.ports.metrics.observe(&view);
        self.ports.view.send_replace(Some(Arc::new(view)));
    }
}

/// Waits for the journal and gives signs of life meanwhile: a slow disk is no dead loop. `leave` lets go of
/// what does not wait for a write that takes as long as one that fails.
async fn patiently(
    ports: &Ports,
    work: impl Future<Output = Result<(), JournalError>>,
    mut leave: impl FnMut(),
) -> Result<(), JournalError> {
    let began = Instant::now();
    let mut told = false;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => ports.heartbeat.beat(),
        }
        leave();
        if !told && began.elapsed() >= SLOW {
            told = true;
            warn!(seconds = began.elapsed().as_secs(), "the journal is slow: the market stands still");
            let shown = ports.view.borrow().clone();
            if let Some(shown) = shown {
                let message =
                    format!("a write takes longer than {} s; check the disk or the database", SLOW.as_secs());
                let shown = shown.in_trouble("JournalSlow", message);
                ports.metrics.observe(&shown);
                ports.view.send_replace(Some(Arc::new(shown)));
            }
        }
    }
}
