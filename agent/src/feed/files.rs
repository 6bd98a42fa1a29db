//! Which files hold the bars of which asset.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crds::config::BotConfig;
use crds::{Asset, Timeframe, contract};
use flate2::bufread::MultiGzDecoder;

use super::csv::{BarReader, CsvError, Defect};

/// The files of one asset, in the order in which they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The asset.
    pub pair: Asset,
    /// The length of a bar.
    pub timeframe: Timeframe,
    /// At least one.
    pub files: Vec<PathBuf>,
}

/// Why the bars of an asset cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No such file or folder, or not readable.
    #[error("{path}: {source}; name a folder, a file, or PAIR@TIMEFRAME=FILE")]
    Path {
        /// The path as given.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The name says neither pair nor timeframe.
    #[error(
        "{file}: {problem}; name it PAIR_TIMEFRAME_anything.csv or .csv.gz, such as BTC-USD_1h_2020.csv.gz, or give PAIR@TIMEFRAME=FILE"
    )]
    Name {
        /// The file.
        file: String,
        /// What cannot be read in it.
        problem: String,
    },
    /// `PAIR@TF=FILE` that is none.
    #[error("--data {argument}: {problem}; write PAIR@TIMEFRAME=FILE, such as BTC-USD@1h=bars.csv.gz")]
    Argument {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Data for what the bot does not trade.
    #[error(
        "{file}: {pair} is not among the bot's assets ({assets}); add it to spec.assets or leave the file out"
    )]
    UnknownPair {
        /// The file.
        file: String,
        /// The pair.
        pair: Asset,
        /// What the bot trades.
        assets: String,
    },
    /// An asset without data.
    #[error(
        "there are no bars of {pair} in {places}; add a file named such as {pair}_1h_2020.csv.gz, or remove the asset"
    )]
    NoBars {
        /// The pair.
        pair: Asset,
        /// Where they were looked for.
        places: String,
    },
    /// Bars of several lengths and nothing that says which.
    #[error(
        "there are bars of {pair} of several lengths ({found}); choose with PAIR@TIMEFRAME=FILE or in the manifest's feeds"
    )]
    Ambiguous {
        /// The pair.
        pair: Asset,
        /// The timeframes.
        found: String,
    },
}

/// What the command line's `--data` arguments hold, by pair and timeframe; files in name order.
#[derive(Debug, Default)]
pub struct Found {
    files: BTreeMap<Asset, BTreeMap<Timeframe, Vec<PathBuf>>>,
    /// Pairs that an argument names, as opposed to those that a folder happens to hold.
    named: Vec<(Asset, String)>,
    places: Vec<String>,
}

impl Found {
    /// Looks at each argument: a folder, a file, or `PAIR@TF=FILE`.
    ///
    /// # Errors
    /// When an argument names nothing that can be read, or a file whose name says nothing.
    pub fn from_arguments(arguments: &[String]) -> Result<Self, FilesError> {
        let mut found = Self::default();
        for argument in arguments {
            found.add(argument)?;
        }
        for files in found.files.values_mut().flat_map(BTreeMap::values_mut) {
            files.sort_by(|a, b| a.file_name().cmp(&b.file_name()).then_with(|| a.cmp(b)));
            files.dedup();
        }
        Ok(found)
    }

    fn add(&mut self, argument: &str) -> Result<(), FilesError> {
        self.places.push(argument.to_owned());
        if let Some((pair, timeframe, file)) = explicit(argument)? {
            self.named.push((pair.clone(), argument.to_owned()));
            self.insert(pair, timeframe, PathBuf::from(file));
            return Ok(());
        }
        let path = Path::new(argument);
        let unreadable = |source| FilesError::Path { path: argument.to_owned(), source };
        if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            let (pair, timeframe) = from_name(path)?;
            self.named.push((pair.clone(), argument.to_owned()));
            self.insert(pair, timeframe, path.to_owned());
            return Ok(());
        }
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // A folder may hold other things; what is a CSV there must have a name that says what.
            if name.ends_with(".csv") || name.ends_with(".csv.gz") {
                let (pair, timeframe) = from_name(&file)?;
                self.insert(pair, timeframe, file);
            }
        }
        Ok(())
    }

    fn insert(&mut self, pair: Asset, timeframe: Timeframe, file: PathBuf) {
        self.files.entry(pair).or_default().entry(timeframe).or_default().push(file);
    }

    /// The files of each asset. `wanted` names the timeframe that the manifest asks for, if it does.
    ///
    /// # Errors
    /// When an asset has no bars, or bars of several lengths, or data is given that nothing trades.
    pub fn sources(&self, assets: &[(Asset, Option<Timeframe>)]) -> Result<Vec<Source>, FilesError> {
        for (pair, file) in &self.named {
            if !assets.iter().any(|(asset, _)| asset == pair) {
                let assets = assets.iter().map(|(asset, _)| asset.to_string()).collect::<Vec<_>>();
                return Err(FilesError::UnknownPair {
                    file: file.clone(),
                    pair: pair.clone(),
                    assets: assets.join(", "),
                });
            }
        }
        assets.iter().map(|(pair, wanted)| self.source(pair, *wanted)).collect()
    }

    fn source(&self, pair: &Asset, wanted: Option<Timeframe>) -> Result<Source, FilesError> {
        let no_bars = || FilesError::NoBars { pair: pair.clone(), places: self.places.join(", ") };
        let lengths = self.files.get(pair).ok_or_else(no_bars)?;
        let mut choices = lengths.iter();
        let (timeframe, files) = match (choices.next(), choices.next()) {
            (Some(only), None) => only,
            _ => wanted.and_then(|wanted| lengths.get_key_value(&wanted)).ok_or_else(|| {
                let found = lengths.keys().map(|length| length.as_str()).collect::<Vec<_>>().join(", ");
                FilesError::Ambiguous { pair: pair.clone(), found }
            })?,
        };
        Ok(Source { pair: pair.clone(), timeframe: *timeframe, files: files.clone() })
    }
}

/// The files that a configuration's ConfigMaps become in a pod, in the configuration's asset order.
pub fn mounted(config: &BotConfig) -> Vec<Source> {
    let sources = config.assets.iter().filter_map(|asset| {
        let (_, data) = config.replay_of(asset)?;
        let files =
            data.config_maps.iter().map(|map| Path::new(contract::BARS_DIR).join(&map.name).join(&map.key));
        Some(Source { pair: asset.pair.clone(), timeframe: data.timeframe, files: files.collect() })
    });
    sources.collect()
}

fn explicit(argument: &str) -> Result<Option<(Asset, Timeframe, &str)>, FilesError> {
    let Some((key, file)) = argument.split_once('=') else { return Ok(None) };
    let refused = |problem: String| FilesError::Argument { argument: argument.to_owned(), problem };
    let Some((pair, timeframe)) = key.split_once('@') else { return Ok(None) };
    let pair = Asset::parse_loose(pair).map_err(|error| refused(error.to_string()))?;
    let timeframe =
        timeframe.parse().map_err(|error: crds::ParseTimeframeError| refused(error.to_string()))?;
    if file.is_empty() {
        return Err(refused("no file is named".into()));
    }
    Ok(Some((pair, timeframe, file)))
}

fn from_name(path: &Path) -> Result<(Asset, Timeframe), FilesError> {
    let file = path.display().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let refused = |problem: String| FilesError::Name { file: file.clone(), problem };
    let stem = name
        .strip_suffix(".csv.gz")
        .or_else(|| name.strip_suffix(".csv"))
        .ok_or_else(|| refused("it is neither .csv nor .csv.gz".into()))?;
    let mut parts = stem.split('_');
    let (pair, timeframe) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let pair = Asset::parse_loose(pair).map_err(|error| refused(error.to_string()))?;
    let timeframe =
        timeframe.parse().map_err(|error: crds::ParseTimeframeError| refused(error.to_string()))?;
    Ok((pair, timeframe))
}

/// Opens a file of bars, compressed or not.
///
/// # Errors
/// When it cannot be opened or is not what its name says.
pub fn open(
    path: &Path,
    timeframe: Timeframe,
    before: Option<jiff::Timestamp>,
) -> Result<BarReader<Box<dyn Read + Send>>, CsvError> {
    let file = path.display().to_string();
    let error = |defect| CsvError { file: file.clone(), line: None, defect };
    let mut source = BufReader::with_capacity(8 * 1024, File::open(path).map_err(|e| error(Defect::Io(e)))?);
    let gzip = source.fill_buf().map_err(|e| error(Defect::Io(e)))?.starts_with(&[0x1f, 0x8b]);
    let source: Box<dyn Read + Send> = match (gzip, file.ends_with(".gz")) {
        (true, true) => Box::new(MultiGzDecoder::new(source)),
        (false, false) => Box::new(source),
        (false, true) => return Err(error(Defect::NotGzip)),
        (true, false) => return Err(error(Defect::Gzip)),
    };
    Ok(BarReader::new(source, file, timeframe, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "time,open,high,low,close,volume\n").unwrap();
        }
        folder
    }

    fn arguments(folder: &tempfile::TempDir, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{}{name}", folder.path().display())).collect()
    }

    fn pair(text: &str) -> Asset {
        text.parse().unwrap()
    }

    #[test]
    fn a_folder_gives_each_asset_its_files_in_name_order() {
        let folder =
            folder(&["BTC-USD_1h_2020-H2.csv", "BTC-USD_1h_2020-H1.csv", "ETH-USD_1h_x.csv", "README"]);
        let found = Found::from_arguments(&arguments(&folder, &[""])).unwrap();
        let sources = found.sources(&[(pair("BTC-USD"), None)]).unwrap();
        let names: Vec<_> = sources[0].files.iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["BTC-USD_1h_2020-H1.csv", "BTC-USD_1h_2020-H2.csv"]);
        assert_eq!((sources.len(), sources[0].timeframe), (1, Timeframe::H1));
    }

    #[test]
    fn the_manifest_chooses_among_several_lengths() {
        let folder = folder(&["BTC-USD_1h_a.csv", "BTC-USD_5m_a.csv"]);
        let found = Found::from_arguments(&arguments(&folder, &[""])).unwrap();
        let error = found.sources(&[(pair("BTC-USD"), None)]).unwrap_err().to_string();
        assert!(error.contains("5m, 1h") && error.contains("PAIR@TIMEFRAME=FILE"), "{error}");
        let sources = found.sources(&[(pair("BTC-USD"), Some(Timeframe::M5))]).unwrap();
        assert_eq!(sources[0].timeframe, Timeframe::M5);
    }

    #[test]
    fn each_problem_names_the_place_and_the_remedy() {
        let folder = folder(&["ETH-USD_1h_a.csv", "bars.csv"]);
        let found = |names: &[&str]| -> String {
            Found::from_arguments(&arguments(&folder, names))
                .and_then(|found| found.sources(&[(pair("BTC-USD"), None)]))
                .unwrap_err()
                .to_string()
        };
        for (message, parts) in [
            (found(&["/nowhere.csv"]), ["nowhere.csv", "PAIR@TIMEFRAME=FILE"]),
            (found(&["/bars.csv"]), ["bars.csv", "BTC-USD_1h_2020.csv.gz"]),
            (found(&["/ETH-USD_1h_a.csv"]), ["ETH-USD is not among", "(BTC-USD)"]),
        ] {
            for part in parts {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
        let found = Found::from_arguments(&["BTC-USD@2h=x.csv".into()]).unwrap_err().to_string();
        assert!(found.contains("2h") && found.contains("BTC-USD@1h=bars.csv.gz"), "{found}");
        std::fs::remove_file(folder.path().join("bars.csv")).unwrap();
        let none = Found::from_arguments(&arguments(&folder, &[""]))
            .and_then(|found| found.sources(&[(pair("BTC-USD"), None)]))
            .unwrap_err()
            .to_string();
        assert!(none.contains("no bars of BTC-USD") && none.contains("BTC-USD_1h_2020.csv.gz"), "{none}");
    }

    #[test]
    fn compression_must_be_what_the_name_says() {
        let folder = folder(&["BTC-USD_1h_a.csv.gz"]);
        let error =
            |name: &str| open(&folder.path().join(name), Timeframe::H1, None).err().unwrap().to_string();
        assert!(error("BTC-USD_1h_a.csv.gz").contains("not gzip"));
        std::fs::write(folder.path().join("b.csv"), [0x1f, 0x8b, 8]).unwrap();
        assert!(error("b.csv").contains("name it .csv.gz"));
        assert!(error("missing.csv").contains("missing.csv") && error("missing.csv").contains("check that"));
    }
}
