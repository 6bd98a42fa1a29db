//! How much of a bot is to be looked at again, and when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::controller::BotRef;

/// How much of a bot is to be looked at again. The greater includes the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Something that `Ready` reads has changed: the status stage alone.
    Status,
    /// The spec, a child or what the spec refers to has changed: every stage.
    Stages,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    now: Option<Cause>,
    /// When the stages are due even if nothing happens: a retry.
    at: Option<Instant>,
    /// When the stages are due unless it is found before that there is no need.
    doubted: Option<Instant>,
    /// When the status is due that was put off.
    put_off: Option<Instant>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        let Self { now, at, doubted, put_off } = self;
        now.is_none() && at.is_none() && doubted.is_none() && put_off.is_none()
    }

    fn be_due_by(at: &mut Option<Instant>, wait: Duration) {
        *at = (*at).into_iter().chain(Instant::now().checked_add(wait)).min();
    }
}

/// What each bot waits for. The controller's queue knows only *that* a bot is to be looked at.
#[derive(Debug, Default)]
pub struct Causes(Mutex<HashMap<BotRef, Pending>>);

impl Causes {
    /// Adds a cause to those that a bot waits with.
    pub fn add(&self, bot: BotRef, cause: Cause) {
        let mut waiting = self.lock();
        let pending = waiting.entry(bot).or_default();
        pending.now = pending.now.max(Some(cause));
    }

    /// Makes the stages due after a while, whatever happens.
    pub fn stages_in(&self, bot: BotRef, wait: Duration) {
        self.lock().entry(bot).or_default().at = Instant::now().checked_add(wait);
    }

    /// Makes the stages due after a while, if they are not due sooner.
    pub fn stages_by(&self, bot: BotRef, wait: Duration) {
        Pending::be_due_by(&mut self.lock().entry(bot).or_default().at, wait);
    }

    /// Makes the stages due after a while, if they are not due sooner, or takes that back.
    pub fn doubt(&self, bot: &BotRef, wait: Option<Duration>) {
        let mut waiting = self.lock();
        if let Some(wait) = wait {
            Pending::be_due_by(&mut waiting.entry(bot.clone()).or_default().doubted, wait);
        } else if let Some(pending) = waiting.get_mut(bot) {
            pending.doubted = None;
            if pending.is_empty() {
                waiting.remove(bot);
            }
        }
    }

    /// Whether what the status should say may wait: for so long since it was first put off. Then the status stage is
    /// due.
    pub fn put_off(&self, bot: BotRef, wait: Duration) -> bool {
        let now = Instant::now();
        let mut waiting = self.lock();
        let pending = waiting.entry(bot).or_default();
        if pending.put_off.is_none() {
            pending.put_off = now.checked_add(wait);
        }
        pending.put_off.is_some_and(|due| due > now)
    }

    /// The status says what is so: nothing is put off any more.
    pub fn said(&self, bot: &BotRef) {
        let mut waiting = self.lock();
        if let Some(pending) = waiting.get_mut(bot) {
            pending.put_off = None;
            if pending.is_empty() {
                waiting.remove(bot);
            }
        }
    }

    /// Takes what a bot waits with: none when an earlier look has seen it all.
    pub fn take(&self, bot: &BotRef) -> Option<Cause> {
        let mut waiting = self.lock();
        let pending = waiting.get_mut(bot)?;
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let status = is_due(pending.put_off).then_some(Cause::Status);
        let stages = (is_due(pending.at) || is_due(pending.doubted)).then_some(Cause::Stages);
        let cause = pending.now.take().max(status).max(stages);
        if cause == Some(Cause::Stages) {
            (pending.at, pending.doubted) = (None, None);
        }
        if pending.is_empty() {
            waiting.remove(bot);
        }
        cause
    }

    /// How long a bot may wait yet, where it is due at some time.
    pub fn rest(&self, bot: &BotRef) -> Option<Duration> {
        let Pending { now: _, at, doubted, put_off } = *self.lock().get(bot)?;
        let due = at.into_iter().chain(doubted).chain(put_off).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, bot: &BotRef) {
        self.lock().remove(bot);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BotRef, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greater_cause_wins_and_is_taken_once() {
        let causes = Causes::default();
        let bot = BotRef::new("a").within("n");
        assert_eq!(causes.take(&bot), None);
        causes.add(bot.clone(), Cause::Stages);
        causes.add(bot.clone(), Cause::Status);
        assert_eq!(causes.take(&bot), Some(Cause::Stages));
        assert_eq!(causes.take(&bot), None);
        causes.add(bot.clone(), Cause::Status);
        assert_eq!(causes.take(&bot), Some(Cause::Status));
        assert!(causes.lock().is_empty(), "nothing is kept of a bot that waits for nothing");
    }

    #[test]
    fn a_look_at_the_status_does_not_lose_a_retry() {
        let causes = Causes::default();
        let bot = BotRef::new("a").within("n");
        causes.stages_in(bot.clone(), Duration::from_secs(60));
        causes.add(bot.clone(), Cause::Status);
        assert_eq!(causes.take(&bot), Some(Cause::Status));
        assert!(causes.rest(&bot).is_some_and(|rest| rest > Duration::from_secs(50)));
        assert_eq!(causes.take(&bot), None, "not due yet");
        causes.stages_in(bot.clone(), Duration::ZERO);
        assert_eq!(causes.take(&bot), Some(Cause::Stages));
        assert_eq!(causes.rest(&bot), None);
    }

    #[test]
    fn a_doubt_is_due_before_a_later_retry_and_not_at_all_once_it_is_dispelled() {
        let causes = Causes::default();
        let bot = BotRef::new("a").within("n");
        let rest = |causes: &Causes| causes.rest(&bot).map(|rest| rest.as_secs_f64().round());
        causes.stages_by(bot.clone(), Duration::from_secs(86_400));
        causes.doubt(&bot, Some(Duration::from_secs(60)));
        causes.doubt(&bot, Some(Duration::from_secs(120)));
        assert_eq!(rest(&causes), Some(60.0), "it is not put off");
        causes.doubt(&bot, None);
        assert_eq!(rest(&causes), Some(86_400.0));
        causes.doubt(&bot, Some(Duration::ZERO));
        assert_eq!(causes.take(&bot), Some(Cause::Stages));
        causes.doubt(&bot, None);
        assert!(causes.lock().is_empty(), "nothing is kept of a bot that waits for nothing");
    }

    #[test]
    fn a_status_that_was_put_off_is_due_once_however_often_it_is_put_off() {
        let causes = Causes::default();
        let bot = BotRef::new("a").within("n");
        assert!(causes.put_off(bot.clone(), Duration::from_secs(60)));
        assert_eq!(causes.take(&bot), None, "not due yet");
        causes.add(bot.clone(), Cause::Stages);
        assert_eq!(causes.take(&bot), Some(Cause::Stages));
        assert!(causes.rest(&bot).is_some_and(|rest| rest > Duration::from_secs(50)), "it waits on");
        causes.said(&bot);
        assert!(causes.lock().is_empty(), "nothing is kept of a bot that waits for nothing");
        assert!(!causes.put_off(bot.clone(), Duration::ZERO), "it has waited long enough");
        assert!(!causes.put_off(bot.clone(), Duration::from_secs(60)), "since the first time");
        assert_eq!(causes.take(&bot), Some(Cause::Status));
    }
}
