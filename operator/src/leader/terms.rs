//! The rules of leadership, without any I/O.

use std::time::Duration;

use super::clock::BootTime;

/// The times of an election: parts of the Lease's duration.
///
/// A leader whose last renewal was *sent* at `t` begins writes before `t + duration - margin` and gives each
/// of them up after `margin`: none is on its way at `t + duration`. A rival sees that renewal no earlier
/// than `t`, and takes over when it has stood still for `duration` since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    seconds: u16,
}

impl Terms {
    /// For a Lease of so many seconds.
    pub const fn new(seconds: u16) -> Self {
        Self { seconds }
    }

    /// How long the Lease lasts, in seconds.
    pub const fn seconds(self) -> u16 {
        self.seconds
    }

    /// How long the Lease lasts.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// How long a write may take.
    pub fn margin(self) -> Duration {
        self.duration() * 3 / 8
    }

    /// Time between two renewals, and how long one may take.
    pub fn renew_every(self) -> Duration {
        self.duration() / 4
    }

    /// Until when writes may begin after a renewal that was sent at a moment.
    pub fn end(self, sent: BootTime) -> BootTime {
        sent.after(self.duration().saturating_sub(self.margin()))
    }
}

/// What a candidate reads in the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `metadata.resourceVersion`, which every write changes. Of a Lease that is missing: something that differs
    /// from one absence to the next, which may have been another.
    pub version: String,
    /// Whether there is a Lease.
    pub exists: bool,
    /// `spec.holderIdentity`; empty means nobody.
    pub holder: String,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
}

/// What a candidate does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Writes itself in, or renews.
    Take,
    /// Looks again after so long, if nothing moves.
    Wait(Duration),
}

/// One who wants to lead.
#[derive(Debug)]
pub struct Candidate {
    identity: String,
    terms: Terms,
    seen: Option<(Record, BootTime)>,
}

impl Candidate {
    /// A candidate. No other process may ever have the same identity.
    pub const fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None }
    }

    /// Its identity.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Judges what is known of the Lease at `now`. A stranger's record must stand still for the Lease's
    /// whole duration on this clock, whatever times it states; and so must the absence of a Lease, which
    /// somebody may have deleted under a leader. That leader, if it is this process, makes it anew.
    pub fn judge(&mut self, record: &Record, leads: bool, now: BootTime) -> Move {
        let free = record.holder.is_empty() || record.holder == self.identity;
        if if record.exists { free } else { leads } {
            self.seen = None;
            return Move::Take;
        }
        let since = match &self.seen {
            Some((seen, since)) if seen == record => *since,
            _ => {
                self.seen = Some((record.clone(), now));
                now
            }
        };
        // One that was configured for longer terms is given them.
        let patience = self.terms.duration().max(record.duration);
        match patience.checked_sub(now.since(since)) {
            None | Some(Duration::ZERO) => Move::Take,
            Some(rest) => Move::Wait(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms::new(4);

    fn at(millis: u64) -> BootTime {
        BootTime::from_start(Duration::from_millis(millis))
    }

    fn record(version: u32, holder: &str) -> Record {
        let version = version.to_string();
        Record { version, exists: true, holder: holder.into(), duration: TERMS.duration() }
    }

    #[test]
    fn a_lease_of_nobody_and_ones_own_are_taken_at_once() {
        let mut me = Candidate::new("me".into(), TERMS);
        assert_eq!(me.judge(&record(1, ""), false, at(0)), Move::Take);
        assert_eq!(me.judge(&record(2, "me"), false, at(1)), Move::Take);
    }

    #[test]
    fn a_strangers_lease_and_a_missing_one_are_taken_only_after_they_stood_still() {
        let wait = |millis| Move::Wait(Duration::from_millis(millis));
        let mut me = Candidate::new("me".into(), TERMS);
        assert_eq!(me.judge(&record(1, "other"), false, at(0)), wait(4000));
        assert_eq!(me.judge(&record(1, "other"), false, at(3000)), wait(1000));
        assert_eq!(me.judge(&record(2, "other"), false, at(3500)), wait(4000), "it moved");
        let missing = Record { exists: false, duration: Duration::ZERO, ..record(3, "") };
        assert_eq!(me.judge(&missing, false, at(7000)), wait(4000), "it was deleted");
        assert_eq!(me.judge(&missing, false, at(10_999)), wait(1));
        assert_eq!(me.judge(&missing, false, at(11_000)), Move::Take);
        assert_eq!(me.judge(&missing, true, at(11_000)), Move::Take, "its leader makes it anew");
        let longer = Record { duration: Duration::from_secs(15), ..record(3, "other") };
        assert_eq!(me.judge(&longer, false, at(20_000)), wait(15_000), "of one with longer terms");
    }

    #[test]
    fn stillness_is_not_remembered_across_ones_own_term() {
        let mut me = Candidate::new("me".into(), TERMS);
        me.judge(&record(1, "other"), false, at(0));
        me.judge(&record(2, "me"), false, at(1000));
        assert_eq!(me.judge(&record(1, "other"), false, at(9000)), Move::Wait(TERMS.duration()));
    }

    #[test]
    fn a_renewal_that_fails_once_costs_no_term() {
        for seconds in 2..=60 {
            let terms = Terms::new(seconds);
            let left = terms.end(at(0)).since(at(0));
            assert!(2 * terms.renew_every() < left, "{seconds} s: a second try is answered in time");
            assert_eq!(left + terms.margin(), terms.duration());
        }
    }

    /// A process of the simulation: frozen until a moment, and sees the Lease as it was a while ago.
    struct Process {
        candidate: Candidate,
        writes_until: BootTime,
        frozen_until: u64,
        /// A write to the Lease that is on its way: when it was sent, when it arrives, upon which version.
        sent: Option<(u64, u64, u32)>,
    }

    proptest! {
        /// Whatever is delayed, frozen, lost or deleted: writes of two processes are never on their way at
        /// the same time.
        #[test]
        fn two_never_write_at_once(
            story in prop::collection::vec((0u8..8, 0usize..3, 0u64..7000), 1..300),
        ) {
            let names = ["a", "b", "c"];
            let mut processes: Vec<Process> = names.iter().map(|name| Process {
                candidate: Candidate::new((*name).to_owned(), TERMS),
                writes_until: at(0),
                frozen_until: 0,
                sent: None,
            }).collect();
            // What the API server has: version and holder, or nothing; and all that it ever had.
            let mut history: Vec<(u64, u32, Option<usize>, bool)> = vec![(0, 1, None, true)];
            let mut version = 1;
            let mut now = 10_000;
            let mut last_end: [u64; 3] = [0; 3];
            for (what, who, amount) in story {
                let end = now + 50 + amount / 4;
                match what {
                    0 => processes[who].frozen_until = now + amount,
                    1 if amount > 6000 => {
                        version += 1;
                        history.push((now, version, None, false));
                    }
                    _ => {}
                }
                let lag = if what == 2 { amount } else { 20 };
                while now < end {
                    now += 50;
                    for index in 0..processes.len() {
                        // A request that was sent arrives, frozen or not.
                        if let Some((sent, arrives, upon)) = processes[index].sent
                            && arrives <= now
                        {
                            processes[index].sent = None;
                            if history.last().unwrap().1 == upon {
                                version += 1;
                                history.push((now, version, Some(index), true));
                                processes[index].writes_until = TERMS.end(at(sent));
                            }
                        }
                        let process = &mut processes[index];
                        if process.frozen_until > now {
                            continue;
                        }
                        if at(now) < process.writes_until {
                            // It writes: that may be on its way for the whole margin.
                            last_end[index] = now + u64::try_from(TERMS.margin().as_millis()).unwrap();
                            for other in (0..3).filter(|other| *other != index) {
                                prop_assert!(last_end[other] <= now, "{} and {} write at {now}", names[index], names[other]);
                            }
                        }
                        let seen = history.iter().rev().find(|(since, ..)| since + lag <= now).unwrap_or(&history[0]);
                        let holder = seen.2.map_or("", |holder| names[holder]);
                        let record = Record {
                            version: seen.1.to_string(),
                            exists: seen.3,
                            holder: holder.into(),
                            duration: TERMS.duration(),
                        };
                        let leads = at(now) < process.writes_until;
                        if process.sent.is_none()
                            && process.candidate.judge(&record, leads, at(now)) == Move::Take
                        {
                            process.sent = Some((now, now + 50 + amount / 7, seen.1));
                        }
                    }
                }
            }
        }
    }
}
