//! Bad manifests made from a good one, the same for the same seed.

use serde_json::{Map, Value, json};

/// A manifest with one thing wrong.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The spec.
    pub spec: Value,
    /// What was done: the kind, the place and the value.
    pub what: String,
    /// The part of the spec in which it was done, such as `risk`; empty for the spec itself.
    pub section: String,
    /// Where a value is wrong by itself: its path within the spec, with `[]` for any member of a list. None where it is
    /// wrong beside others, or where something is missing or not known.
    pub path: Option<String>,
    /// Whether nobody could take it for right.
    pub surely_bad: bool,
}

/// A small generator of numbers: the order of the mutants depends on the seed alone.
pub struct Random(u64);

impl Random {
    /// Of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }
}

/// `count` mutants of the spec, drawn from all that there are.
pub fn mutants(spec: &Value, seed: u64, count: usize) -> Vec<Mutant> {
    let mut all = Vec::new();
    visit(spec, "", spec, &mut all);
    let mut random = Random::new(seed);
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last + 1));
    }
    all.truncate(count);
    all
}

fn visit(spec: &Value, place: &str, node: &Value, all: &mut Vec<Mutant>) {
    for (kind, value, surely_bad) in replacements(place, node) {
        let mut changed = spec.clone();
        *changed.pointer_mut(place).expect("a place") = value.clone();
        let shown: String = value.to_string().chars().take(60).collect();
        let mut mutant = mutant(changed, place, format!("{kind}: {place} = {shown}"), surely_bad);
        mutant.path = ["type", "range", "unicode", "empty", "size"].contains(&kind).then(|| path(place));
        all.push(mutant);
    }
    match node {
        Value::Object(members) => {
            for (key, inner) in members {
                let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                // A misspelt key is an unknown one, and its own is left out.
                let mut changed = spec.clone();
                let parent = place.rsplit_once('/').expect("a parent").0;
                let around = changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
                around.remove(key);
                let removed = changed.clone();
                let mut misspelt = key.clone();
                misspelt.pop();
                changed.pointer_mut(parent).expect("an object")[&misspelt] = inner.clone();
                all.push(mutant(changed, &place, format!("misspelt: {place}"), false));
                if ["pair", "name", "key", "timeframe", "configMaps", "data", "replay", "paper"]
                    .contains(&key.as_str())
                    && !place.starts_with("/agent")
                {
                    all.push(mutant(removed, &place, format!("left out: {place}"), true));
                }
                visit(spec, &place, inner, all);
            }
        }
        Value::Array(members) => {
            for (index, inner) in members.iter().enumerate() {
                visit(spec, &format!("{place}/{index}"), inner, all);
            }
        }
        _ => {}
    }
}

fn mutant(spec: Value, place: &str, what: String, surely_bad: bool) -> Mutant {
    let section = place.split('/').nth(1).unwrap_or_default().to_owned();
    Mutant { spec, what, section, path: None, surely_bad }
}

/// Where a person's own words are the keys.
const MAPS: [&str; 4] = [
    "/agent/nodeSelector/",
    "/agent/resources/requests/",
    "/agent/resources/limits/",
    "/expose/ingress/annotations/",
];

/// `assets[].pair` for `/assets/0/pair`; of a member of a map the map, whose keys are named in more than one way.
fn path(place: &str) -> String {
    let mut path = String::new();
    let is_of_map = MAPS.iter().any(|map| place.starts_with(map));
    let parts = place.split('/').count() - usize::from(is_of_map);
    for part in place.split('/').take(parts).skip(1) {
        if part.parse::<usize>().is_ok() {
            path += "[]";
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path = format!("{path}{dot}{}", part.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

fn replacements(place: &str, node: &Value) -> Vec<(&'static str, Value, bool)> {
    let mut found = Vec::new();
    let of_type = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        // The schema's decimals are either.
        Value::Number(_) | Value::String(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
    };
    for other in [json!(true), json!("rubbish"), json!([]), json!({"x": 1}), json!([[1]])] {
        if of_type(&other) != of_type(node) {
            // Replacing by nothing is leaving out.
            found.push(("type", other, true));
        }
    }
    found.push(("null", Value::Null, false));
    match node {
        Value::Number(_) => {
            for value in
                [json!(-1), json!(1_000_000_000_000_000_000_i64), json!(-0.5), json!("1e9"), json!("NaN")]
            {
                found.push(("range", value, true));
            }
            found.push(("unicode", json!("١٢"), true));
        }
        Value::String(text) => {
            let decimal = text.parse::<f64>().is_ok();
            let is_free = ["/agent/nodeSelector", "/expose/ingress/annotations"]
                .iter()
                .any(|map| place.starts_with(map));
            found.push(("empty", json!(""), !is_free));
            found.push(("size", json!(text.repeat(4_000 / text.len().max(1) + 1)), true));
            for unusual in
                ["日本語", "BTC\u{2011}USD", "\u{202e}evil", "a\u{0}b", "🦀", " padded ", "-", "../../etc"]
            {
                // A file may well be called so.
                let bad = !(unusual == "-" && place.ends_with("/key"));
                found.push(("unicode", json!(format!("{unusual}{text}")), bad));
            }
            if decimal {
                for value in [json!(-1), json!("-0.5"), json!("1,5"), json!("0x10"), json!("99999999999999")]
                {
                    found.push(("range", value, true));
                }
            } else {
                found.push(("type", json!(7), !place.starts_with("/agent/resources")));
            }
            if text.ends_with(['s', 'm', 'h']) && text.starts_with(|c: char| c.is_ascii_digit()) {
                for value in ["-1h", "5 min", "99999999999h", "1d", "0s"] {
                    found.push(("range", json!(value), value != "0s"));
                }
            }
            if place.ends_with("/feed") || place.ends_with("/venue") {
                found.push(("reference", json!("absent"), true));
            }
        }
        Value::Array(members) => {
            if let Some(first) = members.first() {
                found.push(("twice", json!([first, first]), true));
                found.push(("size", Value::Array(vec![first.clone(); 200]), true));
            }
        }
        Value::Object(members) => {
            let with = |key: &str, value: Value| {
                let mut members: Map<String, Value> = members.clone();
                members.insert(key.to_owned(), value);
                Value::Object(members)
            };
            found.push(("unknown", with("nope", json!(1)), false));
            for (union, second) in [("replay", "live"), ("paper", "exchange"), ("sqlite", "postgres")] {
                if let Some(of_kind) = members.get(union) {
                    found.push(("union", with(second, json!({})), false));
                    let mut other = members.clone();
                    other.remove(union);
                    other.insert(second.to_owned(), of_kind.clone());
                    found.push(("union", Value::Object(other), union != "sqlite"));
                }
            }
        }
        Value::Bool(_) | Value::Null => found.push(("type", json!("yes"), true)),
    }
    found
}
