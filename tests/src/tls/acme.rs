//! The ACME server and the DNS that it believes.

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::pair::SelfSigned;
use crate::local::free_port;
use crate::process::{Server, ending_with_this_thread};
use crate::wait;

/// A DNS server that answers every name with 127.0.0.1, but for the names it was told otherwise.
pub struct Dns {
    server: Server,
    port: u16,
    management: u16,
}

impl Dns {
    /// Starts it; the log goes to `folder`.
    pub fn start(folder: &Path) -> Self {
        let (port, management) = (free_port(), free_port());
        let program = lab::tools::path("pebble-challtestsrv").expect("pebble-challtestsrv");
        let mut command = ending_with_this_thread(program);
        command.args(["-dnsserver", &format!("127.0.0.1:{port}")]);
        command.args(["-management", &format!("127.0.0.1:{management}")]);
        // An empty IPv6 default: no AAAA records, for nginx listens on IPv4 alone.
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]);
        let mut dns = Self { server: Server::start(command, &folder.join("dns.log")), port, management };
        wait::until("the DNS server answers", || {
            dns.server.check()?;
            dns.manage("clear-a", json!({"host": "nothing.invalid."}))
        });
        dns
    }

    /// Lets a host point to an address, as a person who mistypes it does.
    pub fn point(&self, host: &str, address: &str) {
        let record = json!({"host": format!("{host}."), "addresses": [address]});
        self.manage("add-a", record).expect("the record");
    }

    /// Lets a host point to 127.0.0.1 again.
    pub fn correct(&self, host: &str) {
        self.manage("clear-a", json!({"host": format!("{host}.")})).expect("no record");
    }

    fn manage(&self, what: &str, with: Value) -> Result<(), String> {
        let url = format!("http://127.0.0.1:{}/{what}", self.management);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--data", &with.to_string(), &url])
            .output()
            .expect("curl runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }
}

/// The ACME server: pebble, the one Let's Encrypt tests clients with. It validates every order anew.
pub struct Acme {
    server: Server,
    folder: PathBuf,
    port: u16,
    management: u16,
}

impl Acme {
    /// Starts it. It asks `dns`, and validates over HTTP on port `http` of what DNS says. `profiles` are names and how
    /// many seconds their certificates are valid.
    pub fn start(folder: &Path, dns: &Dns, http: u16, profiles: &[(&str, u64)]) -> Self {
        let (port, management) = (free_port(), free_port());
        let pair = SelfSigned::make(folder, "acme", "IP:127.0.0.1");
        let profiles: serde_json::Map<String, Value> = profiles
            .iter()
            .map(|(name, seconds)| {
                ((*name).to_owned(), json!({"description": name, "validityPeriod": seconds}))
            })
            .collect();
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": pair.certificate, "privateKey": pair.key,
            "httpPort": http, "tlsPort": free_port(),
            "keyAlgorithm": "ecdsa",
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": profiles,
        }});
        let path = folder.join("acme.json");
        std::fs::write(&path, config.to_string()).expect("the configuration");
        let mut command = ending_with_this_thread(lab::tools::path("pebble").expect("pebble"));
        command.arg("-config").arg(&path).args(["-dnsserver", &format!("127.0.0.1:{}", dns.port)]);
        command.envs([
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_AUTHZREUSE", "0"),
            ("PEBBLE_WFE_NONCEREJECT", "0"),
        ]);
        let server = Server::start(command, &folder.join("acme.log"));
        let mut acme = Self { server, folder: folder.to_owned(), port, management };
        wait::until("the ACME server answers", || {
            acme.server.check()?;
            acme.get(&acme.directory()).map(drop)
        });
        acme
    }

    /// The URL that an issuer names as its server.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The ClusterIssuer of this server for HTTP-01 through class nginx. `profile` is one of those it was started with.
    pub fn cluster_issuer(&self, name: &str, profile: &str) -> Value {
        let certificate = std::fs::read(self.folder.join("acme.crt")).expect("the certificate");
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": name},
            "spec": {"acme": {
                "server": self.directory(), "email": "owner@example.org", "profile": profile,
                "caBundle": ByteString(certificate),
                "privateKeySecretRef": {"name": format!("{name}-account")},
                "solvers": [{"http01": {"ingress": {"ingressClassName": "nginx", "serviceType": "ClusterIP"}}}],
            }},
        })
    }

    /// The root of its certificates, in a file.
    pub fn root(&self) -> PathBuf {
        let path = self.folder.join("root.crt");
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        std::fs::write(&path, self.get(&url).expect("the root")).expect("a file");
        path
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert"])
            .arg(self.folder.join("acme.crt"))
            .arg(url)
            .output()
            .expect("curl runs");
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into())
        }
    }
}
