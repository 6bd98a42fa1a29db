//! What kstatus, by which Flux and Helm decide whether they go on, makes of an object.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::condition;

/// What a program says of one object.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
pub struct Judgement {
    /// Of kstatus: `Current`, `InProgress`, `Failed`, `Terminating` or `Unknown`.
    pub status: String,
    /// Why.
    pub message: String,
}

/// What the real library says of each object, in the order given.
///
/// Starting the program costs more than an object does: pass all that are to be judged at once.
pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<Judgement> {
    judged(Command::new(lab::tools::path("kstatus").expect("kstatus")), objects)
}

/// What a program that reads an object a line says of each.
pub(crate) fn judged<'a>(
    mut program: Command,
    objects: impl IntoIterator<Item = &'a Value>,
) -> Vec<Judgement> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program runs");
    // `Value` prints without line breaks.
    let lines: String = objects.into_iter().map(|object| format!("{object}\n")).collect();
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("no panic").expect("the program reads its input");
    assert!(output.status.success(), "{program:?} refused an object");
    let said = String::from_utf8(output.stdout).expect("the program prints UTF-8");
    said.lines().map(|line| serde_json::from_str(line).expect("the program prints JSON")).collect()
}

/// What kstatus should say of a bot.
pub fn expected(bot: &Value) -> &'static str {
    let holds = |kind: &str| condition(bot, kind).is_some_and(|found| found["status"] == "True");
    match () {
        () if bot["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if bot["status"]["observedGeneration"] != bot["metadata"]["generation"] => "InProgress",
        () if holds("Ready") => "Current",
        () if holds("Stalled") => "Failed",
        () => "InProgress",
    }
}

/// What a bot's conditions say against each other, if they do.
pub fn contradiction(bot: &Value) -> Option<String> {
    let conditions = bot["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut kinds = BTreeSet::new();
    if let Some(twice) = conditions.iter().find(|condition| !kinds.insert(condition["type"].as_str())) {
        return Some(format!("{} is there twice", twice["type"]));
    }
    let only_true = ["Reconciling", "Stalled", "ReconciliationSuspended"];
    let is_not = |kind: &&str| condition(bot, kind).is_some_and(|found| found["status"] != "True");
    if let Some(kind) = only_true.iter().find(|kind| is_not(kind)) {
        return Some(format!("{kind} is there and not true"));
    }
    let is_current = bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
    let holds = |kind: &str| condition(bot, kind).is_some_and(|found| found["status"] == "True");
    let said = ["Ready", "Reconciling", "Stalled"].into_iter().filter(|kind| holds(kind)).count();
    (is_current && said != 1).then(|| "of Ready, Reconciling and Stalled one must be true".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: u64, status: Value) -> Value {
        json!({
            "apiVersion": "example.org/v1", "kind": "Thing",
            "metadata": {"name": "a", "namespace": "b", "generation": generation},
            "status": status,
        })
    }

    #[test]
    fn the_library_judges_by_generation_and_conditions() {
        let stalled = json!([{"type": "Stalled", "status": "True", "reason": "No", "message": "not so"}]);
        let reconciling =
            json!([{"type": "Reconciling", "status": "True", "reason": "On", "message": "soon"}]);
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Yes", "message": "done"}]);
        let objects = [
            object(2, json!({"observedGeneration": 1, "conditions": ready})),
            object(2, json!({"observedGeneration": 2, "conditions": ready})),
            object(2, json!({"observedGeneration": 2, "conditions": reconciling})),
            object(2, json!({"observedGeneration": 2, "conditions": stalled})),
        ];
        let said = of(&objects);
        let statuses: Vec<&str> = said.iter().map(|said| said.status.as_str()).collect();
        assert_eq!(statuses, ["InProgress", "Current", "InProgress", "Failed"]);
        assert_eq!(said[3].message, "not so");
    }

    #[test]
    fn conditions_that_say_two_things_at_once_are_found() {
        let of = |conditions: &[(&str, &str)]| {
            let conditions: Vec<_> =
                conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect();
            contradiction(&object(2, json!({"observedGeneration": 2, "conditions": conditions})))
        };
        assert_eq!(of(&[("Ready", "True"), ("ConfigValid", "True")]), None);
        assert_eq!(of(&[("Ready", "False"), ("Stalled", "True")]), None);
        for wrong in [
            &[("Ready", "False")][..],
            &[("Ready", "True"), ("Reconciling", "True")],
            &[("Ready", "False"), ("Reconciling", "True"), ("Stalled", "True")],
            &[("Ready", "True"), ("Stalled", "False")],
            &[("Ready", "True"), ("Ready", "True")],
        ] {
            assert!(of(wrong).is_some(), "{wrong:?}");
        }
        let older = object(3, json!({"observedGeneration": 2, "conditions": []}));
        assert_eq!(contradiction(&older), None, "it is about to be said");
    }
}
