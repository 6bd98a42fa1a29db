//! Turns the OpenAPI document of Kubernetes and our CRDs into the schemas that kubeconform reads.
//!
//! `kubeconform-schemas SWAGGER.json FOLDER CRD.yaml…` writes one file per kind, named as kubeconform's
//! `{{.ResourceKind}}{{.KindSuffix}}` expects, and one with all definitions that they refer to.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [swagger, folder, crds @ ..] = arguments.as_slice() else {
        bail!("usage: kubeconform-schemas SWAGGER.json FOLDER CRD.yaml…");
    };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let text = std::fs::read_to_string(swagger).with_context(|| swagger.clone())?;
    let mut document: Value = serde_json::from_str(&text)?;
    let mut definitions = document["definitions"].take();
    for (name, definition) in definitions.as_object_mut().context("no definitions")? {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let reference = json!({"$ref": format!("_definitions.json#/definitions/{name}")});
            write(folder, kind, &reference)?;
        }
        match name.rsplit('.').next() {
            // A number without quotes is a quantity too.
            Some("Quantity") => *definition = json!({"type": ["string", "number"]}),
            Some("IntOrString") => *definition = json!({"type": ["string", "integer"]}),
            _ => strict(definition),
        }
    }
    write_file(&folder.join("_definitions.json"), &json!({"definitions": definitions}))?;
    for path in crds {
        let text = std::fs::read_to_string(path).with_context(|| path.clone())?;
        let crd: Value = serde_yaml::from_str(&text)?;
        for version in crd["spec"]["versions"].as_array().context("a CRD has versions")? {
            let kind = json!({
                "group": crd["spec"]["group"], "version": version["name"], "kind": crd["spec"]["names"]["kind"],
            });
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            strict(&mut schema);
            // The API server adds these to every kind.
            schema["properties"]["apiVersion"] = json!({"type": "string"});
            schema["properties"]["kind"] = json!({"type": "string"});
            schema["properties"]["metadata"] = json!({"type": "object"});
            write(folder, &kind, &schema)?;
        }
    }
    Ok(())
}

/// Refuses what a schema does not name, as `kubectl apply` does.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".into(), Value::Bool(false));
            }
            map.values_mut().for_each(strict);
        }
        Value::Array(list) => list.iter_mut().for_each(strict),
        _ => {}
    }
}

fn write(folder: &Path, kind: &Value, schema: &Value) -> anyhow::Result<()> {
    let part = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
    let group = part("group");
    let suffix = match group.split('.').next() {
        None | Some("") => format!("-{}", part("version")),
        Some(first) => format!("-{first}-{}", part("version")),
    };
    write_file(&folder.join(format!("{}{suffix}.json", part("kind"))), schema)
}

fn write_file(path: &Path, schema: &Value) -> anyhow::Result<()> {
    std::fs::write(path, serde_json::to_vec(schema)?).with_context(|| path.display().to_string())
}
