//! The CRD as the API server takes it without a warning.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;
use serde_json::{Value, json};

use super::TradingBot;

/// The definition of `TradingBot`.
///
/// # Errors
/// None in practice: the definition is made by this crate.
pub fn trading_bot_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(TradingBot::crd())?;
    strip_unknown_formats(&mut crd);
    // The name becomes that of a Service, which must begin with a letter, and gets a suffix.
    if let Some(Value::Object(root)) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        let rule = json!({
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')",
            "message": "metadata.name must be a DNS label that begins with a letter, at most 52 characters",
        });
        root.insert("x-kubernetes-validations".into(), json!([rule]));
    }
    serde_json::from_value(crd)
}

/// schemars writes Rust's integer widths as formats; the API server knows two and warns of the others.
fn strip_unknown_formats(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint") || f == "int8")
            {
                map.remove("format");
            }
            map.values_mut().for_each(strip_unknown_formats);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_unknown_formats),
        _ => {}
    }
}
