//! The bots themselves: what in an event of one makes it worth another look.

use std::collections::HashSet;
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
                let cause = self.cause(bot);
                self.writer.apply_watcher_event(event);
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
                let cause = self.cause(bot);
                self.relisted.push((BotRef::from_obj(bot), cause));
                self.writer.apply_watcher_event(event);
            }
            Event::InitDone => {
                let relisted = std::mem::take(&mut self.relisted);
                let names: HashSet<&BotRef> = relisted.iter().map(|(bot, _)| bot).collect();
                for gone in self.bots.state_filter(|bot| !names.contains(&BotRef::from_obj(bot))) {
                    self.context.forget(&gone);
                }
                self.writer.apply_watcher_event(event);
                for (bot, cause) in relisted {
                    self.look(bot, cause);
                }
            }
        }
    }

    fn look(&self, bot: BotRef, cause: Option<Cause>) {
        if let Some(cause) = cause {
            self.triggers.one(bot, cause);
        }
    }

    fn cause(&self, bot: &Guarded) -> Option<Cause> {
        let before = self.bots.get(&BotRef::from_obj(bot));
        if let Some(former) = &before
            && former.meta().uid != bot.meta().uid
        {
            self.context.forget(former);
        }
        let uid = bot.meta().uid.as_deref().unwrap_or_default();
        let own = self.context.shares.is_echo(uid, version(bot.meta()), bot.0.is_ok());
        cause(before.as_deref(), bot, own)
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
