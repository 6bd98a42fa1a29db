//! Bars from CSV text. Pure: it reads what it is given and knows no file system.

use std::io::Read;

use crds::Timeframe;
use csv::{ByteRecord, Reader, ReaderBuilder};
use engine::Bar;
use jiff::{SignedDuration, Timestamp};

/// The one header that is understood.
pub const HEADER: [&str; 6] = ["time", "open", "high", "low", "close", "volume"];

/// A bar with its place in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedBar {
    /// The end of its interval: the time of its event.
    pub end: Timestamp,
    /// The prices.
    pub bar: Bar,
}

/// What is wrong with a file of bars.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {defect}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct CsvError {
    /// The file.
    pub file: String,
    /// The line, counted from 1, where one is at fault.
    pub line: Option<u64>,
    /// What is wrong, the value and the remedy.
    pub defect: Defect,
}

/// The defects that a file can have.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// Nothing in it.
    #[error("holds no bar; it must hold the header `{}` and at least one line", HEADER.join(","))]
    Empty,
    /// Columns that are not understood.
    #[error("the header is `{found}`; it must be `{}`", HEADER.join(","))]
    Header {
        /// The columns that there are.
        found: String,
    },
    /// A line with too many or too few fields.
    #[error("there are {found} fields; write the six of `{}`", HEADER.join(","))]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// A value that is not what its column holds.
    #[error("{field} is `{value}`; {remedy}")]
    Value {
        /// The column.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What to write instead.
        remedy: String,
    },
    /// Not after the bar before.
    #[error(
        "time is `{value}`, not after the bar before it ({before}); sort the lines by time and remove duplicates"
    )]
    Order {
        /// The time as written.
        value: String,
        /// Open of the bar before.
        before: Timestamp,
    },
    /// Prices that contradict each other.
    #[error("{0}")]
    Prices(String),
    /// Named `.gz` and not compressed.
    #[error("is not gzip although its name ends in .gz; compress it with gzip, or name it .csv")]
    NotGzip,
    /// Compressed and not named so.
    #[error("is gzip although its name does not end in .gz; name it .csv.gz, or decompress it")]
    Gzip,
    /// Cannot be read.
    #[error("cannot be read: {0}; check that the file exists, is whole and may be read")]
    Io(#[from] std::io::Error),
}

/// Reads the bars of one file, in order.
pub struct BarReader<R> {
    reader: Reader<R>,
    record: ByteRecord,
    file: String,
    timeframe: Timeframe,
    before: Option<Timestamp>,
    started: bool,
}

impl<R: Read> BarReader<R> {
    /// Reads from `source`, which messages call `file`. `before` is the open of the last bar of the
    /// file before, for data that goes on over several files.
    pub fn new(source: R, file: impl Into<String>, timeframe: Timeframe, before: Option<Timestamp>) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(8 * 1024)
            .from_reader(source);
        Self { reader, record: ByteRecord::new(), file: file.into(), timeframe, before, started: false }
    }

    /// The open of the last bar read.
    pub fn last_open(&self) -> Option<Timestamp> {
        self.before
    }

    /// The next bar, or `None` at the end of the file.
    ///
    /// # Errors
    /// When a line cannot be a bar, or the file holds none at all.
    pub fn next_bar(&mut self) -> Result<Option<TimedBar>, CsvError> {
        if !self.started {
            if !self.read_record()? {
                return Err(self.error(None, Defect::Empty));
            }
            self.check_header()?;
        }
        let first = !self.started;
        self.started = true;
        if !self.read_record()? {
            return if first { Err(self.error(None, Defect::Empty)) } else { Ok(None) };
        }
        let line = self.record.position().map(csv::Position::line);
        self.parse().map(Some).map_err(|defect| self.error(line, defect))
    }

    fn read_record(&mut self) -> Result<bool, CsvError> {
        self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let line = error.position().map(csv::Position::line);
            match error.into_kind() {
                csv::ErrorKind::Io(error) => self.error(line, Defect::Io(error)),
                // Bytes and lines of any length are read, so that nothing else can go wrong.
                other => self.error(line, Defect::Prices(format!("cannot be read: {other:?}"))),
            }
        })
    }

    fn check_header(&self) -> Result<(), CsvError> {
        // A byte order mark is what some spreadsheets begin with.
        let clean = |field: &[u8]| {
            let text = String::from_utf8_lossy(field);
            text.trim_start_matches('\u{feff}').trim().to_ascii_lowercase()
        };
        let found: Vec<String> = self.record.iter().map(clean).collect();
        if found == HEADER {
            return Ok(());
        }
        let shown: String = found.join(",").chars().take(80).collect();
        Err(self.error(Some(1), Defect::Header { found: shown }))
    }

    fn parse(&mut self) -> Result<TimedBar, Defect> {
        let found = self.record.len();
        if found != HEADER.len() {
            return Err(Defect::Fields { found });
        }
        let field = |index: usize| {
            let bytes = self.record.get(index).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or("(not UTF-8)").trim()
        };
        let value = field(0);
        let open_time = parse_time(value)?;
        if open_time.as_millisecond() % (self.timeframe.as_secs() * 1000) != offset(self.timeframe) {
            return Err(Defect::Value {
                field: "time",
                value: value.into(),
                remedy: format!("it must be the open of a {} bar, aligned to UTC", self.timeframe),
            });
        }
        if let Some(before) = self.before.filter(|before| open_time <= *before) {
            return Err(Defect::Order { value: value.into(), before });
        }
        let end =
            open_time.checked_add(SignedDuration::from_secs(self.timeframe.as_secs())).map_err(|_| {
                Defect::Value { field: "time", value: value.into(), remedy: "it is out of range".into() }
            })?;
        let price = |name, index| parse_number(name, field(index), true);
        let bar = Bar {
            open: price("open", 1)?,
            high: price("high", 2)?,
            low: price("low", 3)?,
            close: price("close", 4)?,
            volume: parse_number("volume", field(5), false)?,
        };
        if bar.high < bar.low {
            return Err(Defect::Prices(format!(
                "high {} is below low {}; correct the line",
                bar.high, bar.low
            )));
        }
        bar.check().map_err(|(_, message)| Defect::Prices(message))?;
        self.before = Some(open_time);
        Ok(TimedBar { end, bar })
    }

    fn error(&self, line: Option<u64>, defect: Defect) -> CsvError {
        CsvError { file: self.file.clone(), line, defect }
    }
}

/// Weeks begin on Monday, and the epoch was a Thursday.
fn offset(timeframe: Timeframe) -> i64 {
    if timeframe == Timeframe::W1 { 4 * 86_400 * 1000 } else { 0 }
}

fn parse_time(text: &str) -> Result<Timestamp, Defect> {
    let refused = || Defect::Value {
        field: "time",
        value: text.into(),
        remedy: "write UTC, such as 2020-01-31T16:00:00Z, or seconds since 1970".into(),
    };
    if let Ok(number) = text.parse::<i64>() {
        // Eleven digits of seconds reach beyond the year 5000; more are milliseconds.
        let time = if number.abs() < 100_000_000_000 {
            Timestamp::from_second(number)
        } else {
            Timestamp::from_millisecond(number)
        };
        return time.map_err(|_| refused());
    }
    text.parse().map_err(|_| refused())
}

fn parse_number(field: &'static str, text: &str, positive: bool) -> Result<f64, Defect> {
    let remedy =
        if positive { "write a price above 0, such as 7165.72" } else { "write a number of at least 0" };
    text.parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && if positive { *number > 0.0 } else { *number >= 0.0 })
        .ok_or_else(|| Defect::Value { field, value: text.into(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<TimedBar>, CsvError> {
        let mut reader = BarReader::new(text.as_bytes(), "BTC-USD_1h_x.csv", Timeframe::H1, None);
        let mut bars = Vec::new();
        while let Some(bar) = reader.next_bar()? {
            bars.push(bar);
        }
        Ok(bars)
    }

    const FIXTURE: &str = include_str!("fixtures/bars.csv");

    #[test]
    fn every_spelling_of_time_is_read_and_the_event_is_the_end_of_the_bar() {
        let bars = read(FIXTURE).unwrap();
        let ends: Vec<String> = bars.iter().map(|bar| bar.end.to_string()).collect();
        assert_eq!(
            ends,
            ["2020-01-01T01:00:00Z", "2020-01-01T02:00:00Z", "2020-01-01T03:00:00Z", "2020-01-01T04:00:00Z"]
        );
        assert_eq!(
            bars[0].bar,
            Bar { open: 7165.72, high: 7165.72, low: 7136.05, close: 7150.35, volume: 250.84981195 }
        );
    }

    #[test]
    fn every_defect_names_file_line_field_value_and_remedy() {
        let head = "time,open,high,low,close,volume\n";
        let good = "2020-01-01T00:00:00Z,10,12,9,11,5\n";
        for (text, parts) in [
            (String::new(), vec!["holds no bar", "time,open,high"]),
            (head.into(), vec!["holds no bar"]),
            ("date,o,h,l,c,v\n".into(), vec!["line 1", "date,o,h,l,c,v", "must be `time,open"]),
            (format!("{head}{good}2020-01-01T01:00:00Z,10,12\n"), vec!["line 3", "3 fields", "six"]),
            (format!("{head}yesterday,10,12,9,11,5\n"), vec!["line 2", "time", "yesterday", "UTC"]),
            (format!("{head}2020-01-01T00:30:00Z,10,12,9,11,5\n"), vec!["line 2", "time", "00:30", "1h"]),
            (format!("{head}{good}{good}"), vec!["line 3", "2020-01-01T00:00:00Z", "duplicates"]),
            (
                format!("{head}{good}2019-12-31T00:00:00Z,10,12,9,11,5\n"),
                vec!["line 3", "2019-12-31", "sort the lines"],
            ),
            (format!("{head}2020-01-01T00:00:00Z,10,12,-9,11,5\n"), vec!["line 2", "low", "`-9`", "above 0"]),
            (format!("{head}2020-01-01T00:00:00Z,NaN,12,9,11,5\n"), vec!["line 2", "open", "`NaN`"]),
            (format!("{head}2020-01-01T00:00:00Z,10,inf,9,11,5\n"), vec!["line 2", "high", "`inf`"]),
            (format!("{head}2020-01-01T00:00:00Z,10,12,9,11,-5\n"), vec!["line 2", "volume", "`-5`"]),
            (
                format!("{head}2020-01-01T00:00:00Z,10,8,9,11,5\n"),
                vec!["line 2", "high 8", "low 9", "correct"],
            ),
            (format!("{head}2020-01-01T00:00:00Z,10,12,9,13,5\n"), vec!["line 2", "close 13", "correct"]),
        ] {
            let message = read(&text).unwrap_err().to_string();
            for part in parts.iter().chain(&["BTC-USD_1h_x.csv"]) {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
    }

    #[test]
    fn a_second_file_goes_on_where_the_first_ended() {
        let head = "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,10,12,9,11,5\n";
        let before = "2020-01-01T00:00:00Z".parse().ok();
        let mut reader = BarReader::new(head.as_bytes(), "b.csv", Timeframe::H1, before);
        assert!(reader.next_bar().unwrap_err().to_string().contains("not after"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail_in_another_way(text in "[a-z0-9,\n\":.-]{0,200}") {
            let _ = read(&text);
            let _ = read(&format!("time,open,high,low,close,volume\n{text}"));
        }

        #[test]
        fn a_written_bar_reads_back_bit_for_bit(
            low in 1e-6f64..1e9, span in 0f64..1e6, at in 0f64..=1.0, volume in 0f64..1e12, hour in 0i64..1_000_000
        ) {
            let high = low + span;
            let bar = Bar { open: low + (high - low) * at, high, low, close: low, volume };
            prop_assume!(bar.check().is_ok());
            let time = Timestamp::from_second(hour * 3600).unwrap();
            let text = format!(
                "time,open,high,low,close,volume\n{time},{},{},{},{},{}\n",
                bar.open, bar.high, bar.low, bar.close, bar.volume
            );
            prop_assert_eq!(read(&text).unwrap()[0].bar, bar);
        }
    }
}
