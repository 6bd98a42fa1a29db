//! One order, and what is known of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::message::{Instruction, Intent, News, Standing, VenueFill};
use super::{ASK_EVERY, CANCEL_EVERY, LONGEST_WAY, SILENCE};
use crate::output::{Cancellation, Role};

/// Where an order stands. The last five are ends: nothing leads out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Known {
    /// Handed over; nothing was heard of it.
    Sent,
    /// Nobody knows: it counts as alive until the venue has said otherwise.
    Unknown,
    /// The venue has never seen what a former process meant: it goes out again once the rest is known.
    Missing,
    /// At the venue.
    Open,
    Filled,
    Cancelled,
    Rejected,
    /// The venue has never seen it and will not take it any more.
    NeverArrived,
    /// It never left.
    Withheld(Cancellation),
}

impl Known {
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Sent | Self::Unknown | Self::Missing | Self::Open)
    }
}

/// An order, and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tracked {
    pub intent: Intent,
    pub known: Known,
    /// The venue has had it.
    pub seen: bool,
    /// When it was handed over, or last heard of.
    pub since: Timestamp,
    /// When it was last asked about.
    pub asked: Option<Timestamp>,
    /// When it was last tried to cancel.
    pub cancelled_at: Option<Timestamp>,
    /// What the venue says was filled in the end; the fills themselves may come later.
    pub stated: Decimal,
    /// Quantities by the venue's id of the fill.
    pub fills: BTreeMap<String, Decimal>,
}

/// What a report changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Fills that were not known before.
    pub fills: Vec<VenueFill>,
    /// The end, when it came with this report.
    pub ended: Option<Known>,
    /// The venue has never seen it: the same body goes out again.
    pub again: bool,
}

impl Tracked {
    pub fn new(intent: Intent, at: Timestamp) -> Self {
        Self {
            intent,
            known: Known::Sent,
            seen: false,
            since: at,
            asked: None,
            cancelled_at: None,
            stated: Decimal::ZERO,
            fills: BTreeMap::new(),
        }
    }

    pub fn is_live(&self) -> bool {
        self.known.is_live()
    }

    /// The sum of its fills.
    pub fn filled(&self) -> Decimal {
        self.fills.values().fold(Decimal::ZERO, |sum, quantity| sum.saturating_add(*quantity))
    }

    /// What may still be filled.
    pub fn remaining(&self) -> Decimal {
        let left = self.intent.quantity.saturating_sub(self.filled());
        if self.is_live() { left.max(Decimal::ZERO) } else { Decimal::ZERO }
    }

    /// What was filled and has not been told in full: the end came before the fills.
    pub fn untold(&self) -> Decimal {
        self.stated.saturating_sub(self.filled()).max(Decimal::ZERO)
    }

    /// Whether everything about it is known: nothing is on its way that could change the position, but
    /// for the fills of an order that rests.
    pub fn is_settled(&self) -> bool {
        !matches!(self.known, Known::Sent | Known::Unknown) && self.untold().is_zero()
    }

    /// Nothing that was known of it is taken for granted any more: whoever knew it is gone.
    pub fn forget(&mut self) {
        if self.is_live() {
            self.known = Known::Unknown;
            (self.asked, self.cancelled_at) = (None, None);
        }
    }

    /// Whether the venue has to be asked about it now.
    pub fn is_asked_about(&mut self, now: Timestamp) -> bool {
        let spoken = self.cancelled_at.map_or(self.since, |cancelled| cancelled.max(self.since));
        let silent = now.duration_since(spoken) >= SILENCE;
        let uncertain = match self.known {
            Known::Unknown => true,
            Known::Sent => silent,
            // An entry does not rest, and a cancelled order ends: of either, something was not heard.
            Known::Open => silent && (self.intent.role != Role::Protect || self.cancelled_at.is_some()),
            _ => !self.untold().is_zero(),
        };
        let due = uncertain && self.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// Whether it has to be cancelled now, given that it shall be.
    pub fn is_cancelled_now(&mut self, now: Timestamp) -> bool {
        let due = self.is_live()
            && self.cancelled_at.is_none_or(|cancelled| now.duration_since(cancelled) >= CANCEL_EVERY);
        if due {
            self.cancelled_at = Some(now);
        }
        due
    }

    /// Takes a report. The same report twice, or an older one after a newer one, changes nothing.
    pub fn hear(&mut self, news: &News, now: Timestamp) -> Change {
        let mut change = Change::default();
        let before = self.known;
        match news {
            News::Accepted => self.arrived(),
            News::Fill(fill) => {
                self.arrived();
                self.fill(fill, &mut change);
            }
            // It is there: refused was another copy of it, or this word was overtaken.
            News::Rejected { .. } if self.seen => self.doubt(),
            News::Rejected { .. } => self.end(Known::Rejected),
            News::Withheld { reason } => self.end(Known::Withheld(*reason)),
            News::Cancelled { filled } => self.ended_with(*filled),
            News::Unknown => {
                if self.known == Known::Sent {
                    self.doubt();
                }
            }
            News::Missing { asked } => self.missing(*asked, &mut change),
            News::Status { standing, quantity, stop, filled, fills } => {
                // The venue has the first body that came with this id, and its word counts.
                self.intent.quantity = *quantity;
                if let (Instruction::Stop { price }, Some(stop)) = (&mut self.intent.instruction, stop) {
                    *price = *stop;
                }
                self.arrived();
                for fill in fills {
                    self.fill(fill, &mut change);
                }
                if *standing == Standing::Ended {
                    self.ended_with(*filled);
                }
            }
        }
        if self.is_live() && self.filled() >= self.intent.quantity {
            self.known = Known::Filled;
        }
        if before.is_live() {
            change.ended = (!self.is_live()).then_some(self.known);
            self.since = now;
        }
        change
    }

    /// What is known of it is in doubt: it is asked about at once.
    pub fn doubt(&mut self) {
        if self.is_live() && self.known != Known::Unknown {
            self.known = Known::Unknown;
            self.asked = None;
        }
    }

    fn arrived(&mut self) {
        self.seen = true;
        if self.is_live() {
            self.known = Known::Open;
        }
    }

    fn end(&mut self, known: Known) {
        if self.is_live() {
            self.known = known;
        }
    }

    fn ended_with(&mut self, filled: Decimal) {
        self.stated = self.stated.max(filled);
        self.end(if filled >= self.intent.quantity { Known::Filled } else { Known::Cancelled });
    }

    fn fill(&mut self, fill: &VenueFill, change: &mut Change) {
        if !self.fills.contains_key(&fill.id) {
            self.fills.insert(fill.id.clone(), fill.quantity);
            change.fills.push(fill.clone());
        }
    }

    fn missing(&mut self, asked: Timestamp, change: &mut Change) {
        // Once it was seen there, an answer that denies it is older, or wrong.
        if !matches!(self.known, Known::Sent | Known::Unknown) {
            return;
        }
        match self.intent.instruction {
            Instruction::Take { expires, .. } => {
                if asked.duration_since(expires) > LONGEST_WAY {
                    self.known = Known::NeverArrived;
                }
            }
            // An order that closes has no expiry, and the venue takes an id once.
            Instruction::Market | Instruction::Stop { .. } => {
                if self.known == Known::Unknown || asked >= self.since {
                    self.known = Known::Sent;
                    change.again = true;
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::Id;
    use crate::output::Side;
    use crate::view::BotId;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_588_334_400 + seconds).unwrap()
    }

    pub(crate) fn intent(role: Role, quantity: i64) -> Intent {
        let bot = BotId { namespace: "default".into(), name: "majors".into() };
        let asset: crds::Asset = "BTC-USD".parse().unwrap();
        let instruction = match role {
            Role::Entry => Instruction::Take { limit: 50_100.0, expires: at(10) },
            Role::Protect => Instruction::Stop { price: 49_000.0 },
            Role::Exit => Instruction::Market,
        };
        Intent {
            id: Id::order("venue", &bot, &asset, at(0), role, 0),
            at: at(0),
            asset,
            venue: "venue".into(),
            role,
            side: Side::Long,
            quantity: quantity.into(),
            instruction,
        }
    }

    fn fill(id: &str, quantity: i64) -> VenueFill {
        VenueFill { id: id.into(), quantity: quantity.into(), price: 50_000.into(), fee: Decimal::ONE }
    }

    fn hear(order: &mut Tracked, news: News) -> Change {
        order.hear(&news, at(1))
    }

    #[test]
    fn a_fill_counts_once_and_also_after_the_end() {
        let mut order = Tracked::new(intent(Role::Entry, 10), at(0));
        assert_eq!(hear(&mut order, News::Fill(fill("a", 4))).fills.len(), 1);
        assert_eq!(hear(&mut order, News::Fill(fill("a", 4))), Change::default());
        let change = hear(&mut order, News::Cancelled { filled: 6.into() });
        assert_eq!((change.ended, order.untold()), (Some(Known::Cancelled), 2.into()));
        let change = hear(&mut order, News::Fill(fill("b", 2)));
        assert_eq!((change.fills.len(), change.ended, order.known), (1, None, Known::Cancelled));
        assert_eq!((order.filled(), order.untold()), (6.into(), Decimal::ZERO));
        // More than the venue had said is a fill all the same.
        hear(&mut order, News::Fill(fill("c", 1)));
        assert_eq!((order.filled(), order.known), (7.into(), Known::Cancelled));
    }

    #[test]
    fn an_entry_never_arrived_only_when_the_question_came_after_its_expiry_and_the_longest_way() {
        let mut order = Tracked::new(intent(Role::Entry, 10), at(0));
        hear(&mut order, News::Unknown);
        for asked in [1, 10, 15] {
            assert_eq!(hear(&mut order, News::Missing { asked: at(asked) }).ended, None);
        }
        let change = hear(&mut order, News::Missing { asked: at(16) });
        assert_eq!((change.ended, change.again), (Some(Known::NeverArrived), false));
    }

    #[test]
    fn an_exit_that_the_venue_has_never_seen_goes_out_again_and_one_that_it_has_seen_does_not() {
        let mut order = Tracked::new(intent(Role::Exit, 10), at(0));
        hear(&mut order, News::Unknown);
        assert!(hear(&mut order, News::Missing { asked: at(2) }).again);
        hear(&mut order, News::Accepted);
        assert_eq!(hear(&mut order, News::Missing { asked: at(3) }), Change::default());
        assert_eq!(order.known, Known::Open);
    }

    #[test]
    fn what_is_unknown_is_asked_about_until_it_is_known_and_not_more_often_than_allowed() {
        let mut order = Tracked::new(intent(Role::Protect, 10), at(0));
        assert!(!order.is_asked_about(at(4)));
        assert!(order.is_asked_about(at(5)) && !order.is_asked_about(at(6)) && order.is_asked_about(at(7)));
        order.hear(&News::Accepted, at(8));
        assert!(!order.is_asked_about(at(1_000)), "a stop rests");
        assert!(order.is_cancelled_now(at(1_000)) && !order.is_cancelled_now(at(1_001)));
        assert!(!order.is_asked_about(at(1_004)));
        assert!(order.is_asked_about(at(1_005)), "nothing came of the cancelling");
        order.hear(&News::Cancelled { filled: 3.into() }, at(1_006));
        assert!(order.is_asked_about(at(1_007)), "three units are untold");
        order.hear(&News::Fill(fill("a", 3)), at(1_008));
        assert!(!order.is_asked_about(at(1_020)));
    }

    fn news() -> impl Strategy<Value = News> {
        let fills = |count: usize| (0..count).map(|n| fill(&n.to_string(), 1)).collect::<Vec<_>>();
        let status = move |ended: bool, count: usize| News::Status {
            standing: if ended { Standing::Ended } else { Standing::Open },
            quantity: 10.into(),
            stop: None,
            filled: i64::try_from(count).unwrap().into(),
            fills: fills(count),
        };
        prop_oneof![
            Just(News::Accepted),
            (0usize..10).prop_map(|n| News::Fill(fill(&n.to_string(), 1))),
            Just(News::Rejected { reason: "no".into() }),
            (0i64..=10).prop_map(|filled| News::Cancelled { filled: filled.into() }),
            Just(News::Unknown),
            (0i64..30).prop_map(|asked| News::Missing { asked: at(asked) }),
            (any::<bool>(), 0usize..=10).prop_map(move |(ended, count)| status(ended, count)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_heard_ends_stay_and_every_fill_counts_once(
            role in 0u8..3, news in proptest::collection::vec((news(), any::<bool>()), 1..40),
        ) {
            let role = [Role::Entry, Role::Protect, Role::Exit][usize::from(role)];
            let mut order = Tracked::new(intent(role, 10), at(0));
            let mut booked: Vec<VenueFill> = Vec::new();
            let mut ends = 0;
            for (index, (news, twice)) in news.iter().enumerate() {
                let now = at(0) + SignedDuration::from_secs(index as i64);
                let before = order.clone();
                let change = order.hear(news, now);
                booked.extend(change.fills.clone());
                ends += usize::from(change.ended.is_some());
                if !before.is_live() {
                    prop_assert_eq!(order.known, before.known);
                    prop_assert!(!change.again && change.ended.is_none());
                }
                prop_assert!(order.filled() >= before.filled() && order.stated >= before.stated);
                if *twice {
                    let heard = order.clone();
                    let again = order.hear(news, now);
                    prop_assert!(again.fills.is_empty() && again.ended.is_none());
                    prop_assert_eq!(order.known, heard.known);
                    prop_assert_eq!(order.filled(), heard.filled());
                }
            }
            let mut ids: Vec<_> = booked.iter().map(|fill| fill.id.clone()).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), booked.len());
            let sum: Decimal = booked.iter().map(|fill| fill.quantity).sum();
            prop_assert_eq!(sum, order.filled());
            prop_assert_eq!(ends, usize::from(!order.is_live()));
            prop_assert!(order.is_live() || order.remaining().is_zero());
        }
    }
}
