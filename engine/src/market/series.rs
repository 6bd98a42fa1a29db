//! The bars of one asset, in order.

use crds::Timeframe;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aggregate::FinalBar;
use super::{Aggregator, Bar};
use crate::output::Refusal;
use crate::panel::DECISION_TIMEFRAME;

/// Which bars an asset was fed: what has to be the same when indicators are made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fed {
    pub timeframe: Timeframe,
    pub first: Timestamp,
    pub last: Timestamp,
    pub bars: u64,
}

/// What a bar led to.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Close and end of the last bar before a gap, and how many are missing.
    pub gap: Option<(f64, Timestamp, u64)>,
    /// Decision bars that became final.
    pub decision: [Option<FinalBar>; 2],
    /// Days that became final.
    pub day: [Option<FinalBar>; 2],
}

/// The bars of one asset.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    fed: Option<Fed>,
    last_close: f64,
    decision: Aggregator,
    day: Aggregator,
    decision_end: Option<Timestamp>,
}

impl Series {
    pub fn new() -> Self {
        Self {
            fed: None,
            last_close: 0.0,
            decision: Aggregator::new(DECISION_TIMEFRAME),
            day: Aggregator::new(Timeframe::D1),
            decision_end: None,
        }
    }

    /// What was fed so far.
    pub fn fed(&self) -> Option<Fed> {
        self.fed
    }

    /// End of the last final decision bar.
    pub fn decision_end(&self) -> Option<Timestamp> {
        self.decision_end
    }

    /// Whether the bar can be the next one.
    pub fn check(&self, timeframe: Timeframe, end: Timestamp) -> Result<(), (Refusal, String)> {
        if timeframe > DECISION_TIMEFRAME {
            let message = format!(
                "{timeframe} bars cannot make the {DECISION_TIMEFRAME} bars that the panel needs; feed finer ones"
            );
            return Err((Refusal::BadTimeframe, message));
        }
        if end.subsec_nanosecond() != 0 || end.as_second().rem_euclid(timeframe.as_secs()) != 0 {
            let message =
                format!("a {timeframe} bar cannot end at {end}; give the end of the bar, aligned to UTC");
            return Err((Refusal::NotAligned, message));
        }
        let Some(fed) = self.fed else { return Ok(()) };
        if fed.timeframe != timeframe {
            let message =
                format!("bars so far are {}, this one is {timeframe}; feed one length only", fed.timeframe);
            return Err((Refusal::BadTimeframe, message));
        }
        if end <= fed.last {
            let message = format!(
                "the bar that ends at {end} comes after the one that ends at {}; sort the data and remove duplicates",
                fed.last
            );
            return Err((Refusal::TimeRunsBackwards, message));
        }
        Ok(())
    }

    /// Takes in a bar that was checked.
    pub fn push(&mut self, timeframe: Timeframe, end: Timestamp, bar: &Bar) -> Step {
        let gap = self.fed.and_then(|fed| {
            let missing = (end.as_second() - fed.last.as_second()) / timeframe.as_secs() - 1;
            let missing = u64::try_from(missing).ok().filter(|missing| *missing > 0)?;
            Some((self.last_close, fed.last, missing))
        });
        self.fed = Some(match self.fed {
            None => Fed { timeframe, first: end, last: end, bars: 1 },
            Some(fed) => Fed { last: end, bars: fed.bars + 1, ..fed },
        });
        self.last_close = bar.close;
        let decision = self.decision.push(end, bar);
        if let Some(done) = decision.iter().flatten().last() {
            self.decision_end = Some(done.end);
        }
        Step { gap, decision, day: self.day.push(end, bar) }
    }
}
