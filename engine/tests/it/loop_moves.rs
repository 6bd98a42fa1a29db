//! The loop on real data: only moves of the table, each from where the last one ended.

use engine::{LoopState, Outcome, Output};
use jiff::SignedDuration;
use serde_json::json;

use crate::bots::{config, run};
use crate::data::events;

#[test]
fn every_move_is_in_the_table_and_every_cycle_ends_idle() {
    let (outputs, engine) = run(config(&["BTC-USD"], json!({})), &events(&["BTC-USD"], 1500));
    let mut state = LoopState::Idle;
    let mut executed = 0;
    for output in &outputs {
        match output {
            Output::Transition(transition) => {
                assert_eq!(transition.from, state);
                assert!(transition.from.may_go_to(transition.to));
                state = transition.to;
                executed += usize::from(state == LoopState::Execution);
            }
            Output::IllegalTransition(transition) => panic!("{transition:?}"),
            Output::Decision(decision) if decision.outcome == Outcome::Hold => {
                assert_eq!(state, LoopState::Reasoning);
            }
            Output::Decision(decision) if decision.outcome == Outcome::Approved => {
                assert_eq!(state, LoopState::RiskCheck);
            }
            Output::TradeClosed(_) => assert_eq!(state, LoopState::Learning),
            _ => {}
        }
    }
    assert!(executed > 10);
    assert_eq!((state, engine.loop_state()), (LoopState::Idle, LoopState::Idle));
    assert_eq!(engine.last_cycle_at(), engine.market_time());
}

#[test]
fn a_cycle_comes_every_interval_and_the_panel_is_asked_at_4h_closes_only() {
    let events = events(&["BTC-USD"], 1500);
    let cycles = |interval: &str| {
        let (outputs, _) = run(config(&["BTC-USD"], json!({"schedule": {"interval": interval}})), &events);
        let cycles = outputs.iter().filter_map(|output| match output {
            Output::Transition(transition) if transition.to == LoopState::Perception => Some(transition.at),
            _ => None,
        });
        let decisions = outputs.iter().filter_map(|output| match output {
            Output::Decision(decision) => Some(decision.at),
            _ => None,
        });
        let gaps = outputs.iter().filter_map(|output| match output {
            Output::Gap(gap) => Some(gap.to),
            _ => None,
        });
        (cycles.collect::<Vec<_>>(), decisions.collect::<Vec<_>>(), gaps.collect::<Vec<_>>())
    };
    let (hourly, asked, gaps) = cycles("5m");
    assert!(hourly.len() > 7000 && asked.len() > 1700);
    // Where the bar at the boundary is missing, the first one after the gap makes the 4h bar final.
    let late: Vec<_> = asked.iter().filter(|at| at.as_second() % (4 * 3600) != 0).collect();
    assert!(late.len() < 5, "{late:?}");
    assert!(
        late.iter().all(|at| gaps.contains(&(**at - SignedDuration::from_hours(1)))),
        "{late:?} {gaps:?}"
    );
    let (slow, asked, _) = cycles("6h");
    assert!(slow.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_hours() >= 6));
    assert!(asked.len() <= slow.len() && asked.len() > 1000);
}

#[test]
fn evidence_is_always_a_number_that_the_panel_saw() {
    let (outputs, _) = run(config(&["ETH-USD"], json!({})), &events(&["ETH-USD"], 1500));
    let mut cited = 0;
    for output in &outputs {
        let Output::Decision(decision) = output else { continue };
        for evidence in decision.opinions.iter().flat_map(|opinion| &opinion.evidence) {
            assert_eq!(decision.brief.get(&evidence.field), Some(&evidence.value));
            cited += 1;
        }
    }
    assert!(cited > 5000);
}

#[test]
fn too_few_bars_are_an_empty_chair_and_no_trade() {
    let (outputs, _) = run(config(&["BTC-USD"], json!({})), &events(&["BTC-USD"], 0)[..3000]);
    // The EMA50 of days needs 50 of them.
    let first = outputs.iter().find_map(|output| match output {
        Output::Decision(decision) if decision.outcome != Outcome::Abstained => Some(decision.at),
        _ => None,
    });
    assert_eq!(first, Some("2020-02-20T00:00:00Z".parse().unwrap()));
}
