//! What an ingress controller of class nginx makes of a cluster's objects: a configuration of nginx.
//!
//! Follows ingress-nginx where a bot or a challenge needs it: class, host, path, pathType, tls, the annotations
//! `ssl-redirect` (on where a host has tls) and `force-ssl-redirect`, and no redirect of ACME challenges. Redirects are
//! 301, to which that controller's setting `http-redirect-code` can be set. A host whose Secret is missing refuses TLS;
//! that controller would show a certificate of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressServiceBackend};

const CLASS: &str = "nginx";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const SSL_REDIRECT: &str = "nginx.ingress.kubernetes.io/ssl-redirect";
const FORCE_SSL_REDIRECT: &str = "nginx.ingress.kubernetes.io/force-ssl-redirect";
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// Namespace and name.
pub type Key = (String, String);

/// What the controller watches.
#[derive(Default)]
pub struct Objects {
    pub ingresses: BTreeMap<Key, Ingress>,
    pub services: BTreeMap<Key, Service>,
    pub secrets: BTreeMap<Key, Secret>,
}

/// Where nginx listens and keeps its files.
pub struct Place {
    pub folder: PathBuf,
    pub http: u16,
    pub https: u16,
}

/// What nginx is to know.
#[derive(Default, PartialEq)]
pub struct Configuration {
    /// Contents by path: the configuration itself, certificates, keys.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// One host of all Ingresses.
#[derive(Default)]
struct Host {
    /// nginx's location → whether it leaves plain HTTP, and where it goes.
    locations: BTreeMap<String, (bool, Upstream)>,
    /// Certificate and key.
    certificate: Option<(PathBuf, PathBuf)>,
}

/// An address, or none for a Service that has none.
type Upstream = Option<String>;

impl Place {
    /// The configuration's own file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("nginx.conf")
    }

    /// The configuration for these objects.
    pub fn configuration(&self, objects: &Objects) -> Configuration {
        let mut files = BTreeMap::new();
        let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
        let mut ingresses: Vec<_> =
            objects.ingresses.iter().filter(|(_, ingress)| is_ours(ingress)).collect();
        // Of two that claim one place the older wins.
        ingresses.sort_by_key(|(_, ingress)| ingress.metadata.creation_timestamp.clone());
        for ((namespace, _), ingress) in ingresses {
            self.add(objects, namespace, ingress, &mut hosts, &mut files);
        }
        files.insert(self.file(), self.render(&hosts).into_bytes());
        Configuration { files }
    }

    fn add<'a>(
        &self,
        objects: &Objects,
        namespace: &str,
        ingress: &'a Ingress,
        hosts: &mut BTreeMap<&'a str, Host>,
        files: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) {
        let Some(spec) = &ingress.spec else { return };
        let annotation = |key| ingress.metadata.annotations.as_ref().and_then(|all| all.get(key));
        let redirect = annotation(SSL_REDIRECT).is_none_or(|value| value != "false");
        let force = annotation(FORCE_SSL_REDIRECT).is_some_and(|value| value == "true");
        let mut with_tls = Vec::new();
        for tls in spec.tls.iter().flatten() {
            for host in tls.hosts.iter().flatten() {
                with_tls.push(host.as_str());
                let name = tls.secret_name.clone().unwrap_or_default();
                let data = objects.secrets.get(&(namespace.to_owned(), name)).and_then(|it| it.data.as_ref());
                let Some(data) = data else { continue };
                let (Some(certificate), Some(key)) = (data.get("tls.crt"), data.get("tls.key")) else {
                    continue;
                };
                let paths = ["crt", "key"].map(|kind| self.folder.join(format!("{host}.{kind}")));
                for (path, content) in paths.iter().zip([certificate, key]) {
                    files.entry(path.clone()).or_insert_with(|| content.0.clone());
                }
                let [certificate, key] = paths;
                hosts.entry(host).or_default().certificate.get_or_insert((certificate, key));
            }
        }
        for rule in spec.rules.iter().flatten() {
            let Some(name) = rule.host.as_deref() else { continue };
            let host = hosts.entry(name).or_default();
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let upstream = path.backend.service.as_ref().and_then(|it| address(objects, namespace, it));
                let challenge = path.path.as_deref().is_some_and(|path| path.starts_with(CHALLENGES));
                let redirect = (force || redirect && with_tls.contains(&name)) && !challenge;
                for location in locations(path) {
                    host.locations.entry(location).or_insert((redirect, upstream.clone()));
                }
            }
        }
    }

    fn render(&self, hosts: &BTreeMap<&str, Host>) -> String {
        let Self { folder, http, https } = self;
        let folder = folder.display();
        let mut text = format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\nevents {{}}\n\
             http {{\naccess_log off;\nserver_tokens off;\nserver_names_hash_bucket_size 128;\n\
             client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u;\nscgi_temp_path {folder}/s;\n\
             ssl_protocols TLSv1.2 TLSv1.3;\nproxy_http_version 1.1;\nproxy_set_header Host $http_host;\n\
             proxy_set_header X-Forwarded-For $remote_addr;\nproxy_set_header X-Forwarded-Proto $scheme;\n\
             server {{ listen 127.0.0.1:{http} default_server; return 404; }}\n\
             server {{ listen 127.0.0.1:{https} ssl default_server; ssl_reject_handshake on; }}\n"
        );
        for (name, host) in hosts {
            let plain = format!("listen 127.0.0.1:{http};");
            server(&mut text, name, &plain, host, |redirect| redirect);
            if let Some((certificate, key)) = &host.certificate {
                let (certificate, key) = (certificate.display(), key.display());
                let encrypted = format!(
                    "listen 127.0.0.1:{https} ssl;\nssl_certificate {certificate};\nssl_certificate_key {key};"
                );
                server(&mut text, name, &encrypted, host, |_| false);
            }
        }
        text + "}\n"
    }
}

impl Configuration {
    /// Writes the files, the configuration's own last.
    pub fn write(&self, place: &Place) -> std::io::Result<()> {
        let own = place.file();
        let of_certificates = self.files.iter().filter(|(path, _)| **path != own);
        for (path, content) in of_certificates.chain(self.files.get_key_value(&own)) {
            replace(path, content)?;
        }
        Ok(())
    }
}

/// No reader sees half of it.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, content)?;
    std::fs::rename(partial, path)
}

fn server(text: &mut String, name: &str, listen: &str, host: &Host, leaves: impl Fn(bool) -> bool) {
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes everything");
    line(format!("server {{\nserver_name {name};\n{listen}"));
    for (location, (redirect, upstream)) in &host.locations {
        let action = match upstream {
            _ if leaves(*redirect) => "return 301 https://$host$request_uri".to_owned(),
            Some(address) => format!("proxy_pass http://{address}"),
            None => "return 503".to_owned(),
        };
        line(format!("location {location} {{ {action}; }}"));
    }
    // An Ingress has no path that it does not name.
    if !host.locations.contains_key("/") {
        line("location / { return 404; }".to_owned());
    }
    line("}".to_owned());
}

fn is_ours(ingress: &Ingress) -> bool {
    let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    let annotation = || ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
    class.or_else(annotation).is_some_and(|class| class == CLASS)
}

/// nginx's locations of an Ingress's path. A prefix ends at a `/`: /a is no prefix of /ab.
fn locations(path: &HTTPIngressPath) -> Vec<String> {
    let prefix = path.path.as_deref().unwrap_or("/");
    match path.path_type.as_str() {
        "Exact" => vec![format!("= {prefix}")],
        _ => match prefix.trim_end_matches('/') {
            "" => vec!["/".to_owned()],
            prefix => vec![format!("= {prefix}"), format!("{prefix}/")],
        },
    }
}

/// The address and port of a Service.
fn address(objects: &Objects, namespace: &str, backend: &IngressServiceBackend) -> Upstream {
    let service = objects.services.get(&(namespace.to_owned(), backend.name.clone()))?.spec.as_ref()?;
    let wanted = backend.port.as_ref()?;
    let port = service.ports.iter().flatten().find(|port| {
        wanted.number == Some(port.port) || (wanted.name.is_some() && wanted.name == port.name)
    })?;
    let address = service.cluster_ip.as_deref().filter(|address| !matches!(*address, "" | "None"))?;
    Some(format!("{address}:{}", port.port))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn key(name: &str) -> Key {
        ("bots".to_owned(), name.to_owned())
    }

    fn ingress(class: &str, path: Value, tls: bool, annotations: Value) -> Ingress {
        let tls = if tls { json!([{"hosts": ["a.example"], "secretName": "pair"}]) } else { Value::Null };
        let mut path = path;
        path["backend"] = json!({"service": {"name": "bot", "port": {"name": "http"}}});
        serde_json::from_value(json!({
            "metadata": {"annotations": annotations},
            "spec": {
                "ingressClassName": class, "tls": tls,
                "rules": [{"host": "a.example", "http": {"paths": [path]}}],
            },
        }))
        .expect("an Ingress")
    }

    fn text(ingresses: &[Ingress], with_secret: bool) -> String {
        let mut objects = Objects::default();
        for (index, ingress) in ingresses.iter().enumerate() {
            objects.ingresses.insert(key(&index.to_string()), ingress.clone());
        }
        let service = json!({"spec": {"clusterIP": "10.1.2.3", "ports": [{"name": "http", "port": 8000}]}});
        objects.services.insert(key("bot"), serde_json::from_value(service).expect("a Service"));
        if with_secret {
            let data = ["tls.crt", "tls.key"].map(|name| (name.to_owned(), ByteString(name.into())));
            objects.secrets.insert(key("pair"), Secret { data: Some(data.into()), ..Secret::default() });
        }
        let place = Place { folder: "/place".into(), http: 80, https: 443 };
        let configuration = place.configuration(&objects);
        String::from_utf8(configuration.files[&place.file()].clone()).expect("text")
    }

    fn prefix(path: &str) -> Value {
        json!({"path": path, "pathType": "Prefix"})
    }

    #[test]
    fn a_prefix_ends_at_a_slash_and_everything_else_is_absent() {
        let text = text(&[ingress("nginx", prefix("/majors"), false, json!({}))], false);
        assert!(text.contains("location = /majors { proxy_pass http://10.1.2.3:8000; }"), "{text}");
        assert!(text.contains("location /majors/ { proxy_pass http://10.1.2.3:8000; }"), "{text}");
        assert!(text.contains("location / { return 404; }"), "{text}");
    }

    #[test]
    fn tls_leaves_plain_http_unless_told_not_to_but_never_for_challenges() {
        let with = |annotations| text(&[ingress("nginx", prefix("/"), true, annotations)], true);
        assert!(with(json!({})).contains("location / { return 301 https://$host$request_uri; }"));
        assert!(with(json!({})).contains("ssl_certificate /place/a.example.crt;"));
        assert!(!with(json!({ SSL_REDIRECT: "false" })).contains("301"));
        assert!(with(json!({ SSL_REDIRECT: "false", FORCE_SSL_REDIRECT: "true" })).contains("301"));
        let challenge =
            json!({"path": "/.well-known/acme-challenge/token", "pathType": "ImplementationSpecific"});
        let both = text(
            &[ingress("nginx", prefix("/"), true, json!({})), ingress("nginx", challenge, true, json!({}))],
            false,
        );
        let answer = "location = /.well-known/acme-challenge/token { proxy_pass http://10.1.2.3:8000; }";
        assert!(both.contains(answer), "{both}");
        assert!(!both.contains("ssl_certificate"), "without its Secret a host has no TLS: {both}");
    }

    #[test]
    fn other_classes_are_left_alone_and_an_annotation_names_the_class_too() {
        assert!(!text(&[ingress("traefik", prefix("/"), false, json!({}))], false).contains("a.example"));
        let mut old = ingress("", prefix("/"), false, json!({ CLASS_ANNOTATION: "nginx" }));
        old.spec.as_mut().expect("a spec").ingress_class_name = None;
        assert!(text(&[old], false).contains("server_name a.example;"));
    }

    #[test]
    fn an_exact_path_has_nothing_below_it() {
        let exact = json!({"path": "/a", "pathType": "Exact"});
        let text = text(&[ingress("nginx", exact, false, json!({}))], false);
        assert!(text.contains("location = /a {") && !text.contains("location /a/"), "{text}");
    }
}
