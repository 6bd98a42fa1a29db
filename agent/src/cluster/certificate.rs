//! The certificate of the agent's address, where nobody but the agent can read it: mounted without its key.

use std::path::PathBuf;
use std::time::Duration;

use crds::api::MountedCertificate;
use crds::contract::{CERTIFICATE_DIR, CERTIFICATE_KEY};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::watch;
use tracing::{info, warn};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

/// How long a renewal may go unnoticed once kubelet has brought it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Names that a status shows.
const NAMES: usize = 100;

/// Why a certificate cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM.
    #[error("it is not PEM: {0}")]
    Pem(String),
    /// Not a certificate.
    #[error("it is PEM and no certificate: {0}")]
    Certificate(String),
}

/// What the mounted certificate says, now and whenever it changes, as long as the future runs. Without a Secret there
/// never is one.
pub fn follow(
    secret: Option<String>,
) -> (watch::Receiver<Option<MountedCertificate>>, impl Future<Output = ()> + Send + 'static) {
    follow_in(CERTIFICATE_DIR.into(), secret, LOOK_EVERY)
}

fn follow_in(
    folder: PathBuf,
    secret: Option<String>,
    look_every: Duration,
) -> (watch::Receiver<Option<MountedCertificate>>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = watch::channel(None);
    let follow = async move {
        let Some(secret) = secret else { return sender.closed().await };
        let path = folder.join(CERTIFICATE_KEY);
        let mut last = None;
        loop {
            // What cannot be read is absent; a Secret may come later.
            let now = tokio::fs::read(&path).await.ok();
            if now != last {
                let certificate = now.as_deref().and_then(|pem| match parse(pem, &secret) {
                    Ok(certificate) => Some(certificate),
                    Err(error) => {
                        warn!(secret, %error, "the certificate cannot be read; write PEM into its tls.crt");
                        None
                    }
                });
                if let Some(certificate) = &certificate {
                    info!(secret, not_after = %certificate.not_after.0, "the certificate was read");
                }
                sender.send_replace(certificate);
                last = now;
            }
            tokio::time::sleep(look_every).await;
        }
    };
    (receiver, follow)
}

/// The first certificate of a chain: the server's own.
fn parse(pem: &[u8], secret: &str) -> Result<MountedCertificate, CertificateError> {
    let (_, block) = parse_x509_pem(pem).map_err(|error| CertificateError::Pem(error.to_string()))?;
    let wrong = |error: &dyn std::fmt::Display| CertificateError::Certificate(error.to_string());
    let certificate = block.parse_x509().map_err(|error| wrong(&error))?;
    let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())
        .map_err(|error| wrong(&error))?;
    let names = certificate.subject_alternative_name().map_err(|error| wrong(&error))?;
    let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
    let dns_names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(MountedCertificate {
        secret_name: secret.to_owned(),
        not_after: Time(not_after),
        dns_names: dns_names.take(NAMES).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.pem()
    }

    #[test]
    fn a_certificate_says_its_names_and_its_end_and_anything_else_is_named_as_what_it_is() {
        let chain = certificate(&["Bots.example.com", "*.b.c"]) + &certificate(&["ca"]);
        let read = parse(chain.as_bytes(), "tls").unwrap();
        assert_eq!(read.dns_names, ["bots.example.com", "*.b.c"]);
        assert_eq!(read.secret_name, "tls");
        assert_eq!(read.not_after.0.to_string(), "4096-01-01T00:00:00Z", "what the generator writes");
        assert!(matches!(parse(b"tls", "tls"), Err(CertificateError::Pem(_))));
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(parse(key.as_bytes(), "tls"), Err(CertificateError::Certificate(_))));
    }

    #[tokio::test]
    async fn a_certificate_that_comes_goes_or_is_renewed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CERTIFICATE_KEY);
        let (mut receiver, follower) =
            follow_in(folder.path().to_owned(), Some("tls".into()), Duration::from_millis(5));
        let follower = tokio::spawn(follower);
        for names in [&["a.b"][..], &["a.b", "c.d"]] {
            std::fs::write(&path, certificate(names)).unwrap();
            let read = |certificate: &Option<MountedCertificate>| {
                certificate.as_ref().is_some_and(|certificate| certificate.dns_names == names)
            };
            receiver.wait_for(read).await.unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        receiver.wait_for(Option::is_none).await.unwrap();
        follower.abort();
    }
}
