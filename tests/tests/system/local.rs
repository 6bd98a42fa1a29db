//! The agent on a laptop: no cluster, no key.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use serde_json::Value;
use tests::local::{Local, sample_bars};
use tests::{binary, repository, wait};

fn example(name: &str) -> String {
    std::fs::read_to_string(repository(&format!("examples/{name}"))).expect("the example")
}

/// What must be the same in two runs of the same bars: the ledger, without times of the wall.
fn ledger(local: &Local) -> Value {
    let status = local.journal("status");
    serde_json::json!({
        "trades": local.journal("trades"), "account": status["account"], "positions": status["positions"],
    })
}

/// How often the agent is killed in one run.
const KILLS: u64 = 20;

#[test]
fn the_ledger_is_the_same_at_any_speed_and_after_being_killed_twenty_times() {
    let undisturbed = Local::new(&example("paper-btc.yaml"));
    let output = undisturbed.run_to_end(&sample_bars(), &["--speed", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = ledger(&undisturbed);
    let trades = expected["trades"].as_array().expect("a list").len();
    assert!(trades >= 5, "a year gives trades to compare, not {trades}");
    let all = undisturbed.events().expect("a journal");

    let killed = Local::new(&example("paper-btc.yaml"));
    for kill in 1..=KILLS {
        // Slow enough that the way from one point to the next takes longer than to see that it was reached.
        let mut agent = killed.start(&sample_bars(), &["--speed", "1728000"]);
        let point = all * kill / (KILLS + 1);
        wait::until(&format!("event {point} of {all} is in the journal"), || match killed.events() {
            Some(events) if events >= point => Ok(()),
            events => Err(format!("{events:?}")),
        });
        agent.0.kill().expect("the agent is killed");
        let status = agent.0.wait().expect("the agent ends");
        assert_eq!(status.signal(), Some(9), "it was at work when it was killed");
        let reached = killed.events().expect("a journal");
        assert!(reached < all, "kill {kill} came after the end: {reached} of {all} events");
    }
    let output = killed.run_to_end(&sample_bars(), &["--speed", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ledger(&killed), expected);
}

/// Bytes of the journal: it only grows while the agent works.
fn journaled(local: &Local) -> u64 {
    let folder = std::fs::read_dir(local.path().join("journal"));
    folder.into_iter().flatten().flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[test]
fn two_assets_share_one_account() {
    let local = Local::new(&example("paper-majors.yaml"));
    let output = local.run_to_end(&sample_bars(), &["--speed", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trades = local.journal("trades");
    for asset in ["BTC-USD", "ETH-USD"] {
        let of_asset =
            trades.as_array().expect("a list").iter().filter(|trade| trade["asset"] == asset).count();
        assert!(of_asset > 0, "{asset} was never traded");
    }
}

#[test]
fn the_second_agent_of_a_journal_is_refused() {
    let local = Local::new(&example("paper-btc.yaml"));
    let _first = local.start(&sample_bars(), &["--speed", "86400"]);
    wait::until("the first agent is at work", || match journaled(&local) {
        0 => Err("nothing is journaled".to_owned()),
        _ => Ok(()),
    });
    let second = local.run(&sample_bars(), &["--listen", "127.0.0.1:0"]).output();
    let output = second.expect("the agent runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("journal"), "{said}");
}

const HEADER: &str = "time,open,high,low,close,volume\n";

/// Bars of an hour from the first of January on, with the given lines.
fn bars(lines: &[&str]) -> String {
    format!("{HEADER}{}\n", lines.join("\n"))
}

/// Runs the example with the bars and gives what the agent said when it refused them.
fn refused_bars(file: &str, content: impl AsRef<[u8]>) -> String {
    let local = Local::new(&example("paper-btc.yaml"));
    let data = local.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join(file), content).expect("the bars");
    refused(&local, &data, &[])
}

fn refused(local: &Local, data: &Path, more: &[&str]) -> String {
    let output = local.run_to_end(data, more);
    assert!(!output.status.success(), "it was accepted");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn contains_all(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

const FILE: &str = "BTC-USD_1h_x.csv";
const GOOD: &str = "2020-01-01T00:00:00Z,100,101,99,100,5";

#[test]
fn bad_bars_are_refused_with_file_line_value_and_remedy() {
    let after_good = |line: &str| refused_bars(FILE, bars(&[GOOD, line]));
    contains_all(&after_good("2020-01-01T01:00:00Z,100,101,99"), &[FILE, "line 3"]);
    contains_all(&after_good("2020-01-01T01:00:00Z,abc,101,99,100,5"), &[FILE, "line 3", "open", "abc"]);
    contains_all(&after_good("2020-01-01T01:00:00Z,100,101,-99,100,5"), &[FILE, "line 3", "low", "-99"]);
    contains_all(&after_good("2020-01-01T01:00:00Z,100,99,101,100,5"), &[FILE, "line 3", "high"]);
    contains_all(&after_good("2019-12-31T01:00:00Z,100,101,99,100,5"), &[FILE, "line 3", "2019-12-31"]);
    contains_all(&after_good(GOOD), &[FILE, "line 3", "2020-01-01"]);
    contains_all(&after_good("yesterday,100,101,99,100,5"), &[FILE, "line 3", "time", "yesterday"]);
    contains_all(&refused_bars(FILE, "date,o,h,l,c,v\n"), &[FILE, "time"]);
    contains_all(&refused_bars(FILE, HEADER), &[FILE, "no bar"]);
    contains_all(&refused_bars("BTC-USD_1h_x.csv.gz", bars(&[GOOD])), &["BTC-USD_1h_x.csv.gz", "gzip"]);
    contains_all(&refused_bars("ETH-USD_1h_x.csv", bars(&[GOOD])), &["BTC-USD"]);
}

#[test]
fn bad_surroundings_are_refused_with_the_remedy() {
    let local = Local::new(&example("paper-btc.yaml"));
    contains_all(&refused(&local, Path::new("absent"), &[]), &["absent"]);
    // The kernel lets nobody, not even root, make a folder there.
    contains_all(&refused(&local, &sample_bars(), &["--journal", "/sys/journal"]), &["/sys/journal"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    contains_all(&refused(&local, &sample_bars(), &["--listen", &address]), &[&address, "--listen"]);
}

#[test]
fn bad_manifests_are_refused_with_field_value_and_remedy() {
    let good = example("paper-btc.yaml");
    let refused_manifest = |manifest: &str| refused(&Local::new(manifest), &sample_bars(), &[]);
    contains_all(&refused_manifest(&good.replace("BTC-USD", "btc/usd")), &["pair", "btc/usd", "BTC-USD"]);
    let forex = Local::new(&good.replace("BTC-USD", "EUR-USD"));
    let bars = format!("EUR-USD@1h={}", sample_bars().join("BTC-USD_1h_2020-H1.csv.gz").display());
    contains_all(&refused(&forex, Path::new(&bars), &[]), &["spec.assets[EUR-USD].pair", "crypto"]);
    contains_all(&refused(&forex, &sample_bars(), &[]), &["no bars of EUR-USD", "remove the asset"]);
    contains_all(&refused_manifest(&format!("{good}  rsik: {{}}\n")), &["rsik"]);
    contains_all(&refused_manifest(&good.replace("speed: 86400", "speed: fast")), &["speed", "fast"]);
    contains_all(&refused_manifest(&format!("{good}---\n{good}")), &["2 TradingBots"]);
}

/// What the agent answers in a folder: its exit code, standard output and standard error.
fn asked(local: &Local, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut agent = std::process::Command::new(binary("tradingbot-agent"));
    let output = agent.args(arguments).current_dir(local.path()).output().expect("the agent runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What it answers in JSON.
fn json(local: &Local, arguments: &[&str]) -> Value {
    let (code, said, error) = asked(local, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&said).expect("JSON")
}

#[test]
fn explain_shows_each_value_of_the_configuration_with_its_layer() {
    let local = Local::new(&example("paper-btc.yaml"));
    let (code, said, _) = asked(&local, &["explain", "-f", "bot.yaml"]);
    assert_eq!(code, Some(0));
    let line = |path: &str| {
        said.lines().find(|line| line.contains(path)).unwrap_or_else(|| panic!("{path}: {said}"))
    };
    assert!(line("risk.confidenceFloor").contains("default"));
    assert!(line("replay.speed").contains("bot"));
    let fields = json(&local, &["explain", "-f", "bot.yaml"]);
    let field = |fields: &Value, name: &str| {
        let fields = fields.as_array().expect("a list").iter();
        fields
            .clone()
            .find(|field| field["field"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("{name}: {fields:?}"))
    };
    assert_eq!(field(&fields, "feeds[year-2020].replay.speed")["from"], "bot");
    let defaults = json(&local, &["explain"]);
    assert_eq!(field(&defaults, "feeds[].replay.speed")["value"], "0");
    assert!(defaults.as_array().expect("a list").iter().all(|field| field["from"] == "default"));
}

#[test]
fn a_decision_shows_all_that_it_saw_and_is_made_again_from_it() {
    let choosy = format!("{}  risk: {{confidenceFloor: 76}}\n", example("paper-btc.yaml"));
    let local = Local::new(&choosy);
    assert!(local.run_to_end(&sample_bars(), &["--speed", "0"]).status.success());
    let decisions = json(&local, &["decisions", "--journal", "journal", "--limit", "3000"]);
    let decisions = decisions.as_array().expect("a list");
    let (_, table, _) = asked(&local, &["decisions", "--journal", "journal", "--limit", "3000"]);
    for outcome in ["approved", "rejected", "hold"] {
        let decision = decisions.iter().find(|decision| decision["outcome"] == outcome);
        let decision = decision.unwrap_or_else(|| panic!("none is {outcome}"));
        let id = decision["id"].as_str().expect("an id");
        assert!(table.contains(id), "{table}");
        let (_, shown, _) = asked(&local, &["decisions", "show", id, "--journal", "journal"]);
        contains_all(&shown, &[id, outcome, "Bull", "Bear", "Judge", "4h.close"]);
        assert_eq!(&json(&local, &["decisions", "show", id, "--journal", "journal"]), decision);
        if outcome != "hold" {
            contains_all(
                &shown,
                &["confidence", "entriesToday", "budget.equity", "limits.cooldown", "staleData"],
            );
        }
        // The beginning of an id will do.
        let (code, said, error) = asked(&local, &["replay", &id[..13], "--journal", "journal"]);
        assert_eq!(code, Some(0), "{said}{error}");
        contains_all(&said, &[id, "matches", "from what it saw: all", "from the events: all"]);
    }
}

#[test]
fn a_decision_that_was_altered_in_the_journal_is_not_made_again() {
    let local = Local::new(&example("paper-btc.yaml"));
    assert!(local.run_to_end(&sample_bars(), &["--speed", "0"]).status.success());
    let decisions = json(&local, &["decisions", "--journal", "journal", "--limit", "3000"]);
    let approved = decisions.as_array().expect("a list").iter().find(|decision| decision["plan"].is_object());
    let id = approved.expect("an entry")["id"].as_str().expect("an id").to_owned();
    let file = local.path().join("journal/journal.db");
    let mut bytes = std::fs::read(&file).expect("the journal");
    // In the record, not in the snapshot: the record begins with the id.
    let find = |bytes: &[u8], from: usize, text: &str| {
        let found = bytes[from..].windows(text.len()).position(|window| window == text.as_bytes());
        from + found.unwrap_or_else(|| panic!("{text} is not in the journal"))
    };
    let record = find(&bytes, 0, &format!("{{\"decision\":{{\"id\":\"{id}"));
    let at = find(&bytes, record, "\"confidence\":") + "\"confidence\":".len();
    bytes[at] = if bytes[at] == b'8' { b'7' } else { b'8' };
    std::fs::write(&file, bytes).expect("the journal");
    let (code, said, _) = asked(&local, &["replay", &id, "--journal", "journal"]);
    assert_eq!(code, Some(3), "{said}");
    contains_all(&said, &["does not match", "confidence"]);
    let (_, said, _) = asked(&local, &["replay", &id, "--journal", "journal", "-o", "json"]);
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(answer["matches"], false);
    for from in ["record", "events"] {
        assert_eq!(answer[from]["differences"][0]["field"], "confidence", "{answer}");
    }
}

#[test]
fn a_fill_is_followed_back_to_its_bar_by_the_ids_of_the_log() {
    let local = Local::new(&example("paper-btc.yaml"));
    let output =
        local.run_to_end(&sample_bars(), &["--speed", "0", "--log-level", "trace", "--log-format", "json"]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |message: &str| {
        lines.iter().filter(move |line| line["message"] == message).cloned().collect::<Vec<_>>()
    };
    let (events, decisions, orders, fills, trades) =
        (of("event"), of("decision"), of("order"), of("fill"), of("trade closed"));
    let is_in = |lines: &[Value], keys: &[(&str, &Value)]| {
        lines.iter().any(|line| keys.iter().all(|(key, value)| line[*key] == **value && !value.is_null()))
    };
    let (mut entered, mut left) = (0, 0);
    for fill in &fills {
        assert!(fill["bot"] == "default/paper-btc" || fill["span"]["bot"] == "default/paper-btc", "{fill}");
        assert!(is_in(&orders, &[("order", &fill["order"]), ("cycle", &fill["cycle"])]), "{fill}");
        if fill["role"] == "Protect" {
            left += 1;
        } else {
            let (decision, cycle) = (&fill["decision"], &fill["cycle"]);
            assert!(is_in(&decisions, &[("decision", decision), ("cycle", cycle)]), "{fill}");
            assert!(is_in(&events, &[("at", cycle), ("kind", &"bar".into())]), "{fill}");
        }
        if fill["role"] == "Entry" {
            entered += 1;
        } else {
            assert!(is_in(&trades, &[("trade", &fill["trade"])]), "{fill}");
            assert!(is_in(&fills, &[("order", &fill["trade"]), ("role", &"Entry".into())]), "{fill}");
        }
    }
    assert!(entered > 5 && left > 0, "{entered} entries, {left} stops");
}
