//! What a person sees who opens an address: curl and openssl, with port 80 and 443 of every host led to nginx.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Nginx;

/// A client that trusts one root.
pub struct Browser {
    /// Where ports 80 and 443 of every host are.
    http: u16,
    https: u16,
    root: PathBuf,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its code.
    pub status: u16,
    /// Where it sends the client; empty if nowhere.
    pub location: String,
    /// What it says.
    pub body: String,
}

/// A certificate as a server shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// Its begin, as RFC 3339 in UTC.
    pub not_before: String,
    /// Its end.
    pub not_after: String,
    /// The names it is for, as openssl prints them.
    pub names: String,
}

impl Certificate {
    /// The first certificate of a file of PEM.
    ///
    /// # Errors
    /// What openssl says of a file that has none.
    pub fn read(file: &Path) -> Result<Self, String> {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-serial", "-dates", "-dateopt", "iso_8601", "-in"]).arg(file);
        let said = output(openssl.args(["-ext", "subjectAltName"]))?;
        let value =
            |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::to_owned);
        Ok(Self {
            serial: value("serial=").ok_or("no serial number")?,
            not_before: value("notBefore=").ok_or("no begin")?.replace(' ', "T"),
            not_after: value("notAfter=").ok_or("no end")?.replace(' ', "T"),
            names: said.lines().last().unwrap_or_default().trim().to_owned(),
        })
    }
}

impl Browser {
    /// A client of the nginx that trusts `root` alone.
    pub fn new(nginx: &Nginx, root: PathBuf) -> Self {
        Self { http: nginx.http(), https: nginx.https(), root }
    }

    /// Asks for a URL without following redirects. An error is what went wrong before there was an answer.
    pub fn get(&self, url: &str, headers: &[&str]) -> Result<Answer, String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20"]);
        curl.args(["--connect-to", &format!(":80:127.0.0.1:{}", self.http)]);
        curl.args(["--connect-to", &format!(":443:127.0.0.1:{}", self.https)]);
        curl.arg("--cacert").arg(&self.root);
        curl.args(headers.iter().flat_map(|header| ["--header", header]));
        curl.args(["--write-out", "\n%{http_code} %{redirect_url}", url]);
        let said = output(&mut curl)?;
        let (body, outcome) = said.rsplit_once('\n').ok_or("curl printed no outcome")?;
        let (status, location) = outcome.split_once(' ').ok_or("curl printed half an outcome")?;
        let status = status.parse().map_err(|_| format!("{status} is no status"))?;
        Ok(Answer { status, location: location.to_owned(), body: body.to_owned() })
    }

    /// Speaks TLS of one version, such as `tls1_2`, with a host. An error carries what the client says.
    pub fn handshake(&self, host: &str, version: &str) -> Result<String, String> {
        let mut openssl = self.openssl(host);
        // Debian's own settings would not even ask for what is old.
        output(openssl.args([&format!("-{version}"), "-cipher", "ALL@SECLEVEL=0"]))
    }

    /// The certificate that a host shows, whether it is trusted or not.
    pub fn certificate(&self, host: &str) -> Result<Certificate, String> {
        let shown = output(&mut self.openssl(host))?;
        let end = "-----END CERTIFICATE-----";
        let begin = shown.find("-----BEGIN CERTIFICATE-----").ok_or_else(|| shown.clone())?;
        let length = shown[begin..].find(end).ok_or("half a certificate")?;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &shown[begin..begin + length + end.len()]).expect("a file");
        Certificate::read(file.path())
    }

    fn openssl(&self, host: &str) -> Command {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.https), "-servername", host]);
        openssl.arg("-CAfile").arg(&self.root);
        openssl
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().expect("the client runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
}
