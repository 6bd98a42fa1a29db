//! The bots themselves: what in an event of one makes it worth another look.

use std::sync::Arc;

use crds::api::{AgentStatus, MountedCertificate, TradingBotStatus};
use kube::Resource;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;

use super::{Cause, Triggers, version};
use crate::controller::{BotRef, Context, Guarded, operators_share};

/// Keeps the store of bots and asks for another look where an event calls for one.
pub struct BotWatch {
    writer: Writer<Guarded>,
    bots: Store<Guarded>,
    triggers: Triggers,
    context: Arc<Context>,
    /// What a new list calls for. Its objects are in the store only when it is complete.
    relisted: Vec<(BotRef, Option<Cause>)>,
}

impl BotWatch {
    /// A watch that has seen nothing yet.
    pub fn new(writer: Writer<Guarded>, triggers: Triggers, context: Arc<Context>) -> Self {
        Self { bots: writer.as_reader(), writer, triggers, context, relisted: Vec::new() }
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Event<Guarded>) {
        self.context.hosts.observe(event);
        match event {
            Event::Apply(bot) => {
                let (before, cause) = self.compare(bot);
                self.writer.apply_watcher_event(event);
                self.forget(before);
                self.look(BotRef::from_obj(bot), cause);
            }
            Event::Delete(bot) => {
                self.writer.apply_watcher_event(event);
                self.context.forget(bot);
            }
            Event::Init => {
                self.relisted.clear();
                self.writer.apply_watcher_event(event);
            }
            Event::InitApply(bot) => {
                let (_, cause) = self.compare(bot);
                self.relisted.push((BotRef::from_obj(bot), cause));
                self.writer.apply_watcher_event(event);
            }
            Event::InitDone => {
                let before = self.bots.state();
                self.writer.apply_watcher_event(event);
                self.forget(before);
                for (bot, cause) in std::mem::take(&mut self.relisted) {
                    self.look(bot, cause);
                }
            }
        }
    }

    /// Forgets those that are gone. A reconcile that runs meanwhile looks into the store at its end: what it keeps of
    /// them is forgotten here if they were still there then, and there if not.
    fn forget(&self, before: impl IntoIterator<Item = Arc<Guarded>>) {
        before.into_iter().for_each(|bot| self.context.forget_unless_there(&bot));
    }

    fn look(&self, bot: BotRef, cause: Option<Cause>) {
        if let Some(cause) = cause {
            self.triggers.one(bot, cause);
        }
    }

    /// The bot as it was, and what its change calls for.
    fn compare(&self, bot: &Guarded) -> (Option<Arc<Guarded>>, Option<Cause>) {
        let before = self.bots.get(&BotRef::from_obj(bot));
        let uid = bot.meta().uid.as_deref().unwrap_or_default();
        let own = self.context.shares.is_echo(uid, version(bot.meta()), bot.0.is_ok());
        let cause = cause(before.as_deref(), bot, own);
        (before, cause)
    }
}

/// What the change of a bot calls for. `own` says that the newer state is this process's own write.
fn cause(before: Option<&Guarded>, after: &Guarded, own: bool) -> Option<Cause> {
    let Some(before) = before else { return Some(Cause::Stages) };
    let (was, is) = (before.meta(), after.meta());
    if was.uid != is.uid || was.generation != is.generation {
        return Some(Cause::Stages);
    }
    let (before, after) = match (&before.0, &after.0) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(_), Err(_)) => return None,
        _ => return Some(Cause::Stages),
    };
    let none = TradingBotStatus::default();
    let (before, after) = (before.status.as_ref().unwrap_or(&none), after.status.as_ref().unwrap_or(&none));
    let agents = |status: &TradingBotStatus| status.agent.as_ref().map(read_by_ready);
    let foreign = || !own && operators_share(before) != operators_share(after);
    (agents(before) != agents(after) || foreign()).then_some(Cause::Status)
}

/// What `Ready` and `TlsReady` read of the agent's share.
fn read_by_ready(agent: &AgentStatus) -> (String, Option<MountedCertificate>) {
    let AgentStatus {
        config_hash,
        pod: _,
        image: _,
        version: _,
        started_at: _,
        // No health of the loop decides on Ready yet: both of them trade or keep what they hold.
        loop_health: _,
        last_cycle_at: _,
        certificate,
    } = agent;
    (config_hash.clone(), certificate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::bench::Bench;
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    fn bot(change: impl FnOnce(&mut Value)) -> Guarded {
        let ready = json!({"type": "Ready", "status": "True", "reason": "AgentReady", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let feed = json!({"type": "FeedHealthy", "status": "True", "reason": "Replaying", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2, "resourceVersion": "7"},
            "spec": {},
            "status": {
                "observedGeneration": 2, "configHash": "abc", "conditions": [ready, feed],
                "agent": {"pod": "p", "version": "1", "configHash": "abc", "startedAt": "2026-01-01T00:00:00Z", "loop": "Running"},
                "account": {"currency": "USD", "equity": "1", "cash": "1", "dayPnl": "0", "realizedPnl": "0", "unrealizedPnl": "0", "drawdownPercent": "0"}
            }
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn of(change: impl FnOnce(&mut Value)) -> Option<Cause> {
        cause(Some(&bot(|_| {})), &bot(change), false)
    }

    #[tokio::test]
    async fn memory_of_bots_that_are_gone_goes_when_the_store_shows_it() {
        let bench = Bench::new();
        let (bots, writer) = reflector::store();
        let (triggers, _triggered) = Triggers::new(bots.clone());
        let causes = triggers.causes();
        let context = Arc::new(Context { bots, causes, ..Arc::into_inner(bench.context).unwrap() });
        let mut watch = BotWatch::new(writer, triggers, Arc::clone(&context));
        let keep = || context.secrets.created("u", 1);
        let is_kept = || context.secrets.rest("u", 1).is_some();
        let again = || bot(|bot| bot["metadata"]["uid"] = "v".into());

        watch.take(&Event::Apply(bot(|_| {})));
        keep();
        watch.take(&Event::Init);
        watch.take(&Event::InitApply(again()));
        // A reconcile that ends here finds it in the store.
        assert!(is_kept());
        keep();
        watch.take(&Event::InitDone);
        assert!(!is_kept());

        watch.take(&Event::Apply(bot(|_| {})));
        keep();
        watch.take(&Event::Apply(again()));
        assert!(!is_kept());
        assert_eq!(
            context.causes.take(&BotRef::new("a").within("n")),
            Some(Cause::Stages),
            "its successor's"
        );
    }

    #[test]
    fn a_status_that_only_the_agent_changed_calls_for_nothing() {
        assert_eq!(of(|_| {}), None);
        assert_eq!(of(|bot| bot["status"]["account"]["equity"] = "2".into()), None);
        assert_eq!(of(|bot| bot["status"]["conditions"][1]["status"] = "False".into()), None);
        assert_eq!(of(|bot| bot["status"]["agent"]["loop"] = "Degraded".into()), None);
        assert_eq!(of(|bot| bot["metadata"]["labels"] = json!({"mine": "yes"})), None);
    }

    #[test]
    fn what_ready_reads_calls_for_the_status_alone() {
        assert_eq!(of(|bot| bot["status"]["agent"]["configHash"] = "def".into()), Some(Cause::Status));
        assert_eq!(of(|bot| bot["status"]["agent"] = Value::Null), Some(Cause::Status));
    }

    #[test]
    fn a_foreign_change_of_our_share_calls_for_its_repair_and_our_own_does_not() {
        let foreign: [fn(&mut Value); 4] = [
            |bot| bot["status"]["conditions"][0]["status"] = "False".into(),
            |bot| bot["status"]["configHash"] = "forged".into(),
            |bot| bot["status"]["observedGeneration"] = 9.into(),
            |bot| bot["status"] = Value::Null,
        ];
        for change in foreign {
            assert_eq!(of(change), Some(Cause::Status));
        }
        let written = bot(|bot| bot["status"]["configHash"] = "def".into());
        assert_eq!(cause(Some(&bot(|_| {})), &written, true), None);
    }

    #[test]
    fn a_spec_a_successor_and_what_can_be_read_again_call_for_every_stage() {
        assert_eq!(cause(None, &bot(|_| {}), false), Some(Cause::Stages));
        assert_eq!(of(|bot| bot["metadata"]["generation"] = 3.into()), Some(Cause::Stages));
        assert_eq!(of(|bot| bot["metadata"]["uid"] = "v".into()), Some(Cause::Stages));
        let unreadable = || bot(|bot| bot["status"]["conditions"] = 3.into());
        assert_eq!(cause(Some(&bot(|_| {})), &unreadable(), false), Some(Cause::Stages));
        assert_eq!(cause(Some(&unreadable()), &bot(|_| {}), false), Some(Cause::Stages));
        assert_eq!(cause(Some(&unreadable()), &unreadable(), false), None);
    }
}
