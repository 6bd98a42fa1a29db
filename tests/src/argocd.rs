//! What Argo CD shows of a bot, by the health script of `examples/argocd`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::cluster::condition;
use crate::kstatus::{self, Judgement};
use crate::repository;

/// What the script says of each object, in the order given, in the interpreter that Argo CD runs it in.
pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<Judgement> {
    let mut program = Command::new(lab::tools::path("argo-health").expect("argo-health"));
    program.arg(repository("examples/argocd/health.lua"));
    kstatus::judged(program, objects)
}

/// What the script should say of a bot. None: Argo CD does not ask it about what is being deleted.
pub fn expected(bot: &Value) -> Option<&'static str> {
    let holds = |kind: &str| condition(bot, kind).filter(|found| found["status"] == "True");
    let is_spoilt = holds("Stalled").is_some_and(|stalled| stalled["reason"] != "Suspended");
    let is_current = bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
    if is_current && holds("ReconciliationSuspended").is_some() && !is_spoilt {
        return (!bot["metadata"]["deletionTimestamp"].is_string()).then_some("Suspended");
    }
    match kstatus::expected(bot) {
        "Current" => Some("Healthy"),
        "Failed" => Some("Degraded"),
        "Terminating" => None,
        _ => Some("Progressing"),
    }
}

/// How many states the script takes for what.
///
/// # Errors
/// The states that it takes for something else than they are.
pub fn judge(states: &[Value]) -> Result<BTreeMap<String, usize>, Vec<String>> {
    let (mut judged, mut wrong) = (BTreeMap::new(), Vec::new());
    for (bot, said) in states.iter().zip(of(states)) {
        match expected(bot) {
            Some(expected) if said.status != expected => {
                wrong.push(format!(
                    "{} and should be {expected}: {} {}",
                    said.status, said.message, bot["status"]
                ));
            }
            Some(_) if said.message.is_empty() => {
                wrong.push(format!("{} without a word: {}", said.status, bot["status"]));
            }
            Some(_) => *judged.entry(said.status).or_default() += 1,
            None => {}
        }
    }
    if wrong.is_empty() { Ok(judged) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A bot of generation 2 with conditions (type, status, reason).
    fn bot(observed: u64, conditions: &[(&str, &str, &str)]) -> Value {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": format!("words of {kind}")})
            })
            .collect();
        let mut bot = crate::bot::btc("n", "a");
        bot["metadata"]["generation"] = json!(2);
        bot["status"] = json!({"observedGeneration": observed, "conditions": conditions});
        bot
    }

    #[test]
    fn the_script_gives_each_state_its_health_and_the_words_of_its_condition() {
        let ready = ("Ready", "True", "AgentReady");
        let not_ready = ("Ready", "False", "X");
        let suspended = ("ReconciliationSuspended", "True", "Suspended");
        let mut fresh = bot(0, &[]);
        fresh["status"] = json!({});
        let mut bare = bot(0, &[]);
        bare.as_object_mut().unwrap().remove("status");
        for (state, status, message) in [
            (bare, "Progressing", "the operator has not looked at this spec yet"),
            (fresh, "Progressing", "the operator has not looked at this spec yet"),
            (bot(1, &[ready]), "Progressing", "the operator has not looked at this spec yet"),
            (bot(2, &[ready]), "Healthy", "words of Ready"),
            (
                bot(2, &[not_ready, ("Reconciling", "True", "AgentStarting")]),
                "Progressing",
                "words of Reconciling",
            ),
            (bot(2, &[not_ready, ("Stalled", "True", "InvalidSpec")]), "Degraded", "words of Stalled"),
            (bot(2, &[ready, suspended]), "Suspended", "words of ReconciliationSuspended"),
            (
                bot(2, &[not_ready, ("Stalled", "True", "Suspended"), suspended]),
                "Suspended",
                "words of ReconciliationSuspended",
            ),
            (
                bot(2, &[not_ready, ("Stalled", "True", "InvalidSpec"), suspended]),
                "Degraded",
                "words of Stalled",
            ),
            (bot(2, &[]), "Progressing", "the bot is not ready yet"),
        ] {
            let said = of([&state]).remove(0);
            assert_eq!((said.status.as_str(), said.message.as_str()), (status, message), "{state}");
            assert_eq!(expected(&state), Some(status), "{state}");
        }
    }

    #[test]
    fn the_setting_has_the_name_by_which_argo_cd_finds_it() {
        let bot = crate::bot::btc("n", "a");
        let (group, _) = bot["apiVersion"].as_str().unwrap().split_once('/').unwrap();
        let key = format!("resource.customizations.health.{group}_{}", bot["kind"].as_str().unwrap());
        let settings = std::fs::read_to_string(repository("examples/argocd/kustomization.yaml")).unwrap();
        assert!(settings.contains(&format!("- {key}=health.lua\n")), "{key} is not in: {settings}");
    }
}
