//! The campaign: a simulated world in which everything goes wrong that can, deterministic by seed.
//!
//! The engine with its recovery by snapshot and tail, and the [`Outbox`](agent::venue::Outbox) are the real
//! ones. The process around them is a model of the driver, which has tests of its own; clock, market,
//! network, venue and disk are simulated, without a thread and without waiting. Messages are delayed, lost, repeated and reordered; the venue rejects, fills in parts and
//! races; the disk is slow; the lease and the feed come and go; and the process is killed before and
//! after each event, command, write and sync, and recovers from what had reached the disk.
//!
//! In each seed: every order that the venue saw was intended, once, durably before it left where it opens
//! a position; no intent was forgotten; ledger and venue agree in the end; no position is without a stop
//! for longer than [`UNPROTECTED_LIMIT`](world::UNPROTECTED_LIMIT); exits never exceed the position;
//! nothing opens without the lease, on stale data or after an order's lifetime.
//!
//! `TRADINGBOT_SEEDS=10000` runs more seeds, `TRADINGBOT_SEED=7` runs that one and tells its story.

#[cfg(test)]
mod bug;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod process;
#[cfg(test)]
mod venue;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::bug::Bug;
    use crate::world::{Outcome, UNPROTECTED_LIMIT, run};

    fn number(variable: &str) -> Option<u64> {
        let text = std::env::var(variable).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
    }

    fn tell(seed: u64, outcome: &Outcome) -> String {
        let story = outcome.story.join("\n");
        format!("{story}\nseed {seed}: {:#?}\nreplay it with TRADINGBOT_SEED={seed}", outcome.violations)
    }

    #[test]
    fn whatever_goes_wrong_the_ledger_is_the_venues_and_no_order_is_lost_or_doubled() {
        if let Some(seed) = number("TRADINGBOT_SEED") {
            let outcome = run(seed, None);
            println!("{}", tell(seed, &outcome));
            assert!(outcome.violations.is_empty());
            return;
        }
        let seeds = number("TRADINGBOT_SEEDS").unwrap_or(500);
        let mut seen = BTreeMap::<&str, u64>::new();
        let mut longest = 0;
        for seed in 0..seeds {
            let outcome = run(seed, None);
            assert!(outcome.violations.is_empty(), "{}", tell(seed, &outcome));
            for (what, times) in outcome.seen {
                *seen.entry(what).or_default() += times;
            }
            longest = longest.max(outcome.longest_uncovered);
        }
        println!("{seeds} seeds, {longest} ms without a stop at most, {seen:#?}");
        assert!(longest <= UNPROTECTED_LIMIT);
        // A campaign that meets none of it proves nothing.
        for what in [
            "a trade was closed",
            "a report was lost",
            "a command was lost",
            "an outcome was unknown",
            "an order came twice",
            "an order was filled in part",
            "an entry was rejected",
            "a way out was rejected",
            "an entry was withheld",
            "a fill and a cancellation raced",
            "a cancellation came after the end",
            "the venue cancelled by itself",
            "a refusal was forgotten",
            "a bar was late",
            "the lease was lost",
            "the feed was silent",
            "before an event is handled",
            "after an event was handled",
            "before a command is sent",
            "after a command was sent",
            "before a write",
            "after a write",
            "after a sync",
        ] {
            assert!(seen.get(what).is_some_and(|times| *times >= seeds / 100), "{what}: {seen:#?}");
        }
    }

    #[test]
    fn a_seed_replays_exactly() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed, None).story, run(seed, None).story);
        }
        assert_ne!(run(1, None).story, run(2, None).story);
    }

    #[test]
    fn the_campaign_finds_each_planted_bug() {
        for bug in Bug::ALL {
            let found = (0..300).find_map(|seed| {
                let outcome = run(seed, Some(bug));
                let broken = outcome.violations.into_iter().find(|(rule, _)| *rule == bug.breaks());
                broken.map(|(rule, text)| (seed, rule, text))
            });
            let (seed, rule, text) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
            println!("{bug:?}: seed {seed}: {rule}: {text}");
        }
    }
}
