//! How old the newest data may be.

use crds::Timeframe;
use jiff::{SignedDuration, Timestamp};

/// A quote older than this opens nothing, and its feed has fallen silent.
pub(crate) const QUOTE_LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// How old a bar of that length may be, counted from its end.
pub(crate) fn bar_limit(timeframe: Timeframe) -> SignedDuration {
    SignedDuration::from_secs(2 * timeframe.as_secs())
}

/// The newest data of an asset, as of a market time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Freshness {
    /// Market time.
    pub now: Timestamp,
    /// Length and end of the newest bar as fed.
    pub fed: Option<(Timeframe, Timestamp)>,
    /// Length and end of the newest bar that the panel decides on.
    pub decision: Option<(Timeframe, Timestamp)>,
    /// Stamp of the newest quote, when the asset has quotes.
    pub quote: Option<Timestamp>,
}

impl Freshness {
    /// What is stale or absent, if anything: its age and the limit, in seconds. An absent age means that
    /// there is no such data at all. A crypto market is always open, so that every age counts in full.
    pub fn fault(&self) -> Option<(Option<f64>, f64)> {
        let bars = [self.fed, self.decision].into_iter().map(|bar| match bar {
            None => (None, 0.0),
            Some((timeframe, end)) => (Some(self.age(end)), bar_limit(timeframe).as_secs_f64()),
        });
        let quote = self.quote.map(|at| (Some(self.age(at)), QUOTE_LIMIT.as_secs_f64()));
        bars.chain(quote).find(|(age, limit)| age.is_none_or(|age| age > *limit))
    }

    fn age(&self, at: Timestamp) -> f64 {
        self.now.duration_since(at).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn bars_are_fresh_up_to_twice_their_length_and_quotes_for_30_seconds() {
        let fresh = Freshness {
            now: at(36_000),
            fed: Some((Timeframe::H1, at(36_000 - 7200))),
            decision: Some((Timeframe::H4, at(36_000 - 28_800))),
            quote: Some(at(36_000 - 30)),
        };
        assert_eq!(fresh.fault(), None);
        let old_bar = Freshness { fed: Some((Timeframe::H1, at(36_000 - 7201))), ..fresh };
        assert_eq!(old_bar.fault(), Some((Some(7201.0), 7200.0)));
        let old_decision = Freshness { decision: Some((Timeframe::H4, at(36_000 - 28_801))), ..fresh };
        assert_eq!(old_decision.fault(), Some((Some(28_801.0), 28_800.0)));
        let old_quote = Freshness { quote: Some(at(36_000 - 31)), ..fresh };
        assert_eq!(old_quote.fault(), Some((Some(31.0), 30.0)));
        assert_eq!(Freshness { fed: None, ..fresh }.fault(), Some((None, 0.0)));
    }
}
