//! `replay`: whether a decision would be made again.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use engine::Decision;
use serde::Serialize;

use super::answer::Output;
use super::leaves::leaves;
use super::source::{Asked, Source, decision_id, reader};
use super::{Failure, tables};
use crate::journal::{Again, VERSION};

const NO_SNAPSHOT: &str = "from the events: not made again; that takes --journal, and in it a snapshot from before that a single version \
     went on from";
const REMOVED: &str = "from the events: timers and quotes from before it were removed, and those that are left \
                       make another decision, which says nothing";

#[derive(Debug, Args)]
pub struct Arguments {
    /// Id of the decision as `decisions` lists it, or enough of its beginning
    #[arg(value_parser = decision_id)]
    id: String,
    #[command(flatten)]
    source: Source,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What came out.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    decision: String,
    /// Who made it again.
    version: &'static str,
    matches: bool,
    /// From what the decision saw, as it is on record.
    record: Comparison,
    /// From the events of the journal; absent where it does not have them, and for a running agent.
    events: Option<Comparison>,
    /// Whether the journal still has every event that led to it. If not, a difference may come of that, and proves
    /// nothing.
    complete: bool,
}

/// A decision beside the one that was made again.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Comparison {
    matches: bool,
    /// Fields that were compared.
    fields: usize,
    differences: Vec<Difference>,
}

/// A field that is not what it was; absent where one of the two does not have it.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    field: String,
    recorded: Option<String>,
    recomputed: Option<String>,
}

pub async fn replay(arguments: &Arguments) -> Result<(), Failure> {
    let asked = arguments.source.asked()?;
    let (bot, recorded) = asked.decision(&arguments.id).await?;
    let record = compare(&recorded, Some(&recorded.recompute(&bot)))?;
    let again = match &asked {
        Asked::Agent(_) => None,
        Asked::Journal(place) => {
            let mut reader = reader(place).await?;
            let again = reader.decided_again(&bot, &recorded.id).await;
            reader.close().await;
            again?
        }
    };
    let complete = again.as_ref().is_some_and(|again| again.complete);
    let made = |again: Again| again.decisions.into_iter().find(|decision| decision.id == recorded.id);
    let events = again.map(|again| compare(&recorded, made(again).as_ref())).transpose()?;
    let replayed = Replayed::new(recorded.id.to_string(), record, events, complete);
    arguments.output.answer(&replayed, told)?;
    if replayed.matches { Ok(()) } else { Err(Failure::Differs) }
}

impl Replayed {
    fn new(decision: String, record: Comparison, events: Option<Comparison>, complete: bool) -> Self {
        let matches = record.matches && events.as_ref().is_none_or(|events| events.matches || !complete);
        Self { decision, version: VERSION, matches, record, events, complete }
    }
}

fn compare(recorded: &Decision, again: Option<&Decision>) -> Result<Comparison, serde_json::Error> {
    let before = leaves(&serde_json::to_value(recorded)?);
    let after = match again {
        Some(again) => leaves(&serde_json::to_value(again)?),
        None => BTreeMap::new(),
    };
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differences = fields.iter().filter(|field| before.get(**field) != after.get(**field));
    let differences: Vec<Difference> = differences
        .map(|field| Difference {
            field: (*field).clone(),
            recorded: before.get(*field).cloned(),
            recomputed: after.get(*field).cloned(),
        })
        .collect();
    Ok(Comparison { matches: differences.is_empty(), fields: fields.len(), differences })
}

fn told(replayed: &Replayed) -> String {
    let Replayed { decision, version, matches, record, events, complete } = replayed;
    let verdict = if *matches { "matches" } else { "does not match" };
    let events = match events {
        None => NO_SNAPSHOT.to_owned(),
        Some(events) if events.matches || *complete => comparison("from the events", events),
        Some(_) if *matches => REMOVED.to_owned(),
        Some(events) => format!("{REMOVED}\n{}", comparison("from those that are left", events)),
    };
    format!(
        "decision {decision} {verdict}, made again by version {version}\n\n{}\n{events}",
        comparison("from what it saw", record)
    )
}

fn comparison(from: &str, Comparison { matches, fields, differences }: &Comparison) -> String {
    if *matches {
        return format!("{from}: all {fields} fields are the same");
    }
    let mut table = tables::table(&["field", "recorded", "again"]);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
    for Difference { field, recorded, recomputed } in differences {
        table.add_row([field.clone(), shown(recorded), shown(recomputed)]);
    }
    format!("{from}: {} of {fields} fields differ\n\n{}\n", differences.len(), tables::lines(&table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(field: Option<&str>) -> Comparison {
        let difference = |field: &str| Difference { field: field.into(), recorded: None, recomputed: None };
        let differences: Vec<_> = field.map(difference).into_iter().collect();
        Comparison { matches: differences.is_empty(), fields: 9, differences }
    }

    #[test]
    fn what_differs_for_the_lack_of_old_events_says_nothing() {
        let replayed = |record, events: Option<Option<&str>>, complete| {
            let replayed = Replayed::new("2e9a".into(), comparison(record), events.map(comparison), complete);
            (replayed.matches, told(&replayed))
        };
        assert!(replayed(None, Some(None), true).0 && replayed(None, None, false).0);
        assert!(!replayed(None, Some(Some("action")), true).0 && !replayed(Some("action"), None, false).0);
        let (matches, said) = replayed(None, Some(Some("action")), false);
        assert!(matches && said.contains(REMOVED) && !said.contains("fields differ"), "{said}");
        let (matches, said) = replayed(None, Some(None), false);
        assert!(matches && said.contains("from the events: all 9 fields"), "what matches is a proof: {said}");
        let (matches, said) = replayed(Some("confidence"), Some(Some("confidence")), false);
        assert!(!matches && said.matches("1 of 9 fields differ").count() == 2, "{said}");
    }
}
