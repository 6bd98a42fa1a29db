//! A decision holds all that it saw: it can be made again from its record.

use std::collections::BTreeMap;

use engine::{Asked, Decision, Outcome, Output};
use serde_json::json;

use crate::bots::{config, identity, run};
use crate::data::events;

/// Two pairs over the sample year, with room for one position: approvals, rejections and exits.
fn decisions() -> Vec<Decision> {
    let pairs = ["BTC-USD", "ETH-USD"];
    let (outputs, _) = run(config(&pairs, json!({"risk": {"maxOpenPositions": 1}})), &events(&pairs, 1500));
    let decisions = outputs.into_iter().filter_map(|output| match output {
        Output::Decision(decision) => Some(*decision),
        _ => None,
    });
    decisions.collect()
}

#[test]
fn every_decision_of_a_year_is_made_again_from_its_record_bit_for_bit() {
    let mut met = BTreeMap::new();
    for decision in decisions() {
        let record = serde_json::to_string(&decision).unwrap();
        let read: Decision = serde_json::from_str(&record).unwrap();
        assert_eq!(serde_json::to_string(&read.recompute(&identity())).unwrap(), record);
        let asked = decision.gate.as_ref().map(|gate| match gate.asked {
            Asked::Entry(_) => "entry",
            Asked::Exit(_) => "exit",
        });
        *met.entry((format!("{:?}", decision.outcome), asked)).or_insert(0) += 1;
    }
    for (outcome, asked) in [
        (Outcome::Approved, Some("entry")),
        (Outcome::Approved, Some("exit")),
        (Outcome::Rejected, Some("entry")),
        (Outcome::Hold, None),
    ] {
        assert!(met.contains_key(&(format!("{outcome:?}"), asked)), "none is {outcome:?} {asked:?}: {met:?}");
    }
}

#[test]
fn a_rejection_is_the_first_no_of_its_checks_and_an_approval_has_none() {
    for decision in decisions() {
        let Some(gate) = decision.gate else { continue };
        let no = gate.checks.iter().find(|check| !check.passed);
        let no = no.map(|no| (no.check, no.about, no.measured, no.limit));
        let rejection = decision.rejection.map(|no| (no.check, no.reason, no.measured, no.limit));
        assert_eq!(rejection, no);
        assert_eq!(decision.outcome == Outcome::Approved, no.is_none());
    }
}

#[test]
fn a_record_that_was_altered_is_not_made_again() {
    let approved = decisions().into_iter().find(|decision| decision.plan.is_some()).unwrap();
    assert_eq!(approved.recompute(&identity()), approved);
    let mut altered = approved.clone();
    *altered.brief.get_mut("4h.close").unwrap() /= 2.0;
    assert_eq!(altered.recompute(&identity()).outcome, Outcome::Hold);
    let mut altered = approved.clone();
    let Some(Asked::Entry(candidate)) = altered.gate.as_mut().map(|gate| &mut gate.asked) else {
        panic!("{altered:?}")
    };
    candidate.operation.paused = true;
    let recomputed = altered.recompute(&identity());
    assert_eq!(recomputed.rejection.unwrap().reason.as_str(), "paused");
    // A number that this version does not know is not dropped in silence.
    let mut altered = approved;
    altered.brief.insert("4h.moon".into(), 1.0);
    assert_ne!(altered.recompute(&identity()), altered);
}
