//! How old the newest data may be.

use crds::Timeframe;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A quote older than this opens nothing, and its feed has fallen silent.
pub(crate) const QUOTE_LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// How old a bar of that length may be, counted from its end.
pub(crate) fn bar_limit(timeframe: Timeframe) -> SignedDuration {
    SignedDuration::from_secs(2 * timeframe.as_secs())
}

/// The newest data of an asset, as of a market time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    /// The age of each kind of data and its limit, in seconds. An absent age means that there is no such
    /// data at all. A crypto market is always open, so that every age counts in full.
    pub fn ages(&self) -> impl Iterator<Item = (Option<f64>, f64)> {
        let bars = [self.fed, self.decision].into_iter().map(move |bar| match bar {
            None => (None, 0.0),
            Some((timeframe, end)) => (Some(self.age(end)), bar_limit(timeframe).as_secs_f64()),
        });
        let quote = self.quote.map(|at| (Some(self.age(at)), QUOTE_LIMIT.as_secs_f64()));
        bars.chain(quote)
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
    fn bars_may_be_twice_their_length_old_and_quotes_30_seconds() {
        let fresh = Freshness {
            now: at(36_000),
            fed: Some((Timeframe::H1, at(36_000 - 7200))),
            decision: Some((Timeframe::H4, at(36_000 - 28_800))),
            quote: Some(at(36_000 - 30)),
        };
        let all = |fresh: &Freshness| fresh.ages().collect::<Vec<_>>();
        assert_eq!(all(&fresh), [(Some(7200.0), 7200.0), (Some(28_800.0), 28_800.0), (Some(30.0), 30.0)]);
        let no_data = Freshness { fed: None, quote: None, ..fresh };
        assert_eq!(all(&no_data), [(None, 0.0), (Some(28_800.0), 28_800.0)]);
    }
}
