//! All that may happen to the Lease of a bot, tried exhaustively on the functions by which the agent decides.
//!
//! # What a step is
//!
//! Time goes in steps of five seconds, of which every time of the Lease is a multiple; within a step everything
//! may happen in any order. An order that may leave until twenty seconds after a renewal may still leave *at* twenty
//! seconds here, and one that takes over after forty-five does so *at* forty-five: with bounds that are closed like
//! this, what goes wrong at any real times also goes wrong at whole steps. A process that is awake says so once
//! a second within a step, as the agent's loop does.
//!
//! # What is modelled
//!
//! - [`pod`]: processes. Each has a [`Candidate`](agent::cluster::lease::Candidate) and a
//!   [`Fence`](agent::cluster::fence::Fence) of the code, and around them the ways of
//!   `agent/src/cluster/renewal.rs`: a renewal every ten seconds, given up after five, then the Lease is read anew.
//! - [`world`]: the Lease with its versions, requests that are under way, the operator that makes a deleted Lease
//!   anew, the venue with orders that are on their way and orders that work there, and the faults: a process is
//!   frozen or its machine suspended, restarted in its pod, asked to end, cut off; a renewal is held up, and is
//!   applied and answered at any later time or never; the Lease is deleted; a clock is five seconds wrong.
//! - [`rules`]: what the code goes by, as values, so that others can be tried.
//!
//! # What is left out
//!
//! - An intent and its way to the disk: with a check right before the send they restrict nothing, and the send
//!   may come at any time. Without that check (a rule that can be turned off) they are there.
//! - Freezing between the check and the send is the same as an order that is held up on its way: its lifetime is
//!   counted from the check.
//! - Ids of orders. The venue takes whatever arrives in time, so that ids, which make two exits of one position the
//!   same order, are a second line of defence.
//! - A venue whose clock is wrong by more than the margin, a machine whose clock does not count that a hypervisor
//!   stopped it, and people who write another's name into a Lease.
//!
//! Processes send one order in a term, and so many faults happen in a run as [`world::World::budget`] says.

#[cfg(test)]
mod pod;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use agent::cluster::lease::Timing;
    use stateright::{Checker, HasDiscoveries, Model};

    use super::rules::Rules;
    use super::world::{Fault, ONE_HOLDER, ORDERS, Orders, STEADY, World};

    /// Tries everything, and returns how many states there are, or the shortest way to what must not be.
    fn check(world: World) -> Result<usize, String> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let checker = world.checker().finish_when(HasDiscoveries::Any);
        let checker = checker.threads(threads.min(2)).spawn_bfs().join();
        match checker.discoveries().into_iter().next() {
            None => Ok(checker.unique_state_count()),
            Some((name, path)) => {
                let story: Vec<String> =
                    path.into_actions().iter().map(|action| format!("{action:?}")).collect();
                Err(format!("{name}: {}", story.join(", ")))
            }
        }
    }

    fn holds(name: &str, world: World) {
        let began = std::time::Instant::now();
        match check(world) {
            Ok(states) => println!("{name}: {states} states in {:.1} s", began.elapsed().as_secs_f64()),
            Err(story) => panic!("{name}: {story}"),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_entry_of_an_old_holder_arrives_after_one_of_a_newer() {
        holds("entries", World::safety(Orders::Entries, Rules::default()));
    }

    #[test]
    fn no_more_exits_are_accepted_than_there_is_position() {
        holds("exits", World::safety(Orders::Exits, Rules::default()));
    }

    #[test]
    fn when_faults_end_one_of_those_who_are_left_holds_the_lease() {
        holds("liveness", World::liveness(Rules::default()));
    }

    #[test]
    fn one_renewal_that_fails_shuts_nothing() {
        holds("steady", World::steady(Rules::default()));
    }

    #[test]
    fn three_who_want_it_are_as_safe_as_two() {
        for orders in [Orders::Entries, Orders::Exits] {
            holds("three", World { pods: 3, budget: 1, ..World::safety(orders, Rules::default()) });
        }
    }

    /// Every rule and every time that safety rests on, wrong one at a time: the model finds what happens then, and what
    /// it needs for that.
    #[test]
    fn each_rule_that_is_broken_is_found_out() {
        use Fault::{Cut, Delete, Freeze, Restart, Terminate};
        use Orders::{Entries, Exits};
        type Break = fn(&mut Rules);
        let broken: [(&str, Orders, &[Fault], Break); 15] = [
            ("entries leave for a minute", Entries, &[Cut], |r| r.timing.entry_window = seconds(60)),
            ("a stranger waits for 5 s", Entries, &[Cut], |r| r.timing.takeover_after = seconds(5)),
            ("a stranger waits for 5 s", Exits, &[Cut], |r| r.timing.takeover_after = seconds(5)),
            ("an entry lives for long", Entries, &[Cut], |r| r.timing.order_lifetime = seconds(600)),
            ("an exit lives for ever", Exits, &[Cut], |r| r.exits_expire = false),
            ("exits leave for a minute", Exits, &[Cut], |r| r.timing.exit_window = seconds(60)),
            ("a restarted process opens at once", Entries, &[Restart], |r| {
                r.timing.settle_after = seconds(0);
            }),
            ("a restarted process closes at once", Exits, &[Restart], |r| r.timing.settle_after = seconds(0)),
            ("working orders are left alone", Exits, &[Freeze], |r| r.cancels_working_orders = false),
            ("the check is made when it is decided", Entries, &[Freeze], |r| r.checked_before_send = false),
            ("the clock stands still in suspension", Entries, &[Freeze], |r| {
                r.clock_counts_suspension = false
            }),
            ("released with an entry in flight", Entries, &[Terminate], |r| r.releases_in_flight = true),
            ("released with an exit in flight", Exits, &[Terminate], |r| r.releases_in_flight = true),
            ("what was lost is taken again", Entries, &[Freeze, Terminate], |r| r.notices_loss = false),
            ("a deleted Lease comes back as nobody's", Entries, &[Delete], |r| {
                r.recreated_as_unknown = false
            }),
        ];
        for (what, orders, faults, break_it) in broken {
            let world = World {
                faults: faults.to_vec(),
                budget: u8::try_from(faults.len()).unwrap(),
                ..World::safety(orders, Rules::default())
            };
            holds(what, world.clone());
            let mut rules = Rules::default();
            break_it(&mut rules);
            let story = check(World { rules, ..world }).expect_err(what);
            assert!(story.starts_with(ORDERS), "{what}: {story}");
            println!("{what}: {story}");
        }
    }

    #[test]
    fn times_with_which_nobody_holds_the_lease_for_long_are_found_out() {
        let timing = Timing { renew_every: seconds(20), ..Timing::default() };
        let story = check(World::steady(Rules { timing, ..Rules::default() })).expect_err("rare renewals");
        assert!(story.starts_with(STEADY), "{story}");
        let timing = Timing { takeover_after: seconds(600), ..Timing::default() };
        let story = check(World::liveness(Rules { timing, ..Rules::default() })).expect_err("no takeover");
        assert!(story.starts_with(ONE_HOLDER), "{story}");
    }

    /// The stall rule is a second line: it costs nothing, and helps when somebody empties the Lease by hand. That the
    /// first line holds without it is worth knowing.
    #[test]
    fn the_window_alone_is_enough_where_clocks_count_suspension() {
        let timing = Timing { longest_stall: seconds(600), ..Timing::default() };
        let rules = Rules { timing, ..Rules::default() };
        let faults = vec![Fault::Freeze, Fault::Delete, Fault::Slow];
        holds("no stall", World { faults, ..World::safety(Orders::Entries, rules) });
    }
}
