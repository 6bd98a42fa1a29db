//! The replay feed: recorded bars at a pace, held back by whoever takes them.

use std::time::Duration;

use crds::config::{BotConfig, FeedSource, OnEnd, Replay};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::csv::CsvError;
use super::files::Source;
use super::{Step, Steps};

/// Steps that wait for the bot to take them, at most: as many as one batch.
const MOST_WAITING: usize = 256;
/// With a pace only what belongs to this time may wait, or a bot that was held would find a burst.
const WAITING_TIME: f64 = 0.1;

/// What the feed tells the bot.
#[derive(Debug)]
pub enum Delivery {
    /// Something happened in the market.
    Step(Step),
    /// The last bar has been delivered.
    Finished,
    /// The data cannot be used; it will be looked at again.
    Broken(CsvError),
}

/// How a bot's bars are replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Seconds of market time per second of wall time; 0 is as fast as they are taken.
    pub speed: f64,
    /// What happens after the last bar.
    pub on_end: OnEnd,
    /// The bars of each asset and how many of them are warm-up, in the configuration's order.
    pub sources: Vec<(Source, u64)>,
}

/// Why a configuration cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[error(
    "feeds[{name}].replay.{field} is {value} but feeds[{first}] has {expected}; a bot has one market time, use the same in both"
)]
pub struct PlanError {
    name: String,
    first: String,
    field: &'static str,
    value: String,
    expected: String,
}

impl Plan {
    /// Reads the pace from the configuration; `sources` are its assets' files.
    ///
    /// # Errors
    /// When two feeds ask for different paces.
    pub fn new(config: &BotConfig, sources: Vec<Source>) -> Result<Self, PlanError> {
        let replays: Vec<(&str, &Replay)> = config
            .feeds
            .iter()
            .map(|feed| {
                let FeedSource::Replay(replay) = &feed.source;
                (feed.name.as_str(), replay)
            })
            .collect();
        let mut plan = Self { speed: 0.0, on_end: OnEnd::Hold, sources: Vec::new() };
        if let Some((first, of_first)) = replays.first() {
            for (name, replay) in &replays {
                let error = |field, value: String, expected: String| PlanError {
                    name: (*name).to_owned(),
                    first: (*first).to_owned(),
                    field,
                    value,
                    expected,
                };
                if replay.speed != of_first.speed {
                    return Err(error("speed", replay.speed.to_string(), of_first.speed.to_string()));
                }
                if replay.on_end != of_first.on_end {
                    let word = |on_end: OnEnd| format!("{on_end:?}");
                    return Err(error("onEnd", word(replay.on_end), word(of_first.on_end)));
                }
            }
            plan.speed = of_first.speed.to_f64();
            plan.on_end = of_first.on_end;
        }
        let warmup = |source: &Source| {
            let asset = config.assets.iter().find(|asset| asset.pair == source.pair)?;
            let FeedSource::Replay(replay) = &config.feed(&asset.feed)?.source;
            Some(u64::from(replay.warmup))
        };
        plan.sources =
            sources.into_iter().map(|s| (warmup(&s).unwrap_or(0), s)).map(|(n, s)| (s, n)).collect();
        Ok(plan)
    }
}

impl Plan {
    /// How many steps may wait to be taken.
    fn waiting(&self) -> usize {
        if self.speed <= 0.0 {
            return MOST_WAITING;
        }
        let finest = self.sources.iter().map(|(source, _)| source.timeframe.as_secs()).min().unwrap_or(1);
        let steps = self.speed / finest as f64 * WAITING_TIME;
        // A float beyond the largest integer becomes the largest; none is below one here.
        (steps as usize).clamp(1, MOST_WAITING)
    }
}

/// When the next step is due.
#[derive(Debug)]
struct Pace {
    speed: f64,
    anchor: Option<(Instant, Timestamp)>,
}

impl Pace {
    /// Lag from which on the pace starts anew instead of catching up: the bot stood still.
    const LAG: Duration = Duration::from_secs(1);

    /// When a step of that market time is due, seen at `now`.
    fn due(&mut self, now: Instant, at: Timestamp) -> Instant {
        if self.speed <= 0.0 {
            return now;
        }
        let (started, from) = *self.anchor.get_or_insert((now, at));
        let wait = at.duration_since(from).as_secs_f64() / self.speed;
        // A wait beyond a year is a wait for the end of the process.
        let due = started + Duration::try_from_secs_f64(wait.clamp(0.0, 3.2e7)).unwrap_or_default();
        if due + Self::LAG < now {
            self.anchor = Some((now, at));
            return now;
        }
        due
    }
}

/// Time between two looks at data that cannot be used: a mounted file may be corrected.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Delivers the steps after `resume` until the data ends or nobody takes them any more. Never drops and
/// never merges a step: a full channel holds the market still. Data that cannot be used is told and
/// looked at again. `steps` is the data when it has been opened already.
pub fn start(plan: Plan, steps: Option<Steps>, resume: Option<Timestamp>) -> mpsc::Receiver<Delivery> {
    let (sender, receiver) = mpsc::channel(plan.waiting());
    tokio::spawn(async move {
        let (mut steps, mut resume) = (steps, resume);
        loop {
            let ready = open_after(plan.clone(), steps.take(), resume).await;
            let error = match ready {
                Some(Ok(steps)) => match deliver(steps, plan.speed, &sender, &mut resume).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Some(Err(error)) => error,
                None => return,
            };
            if sender.send(Delivery::Broken(error)).await.is_err() {
                return;
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    });
    receiver
}

/// Reading years of bars takes a moment, which the other tasks need not wait for.
async fn open_after(
    plan: Plan,
    steps: Option<Steps>,
    resume: Option<Timestamp>,
) -> Option<Result<Steps, CsvError>> {
    let open = move || {
        let mut steps = match steps {
            Some(steps) => steps,
            None => Steps::open(plan.sources, plan.on_end)?,
        };
        if let Some(resume) = resume {
            steps.skip_to(resume)?;
        }
        Ok(steps)
    };
    // The task fails only when the process is going down.
    tokio::task::spawn_blocking(open).await.ok()
}

/// Delivers until the end of the data; `resume` follows what was delivered.
async fn deliver(
    mut steps: Steps,
    speed: f64,
    sender: &mpsc::Sender<Delivery>,
    resume: &mut Option<Timestamp>,
) -> Result<(), CsvError> {
    let mut pace = Pace { speed, anchor: None };
    while let Some(step) = steps.next_step()? {
        // Room first, time second: a market that was held does not come in a burst afterwards.
        let Ok(permit) = sender.reserve().await else { return Ok(()) };
        if !step.warmup && speed > 0.0 {
            tokio::time::sleep_until(pace.due(Instant::now(), step.at)).await;
        }
        *resume = Some(step.at);
        permit.send(Delivery::Step(step));
    }
    // When nobody listens any more, the end is nobody's news.
    let _ = sender.send(Delivery::Finished).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn speed_is_market_seconds_per_wall_second() {
        let start = Instant::now();
        let mut pace = Pace { speed: 3600.0, anchor: None };
        assert_eq!(pace.due(start, hour(10)), start);
        assert_eq!(pace.due(start, hour(11)), start + Duration::from_secs(1));
        assert_eq!(pace.due(start, hour(14)), start + Duration::from_secs(4));
    }

    #[test]
    fn after_a_stand_still_the_pace_starts_anew() {
        let start = Instant::now();
        let mut pace = Pace { speed: 3600.0, anchor: None };
        pace.due(start, hour(10));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.due(later, hour(11)), later);
        assert_eq!(pace.due(later, hour(12)), later + Duration::from_secs(1));
    }

    #[test]
    fn speed_zero_waits_for_nothing() {
        let start = Instant::now();
        let mut pace = Pace { speed: 0.0, anchor: None };
        assert_eq!(pace.due(start, hour(0)), start);
        assert_eq!(pace.due(start, hour(9_000)), start);
    }

    #[test]
    fn little_waits_at_a_pace_and_a_batch_without() {
        let source = |timeframe| Source { pair: "BTC-USD".parse().unwrap(), timeframe, files: Vec::new() };
        let waiting = |speed| {
            let sources = vec![(source(crds::Timeframe::H1), 0), (source(crds::Timeframe::D1), 0)];
            Plan { speed, on_end: OnEnd::Hold, sources }.waiting()
        };
        assert_eq!([waiting(0.0), waiting(1.0), waiting(86_400.0), waiting(1e12)], [256, 1, 2, 256]);
    }

    fn config(second: serde_json::Value) -> BotConfig {
        let data = |pair: &str| serde_json::json!([{"pair": pair, "timeframe": "1h", "configMaps": [{"name": "x", "key": "x.csv"}]}]);
        let mut feeds = serde_json::json!([
            {"name": "a", "replay": {"speed": 60, "warmup": 7, "data": data("BTC-USD")}},
            {"name": "b", "replay": {"speed": 60, "warmup": 9, "data": data("ETH-USD")}},
        ]);
        for (key, value) in second.as_object().unwrap() {
            feeds[1]["replay"][key] = value.clone();
        }
        let spec = serde_json::json!({"feeds": feeds, "assets": [
            {"pair": "BTC-USD", "feed": "a"}, {"pair": "ETH-USD", "feed": "b"},
        ]});
        crds::config::resolve(&spec).unwrap().bot
    }

    #[test]
    fn each_asset_warms_up_by_its_feed_and_all_share_one_pace() {
        let config_ok = config(serde_json::json!({}));
        let plan = Plan::new(&config_ok, super::super::files::mounted(&config_ok)).unwrap();
        assert_eq!(plan.sources.iter().map(|(_, warmup)| *warmup).collect::<Vec<_>>(), [7, 9]);
        for change in [serde_json::json!({"speed": 61}), serde_json::json!({"onEnd": "Loop"})] {
            let error = Plan::new(&config(change), Vec::new()).unwrap_err().to_string();
            assert!(error.contains("feeds[b].replay.") && error.contains("use the same"), "{error}");
        }
    }
}
