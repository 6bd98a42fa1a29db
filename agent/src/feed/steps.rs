//! The bars of several assets as one sequence of steps.

use crds::config::OnEnd;
use engine::{Event, EventKind};
use jiff::{SignedDuration, Timestamp};

use super::Step;
use super::csv::{BarReader, CsvError, TimedBar};
use super::files::{Source, open};

type Reader = BarReader<Box<dyn std::io::Read + Send>>;

/// One asset's place in its files.
struct Cursor {
    source: Source,
    warmup: u64,
    delivered: u64,
    file: usize,
    reader: Option<Reader>,
    next: Option<TimedBar>,
}

impl Cursor {
    fn new(source: Source, warmup: u64) -> Result<Self, CsvError> {
        let mut cursor = Self { source, warmup, delivered: 0, file: 0, reader: None, next: None };
        cursor.rewind()?;
        Ok(cursor)
    }

    fn rewind(&mut self) -> Result<(), CsvError> {
        (self.file, self.reader) = (0, None);
        self.advance()
    }

    /// Reads the next bar; a file's last open must come before the first open of the next file.
    fn advance(&mut self) -> Result<(), CsvError> {
        loop {
            if let Some(reader) = &mut self.reader {
                self.next = reader.next_bar()?;
                if self.next.is_some() {
                    return Ok(());
                }
                self.file += 1;
            }
            let Some(path) = self.source.files.get(self.file) else {
                (self.reader, self.next) = (None, None);
                return Ok(());
            };
            let before = self.reader.as_ref().and_then(Reader::last_open);
            self.reader = Some(open(path, self.source.timeframe, before)?);
        }
    }
}

/// What the data holds as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    /// Open of the first bar.
    first: Timestamp,
    /// End of the last bar.
    last: Timestamp,
}

/// The steps of a replay. Every file has been read through once before the first step comes out, so
/// that a broken line is found at the start and not in the middle of the night.
pub struct Steps {
    cursors: Vec<Cursor>,
    extent: Option<Extent>,
    on_end: OnEnd,
    shift: SignedDuration,
    bars: u64,
}

impl Steps {
    /// Opens the data of a bot, given with each asset's number of warm-up bars in the order of the
    /// configuration.
    ///
    /// # Errors
    /// When a file is missing or a line is broken anywhere in the data.
    pub fn open(sources: Vec<(Source, u64)>, on_end: OnEnd) -> Result<Self, CsvError> {
        let mut cursors = Vec::with_capacity(sources.len());
        for (source, warmup) in sources {
            cursors.push(Cursor::new(source, warmup)?);
        }
        // At equal times the finest bars come first, then the configuration's order.
        cursors.sort_by_key(|cursor| cursor.source.timeframe);
        let mut steps = Self { cursors, extent: None, on_end, shift: SignedDuration::ZERO, bars: 0 };
        steps.measure()?;
        Ok(steps)
    }

    /// The number of bars in the files.
    pub const fn bars(&self) -> u64 {
        self.bars
    }

    /// End of the last bar in the files, in market time of the present round.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.extent.and_then(|extent| extent.last.checked_add(self.shift).ok())
    }

    fn measure(&mut self) -> Result<(), CsvError> {
        for cursor in &mut self.cursors {
            while let Some(TimedBar { end, .. }) = cursor.next {
                let open = end - SignedDuration::from_secs(cursor.source.timeframe.as_secs());
                let extent = self.extent.get_or_insert(Extent { first: open, last: end });
                extent.first = extent.first.min(open);
                extent.last = extent.last.max(end);
                self.bars += 1;
                cursor.advance()?;
            }
            cursor.rewind()?;
        }
        Ok(())
    }

    /// Time between two rounds: whole weeks, so that days, weeks and aligned bars stay what they were.
    fn period(&self) -> SignedDuration {
        const WEEK: i64 = 7 * 86_400;
        let seconds = self.extent.map_or(WEEK, |extent| extent.last.duration_since(extent.first).as_secs());
        SignedDuration::from_secs((seconds + WEEK - 1) / WEEK * WEEK)
    }

    /// Goes to the first step after `resume`.
    ///
    /// # Errors
    /// When a file changed under the reader's hands.
    pub fn skip_to(&mut self, resume: Timestamp) -> Result<(), CsvError> {
        if let (OnEnd::Loop, Some(extent)) = (self.on_end, self.extent)
            && resume >= extent.last
        {
            let rounds = (resume.duration_since(extent.last).as_secs() / self.period().as_secs()) + 1;
            let seconds = self.period().as_secs().saturating_mul(rounds);
            self.start_round(SignedDuration::from_secs(seconds))?;
        }
        for cursor in &mut self.cursors {
            while let Some(bar) = cursor.next
                && bar.end.saturating_add(self.shift).is_ok_and(|end| end <= resume)
            {
                cursor.delivered += 1;
                cursor.advance()?;
            }
        }
        Ok(())
    }

    fn start_round(&mut self, shift: SignedDuration) -> Result<(), CsvError> {
        self.shift = shift;
        for cursor in &mut self.cursors {
            // The indicators are warm after the first round.
            cursor.warmup = 0;
            cursor.rewind()?;
        }
        Ok(())
    }

    /// The next step, or `None` after the last bar.
    ///
    /// # Errors
    /// When a file changed under the reader's hands.
    pub fn next_step(&mut self) -> Result<Option<Step>, CsvError> {
        let next = |cursors: &[Cursor]| cursors.iter().filter_map(|c| Some(c.next?.end)).min();
        let mut end = next(&self.cursors);
        if end.is_none() && self.on_end == OnEnd::Loop && self.bars > 0 {
            self.start_round(self.shift + self.period())?;
            end = next(&self.cursors);
        }
        // Beyond the calendar there is no time to deliver at.
        let Some((end, at)) = end.and_then(|end| Some((end, end.checked_add(self.shift).ok()?))) else {
            return Ok(None);
        };
        let mut step = Step { at, events: Vec::with_capacity(self.cursors.len() + 1), warmup: true };
        for cursor in &mut self.cursors {
            let Some(bar) = cursor.next.filter(|bar| bar.end == end).map(|bar| bar.bar) else { continue };
            let (asset, timeframe) = (cursor.source.pair.clone(), cursor.source.timeframe);
            let kind = if cursor.delivered < cursor.warmup {
                EventKind::History { asset, timeframe, bar }
            } else {
                step.warmup = false;
                EventKind::Bar { asset, timeframe, bar }
            };
            step.events.push(Event { at, kind });
            cursor.delivered += 1;
            cursor.advance()?;
        }
        if !step.warmup {
            step.events.push(Event { at, kind: EventKind::Timer });
        }
        Ok(Some(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::Timeframe;
    use std::fmt::Write;

    /// Writes hourly bars for the hours given, the price telling the hour.
    fn source(folder: &tempfile::TempDir, pair: &str, timeframe: Timeframe, files: &[&[i64]]) -> Source {
        let mut paths = Vec::new();
        for (index, hours) in files.iter().enumerate() {
            let mut text = "time,open,high,low,close,volume\n".to_owned();
            for hour in *hours {
                writeln!(text, "{},{1},{1},{1},{1},1", hour * 3600, hour + 1).unwrap();
            }
            let path = folder.path().join(format!("{pair}_{timeframe}_{index}.csv"));
            std::fs::write(&path, text).unwrap();
            paths.push(path);
        }
        Source { pair: pair.parse().unwrap(), timeframe, files: paths }
    }

    /// `12h:BTC,ETH*,T` for a step at hour 12 with a bar, a history bar and a timer.
    fn shown(steps: &mut Steps, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < most
            && let Some(step) = steps.next_step().unwrap()
        {
            let events: Vec<String> = step
                .events
                .iter()
                .map(|event| match &event.kind {
                    EventKind::Bar { asset, .. } => asset.base().to_owned(),
                    EventKind::History { asset, .. } => format!("{}*", asset.base()),
                    _ => "T".to_owned(),
                })
                .collect();
            lines.push(format!("{}h:{}", step.at.as_second() / 3600, events.join(",")));
        }
        lines
    }

    #[test]
    fn assets_merge_by_time_and_keep_their_order_within_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let eth = source(&folder, "ETH-USD", Timeframe::H1, &[&[1, 2, 4]]);
        let btc = source(&folder, "BTC-USD", Timeframe::H1, &[&[0, 1], &[2, 3]]);
        let mut steps = Steps::open(vec![(eth, 1), (btc, 2)], OnEnd::Hold).unwrap();
        assert_eq!(steps.bars(), 7);
        assert_eq!(
            shown(&mut steps, 99),
            ["1h:BTC*", "2h:ETH*,BTC*", "3h:ETH,BTC,T", "4h:BTC,T", "5h:ETH,T"]
        );
    }

    #[test]
    fn the_finest_bars_come_first_within_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let slow = source(&folder, "BTC-USD", Timeframe::H4, &[&[0]]);
        let fast = source(&folder, "ETH-USD", Timeframe::H1, &[&[3]]);
        let mut steps = Steps::open(vec![(slow, 0), (fast, 0)], OnEnd::Hold).unwrap();
        assert_eq!(shown(&mut steps, 99), ["4h:ETH,BTC,T"]);
    }

    #[test]
    fn resuming_anywhere_gives_the_rest_of_the_same_steps() {
        let folder = tempfile::tempdir().unwrap();
        let open = |on_end, resume: Option<i64>| {
            let btc = source(&folder, "BTC-USD", Timeframe::H1, &[&[0, 1], &[2, 5]]);
            let eth = source(&folder, "ETH-USD", Timeframe::H1, &[&[1, 2, 3]]);
            let mut steps = Steps::open(vec![(btc, 2), (eth, 1)], on_end).unwrap();
            if let Some(hour) = resume {
                steps.skip_to(Timestamp::from_second(hour * 3600).unwrap()).unwrap();
            }
            steps
        };
        for on_end in [OnEnd::Hold, OnEnd::Loop] {
            let all = shown(&mut open(on_end, None), 23);
            for (index, line) in all.iter().enumerate() {
                let hour = line.split_once('h').unwrap().0.parse().unwrap();
                let rest = shown(&mut open(on_end, Some(hour)), 23 - index - 1);
                assert_eq!(rest, all[index + 1..], "after {line}");
            }
        }
    }

    #[test]
    fn a_loop_starts_over_whole_weeks_later_and_is_warm() {
        let folder = tempfile::tempdir().unwrap();
        let btc = source(&folder, "BTC-USD", Timeframe::H1, &[&[0, 1]]);
        let mut steps = Steps::open(vec![(btc, 1)], OnEnd::Loop).unwrap();
        assert_eq!(shown(&mut steps, 4), ["1h:BTC*", "2h:BTC,T", "169h:BTC,T", "170h:BTC,T"]);
    }

    #[test]
    fn a_broken_line_at_the_end_is_found_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let btc = source(&folder, "BTC-USD", Timeframe::H1, &[&[0, 1], &[1, 2]]);
        let error = Steps::open(vec![(btc, 0)], OnEnd::Hold).err().unwrap().to_string();
        assert!(error.contains("BTC-USD_1h_1.csv, line 2") && error.contains("not after"), "{error}");
    }
}
