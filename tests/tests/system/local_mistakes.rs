//! The likeliest mistakes on a laptop and what is said of each: `docs/local-mistakes.md` is made here and must be
//! as it is made.
//!
//! `UPDATE=1 cargo test -p tests local_mistakes::` writes it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tests::{binary, repository};

/// A file of the folder in which a mistake is made: its path, and its content. A manifest may be given by the
/// line of the good one that it has another line in the place of.
enum File {
    Is(&'static str, &'static str),
    Line(&'static str, &'static str),
}

use File::{Is, Line};

/// What a person means, the files of the folder beside the good ones, and the arguments.
type Mistake = (&'static str, &'static [File], &'static str);

const BOT: &str = "\
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingBot
metadata:
  name: majors
spec:
  assets: [{pair: BTC-USD}]
  feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1h, configMaps: [{name: btc, key: btc.csv}]}]}}]
";

/// Two hours.
const BARS: &str = "\
time,open,high,low,close,volume
2020-01-01T00:00:00Z,100,101,99,100,5
2020-01-01T01:00:00Z,100,101,99,100,5
";

const MISTAKES: &[Mistake] = &[
    ("no manifest", &[], "run"),
    ("a manifest that is not there", &[], "check -f bots.yaml"),
    ("a manifest that is no YAML", &[Is("bot.yaml", "assets: [")], "check -f bot.yaml"),
    ("a manifest of something else", &[Is("bot.yaml", "kind: ConfigMap")], "check -f bot.yaml"),
    (
        "two bots in a file",
        &[Is("bot.yaml", "kind: TradingBot\n---\nkind: TradingBot\n")],
        "check -f bot.yaml",
    ),
    (
        "a version that there is not",
        &[Line("apiVersion:", "apiVersion: trading.three-rivers-tech.com/v1")],
        "check -f bot.yaml",
    ),
    ("a name with a capital", &[Line("  name:", "  name: Majors")], "check -f bot.yaml"),
    ("a misspelt field", &[Line("  feeds:", "  feed: []")], "check -f bot.yaml"),
    ("a pair in lower case", &[Line("  assets:", "  assets: [{pair: btc-usd}]")], "check -f bot.yaml"),
    ("no asset", &[Line("  assets:", "  assets: []")], "check -f bot.yaml"),
    ("no feed", &[Line("  feeds:", "  feeds: []")], "check -f bot.yaml"),
    (
        "a feed that is not there",
        &[Line("  assets:", "  assets: [{pair: BTC-USD, feed: bar}]")],
        "check -f bot.yaml",
    ),
    (
        "currencies at an account for crypto",
        &[Line("  assets:", "  assets: [{pair: EUR-USD}]")],
        "check -f bot.yaml",
    ),
    (
        "a fraction without quotes",
        &[Line("  assets:", "  assets: [{pair: BTC-USD}]\n  risk: {riskPerTradePercent: 0.5}")],
        "check -f bot.yaml",
    ),
    (
        "more than everything",
        &[Line("  assets:", "  assets: [{pair: BTC-USD}]\n  risk: {maxPositionPercent: 250}")],
        "check -f bot.yaml",
    ),
    (
        "a duration with a space",
        &[Line("  assets:", "  assets: [{pair: BTC-USD}]\n  schedule: {interval: 5 min}")],
        "check -f bot.yaml",
    ),
    (
        "a word for a number",
        &[Line("  assets:", "  assets: [{pair: BTC-USD}]\n  risk: {confidenceFloor: high}")],
        "check -f bot.yaml",
    ),
    (
        "a stop that is nearer than it may be far",
        &[Line("  assets:", "  assets: [{pair: BTC-USD}]\n  risk: {stop: {minPercent: 5, maxPercent: 2}}")],
        "check -f bot.yaml",
    ),
    (
        "an account without cash",
        &[Line(
            "  assets:",
            "  assets: [{pair: BTC-USD}]\n  venues: [{name: paper, paper: {startingCash: 0}}]",
        )],
        "check -f bot.yaml",
    ),
    (
        "bars that are too coarse",
        &[Line(
            "  feeds:",
            "  feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1d, configMaps: [{name: btc, key: btc.csv}]}]}}]",
        )],
        "check -f bot.yaml",
    ),
    ("no bars", &[], "run -f bot.yaml"),
    ("bars that are not there", &[], "run -f bot.yaml --data bars"),
    ("a file whose name says nothing", &[Is("bitcoin.csv", BARS)], "run -f bot.yaml --data bitcoin.csv"),
    ("a timeframe that there is not", &[], "run -f bot.yaml --data BTC-USD@1hour=data/BTC-USD_1h.csv"),
    ("a pair that is none", &[], "run -f bot.yaml --data bitcoin@1h=data/BTC-USD_1h.csv"),
    ("bars of what the bot does not trade", &[], "run -f bot.yaml --data ETH-USD@1h=data/BTC-USD_1h.csv"),
    ("bars of other pairs only", &[Is("other/ETH-USD_1h.csv", BARS)], "run -f bot.yaml --data other"),
    (
        "bars of several lengths",
        &[Is("data/BTC-USD_15m.csv", BARS), Line("  feeds:", "  state: Running")],
        "run -f bot.yaml --data data",
    ),
    ("an empty file", &[Is("data/BTC-USD_1h.csv", "")], "check -f bot.yaml --data data"),
    ("another header", &[Is("data/BTC-USD_1h.csv", "date,o,h,l,c,v\n")], "check -f bot.yaml --data data"),
    (
        "a field too few",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,100,101,99,100\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "a price with a comma",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,\"1,000\",1001,999,1000,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "a price below zero",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,100,101,-99,100,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "a high that is lower than the low",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,100,99,101,100,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "a time that is none",
        &[Is("data/BTC-USD_1h.csv", "time,open,high,low,close,volume\n01.01.2020,100,101,99,100,5\n")],
        "check -f bot.yaml --data data",
    ),
    (
        "a time off the hour",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:30:00Z,100,101,99,100,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "bars in another order",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T01:00:00Z,100,101,99,100,5\n2020-01-01T00:00:00Z,100,101,99,100,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    (
        "a bar twice",
        &[Is(
            "data/BTC-USD_1h.csv",
            "time,open,high,low,close,volume\n2020-01-01T00:00:00Z,100,101,99,100,5\n2020-01-01T00:00:00Z,100,101,99,100,5\n",
        )],
        "check -f bot.yaml --data data",
    ),
    ("a file that is not compressed", &[Is("gz/BTC-USD_1h.csv.gz", BARS)], "check -f bot.yaml --data gz"),
    ("a level of log lines that there is not", &[], "check -f bot.yaml --log-level verbose"),
    ("a form of log lines that there is not", &[], "check -f bot.yaml --log-format yaml"),
    ("time that runs backwards", &[], "run -f bot.yaml --data data --speed -1"),
    ("an address without a port", &[], "run -f bot.yaml --data data --listen localhost"),
    ("an address for everybody without a key", &[], "run -f bot.yaml --data data --listen 0.0.0.0:8000"),
    ("an address that is taken", &[], "run -f bot.yaml --data data --listen TAKEN"),
    ("a folder without keys", &[Is("keys/readme", "")], "run -f bot.yaml --data data --keys keys"),
    (
        "a journal where none can be",
        &[],
        "run -f bot.yaml --data data --listen 127.0.0.1:0 --journal /sys/journal",
    ),
    ("a pod's command on a laptop", &[], "run --cluster"),
    ("a question about nobody", &[], "status"),
    ("a question to two", &[], "status --journal majors.journal --url http://127.0.0.1:8000"),
    ("a journal that is not there", &[], "trades -f bot.yaml"),
    ("an agent that is not there", &[], "status --url http://127.0.0.1:9"),
    ("an address without its scheme", &[], "status --url 127.0.0.1:9"),
    ("a key that is not there", &[], "status --url http://127.0.0.1:9 --key-file key"),
    ("a password that everybody sees", &[], "status --journal postgres://bot:secret@db/majors"),
    ("a database without an address", &[Is("url", "db.example.com")], "status --journal-url url"),
    ("a backup of nothing", &[], "backup majors.backup"),
    ("a backup that is not there", &[], "restore majors.backup --verify"),
    ("no decision at all", &[], "decisions -f bot.yaml --limit 0"),
    ("an id that is none", &[], "decisions show BTC-USD -f bot.yaml"),
    ("a decision of nobody", &[], "replay 2e9a558c"),
    ("keys that cannot be written", &[], "keys rotate --keys /sys/keys"),
    ("a key for nobody", &[], "keys rotate"),
    ("a command that there is not", &[], "backtest -f bot.yaml"),
    ("a misspelt option", &[], "run -f bot.yaml --data data --exit-at-ends"),
];

impl File {
    fn write(&self, folder: &Path) {
        let (path, content) = match self {
            Is(path, content) => (*path, (*content).to_owned()),
            Line(of, line) => {
                let lines = BOT.lines().map(|good| if good.starts_with(of) { line } else { good });
                ("bot.yaml", lines.collect::<Vec<_>>().join("\n"))
            }
        };
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
}

/// The exit code, and what the agent says on standard error.
fn told(files: &[File], arguments: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let good = [Is("bot.yaml", BOT), Is("data/BTC-USD_1h.csv", BARS)];
    good.iter().chain(files).for_each(|file| file.write(folder.path()));
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, _taken) = taken.expect("an address");
    let output = Command::new(binary("tradingbot-agent"))
        .args(arguments.replace("TAKEN", &address.to_string()).split(' '))
        .current_dir(folder.path())
        .env_clear()
        // A mistake that nothing finds must end all the same.
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("the agent runs");
    let said =
        String::from_utf8(output.stderr).expect("UTF-8").replace(&address.to_string(), "127.0.0.1:8000");
    // What the agent did before it noticed is in log lines.
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    (output.status.code().unwrap_or(-1), said.join("\n"))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("⏎")
}

const HEAD: &str = "\
<!-- Made by a test: UPDATE=1 cargo test -p tests local_mistakes::. Do not edit. -->
# Mistakes on a laptop

What the agent says of the likeliest mistakes at the command line, word for word, on standard error. It ends with code 2 where the input must be
corrected, and with 1 where something failed ([commands.md](commands.md#exit-codes)). What is said of manifests in a cluster is in
[mistakes.md](mistakes.md).

The folder holds `bot.yaml`, which is good but for what is shown, and hours of `data/BTC-USD_1h.csv`, likewise. ⏎ is the end of
a line.
";

#[test]
fn the_likeliest_mistakes_on_a_laptop_are_answered_as_the_docs_say() {
    assert!(MISTAKES.len() >= 40);
    let mut page = HEAD.to_owned();
    for (what, files, arguments) in MISTAKES {
        let (code, said) = told(files, arguments);
        assert!(code == 1 || code == 2, "{what} ends with {code}: {said}");
        assert!(said.contains("error: ") && !said.contains("panicked"), "{what}: {said}");
        let arguments = arguments.replace("TAKEN", "127.0.0.1:8000");
        write!(page, "\n**{what}**: `{arguments}`, code {code}").expect("text");
        for file in *files {
            match file {
                Is(path, "") => write!(page, ", `{path}` is empty"),
                Is(path, content) => write!(page, ", `{path}` is `{}`", one_line(content)),
                Line(_, line) => write!(page, ", `bot.yaml` with `{}`", one_line(line)),
            }
            .expect("text");
        }
        let said: Vec<_> = said.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
        writeln!(page, ":\n\n{}", said.join("\n")).expect("text");
    }
    let path = repository("docs/local-mistakes.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        page, committed,
        "docs/local-mistakes.md is stale: UPDATE=1 cargo test -p tests local_mistakes::"
    );
}
