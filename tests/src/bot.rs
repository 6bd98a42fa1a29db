//! Manifests of bots.

use serde_json::{Value, json};

/// A bot of that spec.
pub fn with_spec(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "trading.three-rivers-tech.com/v1alpha1",
        "kind": "TradingBot",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// A bot that trades the sample bars of BTC-USD, and leaves everything else to the defaults.
pub fn btc(namespace: &str, name: &str) -> Value {
    let file = json!({"name": "btc-usd-1h-2020-h1", "key": "BTC-USD_1h_2020-H1.csv.gz"});
    let data = json!({"pair": "BTC-USD", "timeframe": "1h", "configMaps": [file]});
    let feeds = json!([{"name": "bars", "replay": {"data": [data]}}]);
    with_spec(namespace, name, json!({"assets": [{"pair": "BTC-USD"}], "feeds": feeds}))
}
