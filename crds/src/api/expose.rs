//! `spec.expose`: the address under which the world reaches a bot's agent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deployment::{is_qualified, is_subdomain};
use crate::config::ConfigError;

/// The address under which the world reaches the agent. Its API asks for a key there; nothing is rewritten on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.ingress) != has(self.gateway)",
        "message": "set exactly one of ingress and gateway"
    }
]))]
pub struct ExposeSpec {
    /// Host name, in lower case and without a wildcard, such as bots.example.com. One host may serve many bots.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$")
    )]
    pub host: String,
    /// Path under which the agent serves, such as /majors. Left out: /, the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^/([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?$"))]
    pub path: Option<String>,
    /// Through an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// Through a Gateway, by an HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
    /// The certificate. Left out: plain HTTP, or a certificate that ingress controller or Gateway have themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressSpec {
    /// Its IngressClass. Left out: the cluster's default. With tls, nginx, traefik and haproxy are told to leave plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub class_name: Option<String>,
    /// Annotations for its controller; they win over ours. Snippets are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The Gateway that the HTTPRoute asks to be attached to.
    pub parent_ref: ParentRef,
}

/// A Gateway, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Its namespace. Left out: the bot's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// One listener of it. Left out: every listener that lets the route in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
}

/// A certificate for the host.
///
/// An Ingress names its Secret. A Gateway ends TLS itself: `sectionName` must be a listener that names the Secret in
/// `certificateRefs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The Secret of type kubernetes.io/tls in the bot's namespace. Bots that share a host name the same one.
    /// Without `issuerRef` the agent reads its certificate: only then a change restarts it.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub secret_name: String,
    /// Who issues it, through cert-manager. Left out: the Secret is made and renewed by someone else. To add or remove
    /// it restarts the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Issuer, of the bot's namespace, or ClusterIssuer.
    pub kind: IssuerKind,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// The kinds of issuers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum IssuerKind {
    /// Of one namespace.
    Issuer,
    /// Of the cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::ClusterIssuer => "ClusterIssuer",
        }
    }
}

/// A bot's address, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Expose {
    /// The host.
    pub host: String,
    /// `/`, or segments without a slash at the end.
    pub path: String,
    /// How requests find the agent.
    pub route: Route,
    /// The certificate.
    pub tls: Option<TlsSpec>,
}

/// How requests find the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Through an Ingress.
    Ingress(IngressSpec),
    /// Through an HTTPRoute.
    Gateway(ParentRef),
}

/// Annotations by which cert-manager makes a Certificate of an Ingress by itself.
const SHIMS: [&str; 3] =
    ["cert-manager.io/issuer", "cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme"];

impl Expose {
    /// Checks a spec, as the schema does and beyond it.
    ///
    /// # Errors
    /// The first problem, with field, value and remedy.
    pub fn new(spec: ExposeSpec) -> Result<Self, ConfigError> {
        let ExposeSpec { host, path, ingress, gateway, tls } = spec;
        let refuse = |field: &str, message: String| Err(ConfigError::new(format!("expose{field}"), message));
        if !is_host(&host) {
            let remedy = "write a DNS name in lower case without a wildcard, such as bots.example.com";
            return refuse(".host", format!("`{host}` is no host name; {remedy}"));
        }
        let path = path.unwrap_or_else(|| "/".into());
        if !is_path(&path) {
            let remedy =
                "write / or segments of letters, digits, - and _ without a slash at the end, such as /majors";
            return refuse(".path", format!("`{path}` is no path for a bot; {remedy}"));
        }
        let route = match (ingress, gateway) {
            (Some(ingress), None) => Route::Ingress(ingress),
            (None, Some(GatewaySpec { parent_ref })) => Route::Gateway(parent_ref),
            (None, None) => return refuse("", "neither ingress nor gateway is set; set one of them".into()),
            (Some(_), Some(_)) => {
                return refuse("", "both ingress and gateway are set; remove one of them".into());
            }
        };
        if let Route::Ingress(IngressSpec { annotations: Some(annotations), .. }) = &route {
            let issued = tls.as_ref().is_some_and(|tls| tls.issuer_ref.is_some());
            for key in annotations.keys() {
                if !is_qualified(key) {
                    let message = "this is no key of an annotation; write such as example.com/team";
                    return refuse(&format!(".ingress.annotations[{key}]"), message.into());
                }
                if let Some(message) = refused(key, issued) {
                    return refuse(&format!(".ingress.annotations[{key}]"), message.into());
                }
            }
        }
        for (field, name) in named(&route, tls.as_ref()) {
            if !is_subdomain(name) {
                let remedy = "write a name of lower-case letters, digits, - and .";
                return refuse(field, format!("{name:?} is no name of an object; {remedy}"));
            }
        }
        if let (Route::Gateway(ParentRef { section_name: None, .. }), Some(tls)) = (&route, &tls) {
            let message = format!(
                "it is left out, and the route would answer on plain HTTP listeners too; name the HTTPS listener \
                 of the Gateway, which ends TLS and must name Secret {} in certificateRefs, or leave tls out",
                tls.secret_name
            );
            return refuse(".gateway.parentRef.sectionName", message);
        }
        Ok(Self { host, path, route, tls })
    }

    /// The address. A Gateway without `tls` may well answer on https too, which only its listeners know.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host, self.path)
    }
}

/// The names of other objects, and the fields that have them.
fn named<'a>(route: &'a Route, tls: Option<&'a TlsSpec>) -> Vec<(&'static str, &'a String)> {
    let of_route = match route {
        Route::Ingress(IngressSpec { class_name, annotations: _ }) => {
            vec![(".ingress.className", class_name.as_ref())]
        }
        Route::Gateway(ParentRef { name, namespace, section_name }) => vec![
            (".gateway.parentRef.name", Some(name)),
            (".gateway.parentRef.namespace", namespace.as_ref()),
            (".gateway.parentRef.sectionName", section_name.as_ref()),
        ],
    };
    let issuer = tls.and_then(|tls| tls.issuer_ref.as_ref());
    let of_tls = [
        (".tls.secretName", tls.map(|tls| &tls.secret_name)),
        (".tls.issuerRef.name", issuer.map(|IssuerRef { kind: _, name }| name)),
    ];
    of_route.into_iter().chain(of_tls).filter_map(|(field, name)| Some((field, name?))).collect()
}

fn refused(key: &str, issued: bool) -> Option<&'static str> {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.ends_with("-snippet") || name.ends_with("-snippets") {
        return Some(
            "snippets put foreign configuration into the ingress controller; use its other annotations",
        );
    }
    if key.starts_with(crate::contract::ANNOTATION_PREFIX) || key.starts_with("kubectl.kubernetes.io/") {
        return Some("this annotation is kept by the operator or by kubectl; remove it");
    }
    if issued && SHIMS.contains(&key) {
        return Some(
            "cert-manager would make a second certificate of it; remove it, or expose.tls.issuerRef",
        );
    }
    None
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    host.len() <= 253 && host.split('.').all(label) && host.parse::<IpAddr>().is_err()
}

fn is_path(path: &str) -> bool {
    let segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let Some(rest) = path.strip_prefix('/') else { return false };
    path.len() <= 128 && (rest.is_empty() || rest.split('/').all(segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn expose(change: impl FnOnce(&mut Value)) -> Result<Expose, ConfigError> {
        let mut spec = json!({
            "host": "bots.example.com", "path": "/majors", "ingress": {"className": "nginx"},
            "tls": {"secretName": "bots-tls", "issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt"}}
        });
        change(&mut spec);
        Expose::new(serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn the_address_says_whether_there_is_a_certificate() {
        assert_eq!(expose(|_| ()).unwrap().url(), "https://bots.example.com/majors");
        let plain = expose(|spec| {
            spec.as_object_mut().unwrap().remove("tls");
            spec.as_object_mut().unwrap().remove("path");
        });
        assert_eq!(plain.unwrap().url(), "http://bots.example.com/");
    }

    #[test]
    fn hosts_and_paths_are_in_their_one_normal_form() {
        for host in ["bots.example.com", "localhost", "a-b.c1"] {
            assert!(expose(|spec| spec["host"] = json!(host)).is_ok(), "{host}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for host in [
            "",
            "Bots.example.com",
            "*.example.com",
            "a..b",
            "-a.com",
            "a.com.",
            "10.0.0.1",
            "a_b.com",
            &long,
        ] {
            let error = expose(|spec| spec["host"] = json!(host)).unwrap_err().to_string();
            assert!(error.contains("expose.host") && error.contains("lower case"), "{error}");
        }
        for path in ["/", "/a", "/a/b-c_D9"] {
            assert!(expose(|spec| spec["path"] = json!(path)).is_ok(), "{path}");
        }
        for path in ["", "a", "/a/", "//a", "/a//b", "/.", "/a/../b", "/a.b", "/a*", "/(a|b)", "/a b", "/%61"]
        {
            let error = expose(|spec| spec["path"] = json!(path)).unwrap_err().to_string();
            assert!(error.contains("expose.path") && error.contains("/majors"), "{error}");
        }
    }

    #[test]
    fn a_way_in_is_one_of_two() {
        let both = expose(|spec| spec["gateway"] = json!({"parentRef": {"name": "web"}})).unwrap_err();
        assert!(both.to_string().contains("remove one"), "{both}");
        let none = expose(|spec| drop(spec.as_object_mut().unwrap().remove("ingress"))).unwrap_err();
        assert!(none.to_string().contains("set one"), "{none}");
    }

    #[test]
    fn tls_at_a_gateway_is_its_listeners_and_must_name_one() {
        let through = |parent: Value| {
            expose(|spec| {
                spec.as_object_mut().unwrap().remove("ingress");
                spec["gateway"] = json!({"parentRef": parent});
            })
        };
        let error = through(json!({"name": "web"})).unwrap_err().to_string();
        for part in ["expose.gateway.parentRef.sectionName", "bots-tls", "certificateRefs", "leave tls out"] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        assert!(through(json!({"name": "web", "sectionName": "https"})).is_ok());
    }

    #[test]
    fn annotations_that_would_harm_are_refused_with_the_reason() {
        for (key, part) in [
            ("nginx.ingress.kubernetes.io/configuration-snippet", "snippets"),
            ("nginx.org/server-snippets", "snippets"),
            ("haproxy.org/backend-config-snippet", "snippets"),
            ("trading.three-rivers-tech.com/desired-hash", "operator"),
            ("kubectl.kubernetes.io/last-applied-configuration", "kubectl"),
            ("cert-manager.io/cluster-issuer", "second certificate"),
        ] {
            let error =
                expose(|spec| spec["ingress"]["annotations"] = json!({key: "x"})).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(part), "{error}");
        }
        let own = expose(|spec| {
            spec["tls"].as_object_mut().unwrap().remove("issuerRef");
            spec["ingress"]["annotations"] = json!({"cert-manager.io/cluster-issuer": "mine"});
        });
        assert!(own.is_ok(), "whoever lets cert-manager watch the Ingress may");
    }

    #[test]
    fn names_of_other_objects_are_names() {
        let with = |pointer: &str, name: &str| {
            expose(|spec| *spec.pointer_mut(pointer).unwrap() = json!(name)).unwrap_err().to_string()
        };
        for (pointer, field) in [
            ("/tls/secretName", "spec.expose.tls.secretName"),
            ("/tls/issuerRef/name", "spec.expose.tls.issuerRef.name"),
            ("/ingress/className", "spec.expose.ingress.className"),
        ] {
            for name in ["../../etc", "", "a..b", "Upper", "-a"] {
                let message = with(pointer, name);
                assert!(message.starts_with(&format!("{field}: {name:?} is no name")), "{message}");
            }
        }
        let message = expose(|spec| spec["ingress"]["annotations"] = json!({"a b": "c"})).unwrap_err();
        assert!(message.to_string().starts_with("spec.expose.ingress.annotations[a b]: "), "{message}");
    }
}
