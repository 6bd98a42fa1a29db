//! Whether the certificate of a bot's address is there and valid.

use crds::api::{MountedCertificate, TlsSpec, TlsStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde_json::Value;

use super::conditions::Verdict;
use crate::reason::Reason;

/// What cert-manager says of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// Whether the Secret holds what the Certificate asks for.
    pub is_ready: bool,
    /// When it runs out.
    pub not_after: Option<Timestamp>,
    /// Why it is not ready.
    pub message: Option<Box<str>>,
    /// Why the last attempt to issue it failed.
    pub failure: Option<Box<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    last_failure_time: Option<Time>,
    not_after: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    observed_generation: Option<i64>,
}

impl Issued {
    /// Reads a Certificate's status. What is about an older generation of it says nothing.
    pub fn of(generation: Option<i64>, status: Option<&Value>) -> Self {
        let status: Status =
            status.and_then(|status| serde_json::from_value(status.clone()).ok()).unwrap_or_default();
        let find = |type_: &str| {
            let current =
                |c: &&Condition| c.observed_generation.is_none() || c.observed_generation == generation;
            status.conditions.iter().filter(current).find(|condition| condition.type_ == type_)
        };
        let (ready, issuing) = (find("Ready"), find("Issuing"));
        let words = |condition: Option<&Condition>| {
            // Where an order has nothing to add, cert-manager leaves a colon.
            let words = condition.map(|c| c.message.trim_end_matches([' ', ':']));
            words.filter(|words| !words.is_empty()).map(Into::into)
        };
        let is_ready = ready.is_some_and(|condition| condition.status == "True");
        // It is set by a failure and removed by a success; while it is tried again, the last failure stands.
        let failure = status.last_failure_time.map(|_| {
            words(issuing.filter(|c| c.status == "False")).unwrap_or_else(|| "the last attempt failed".into())
        });
        Self {
            is_ready,
            not_after: status.not_after.map(|time| time.0),
            message: words(ready.filter(|_| !is_ready)),
            failure,
        }
    }
}

/// Who tells of a certificate.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// cert-manager, once there is a Certificate.
    Issued(Option<&'a Issued>),
    /// The agent, once it has read the mounted certificate.
    Mounted(Option<&'a MountedCertificate>),
}

impl Source<'_> {
    /// What the status says of the certificate.
    pub fn status(self, tls: &TlsSpec) -> TlsStatus {
        let not_after = match self {
            Self::Issued(issued) => issued.and_then(|issued| issued.not_after),
            Self::Mounted(mounted) => of_secret(mounted, tls).map(|mounted| mounted.not_after.0),
        };
        TlsStatus { secret_name: tls.secret_name.clone(), not_after: not_after.map(Time) }
    }
}

/// What an agent with an older pod says is of another Secret.
fn of_secret<'a>(mounted: Option<&'a MountedCertificate>, tls: &TlsSpec) -> Option<&'a MountedCertificate> {
    mounted.filter(|mounted| mounted.secret_name == tls.secret_name)
}

/// Judges the certificate of a host.
pub fn verdict(host: &str, tls: &TlsSpec, namespace: &str, source: Source<'_>, now: Timestamp) -> Verdict {
    let secret = &tls.secret_name;
    let no = |reason, message: String| Verdict::new(false, reason, message);
    let expired = |at: Timestamp| {
        no(
            Reason::CertificateExpired,
            format!("the certificate in Secret {secret} ran out at {at}; renew it{}", see(source, namespace)),
        )
    };
    match source {
        Source::Issued(None) => {
            no(Reason::CertificatePending, format!("Certificate {secret} was made and is not issued yet"))
        }
        Source::Issued(Some(issued)) => match issued {
            Issued { not_after: Some(at), .. } if *at <= now => expired(*at),
            Issued { is_ready: true, failure, not_after, .. } => {
                let end = not_after.map(|at| format!(" until {at}")).unwrap_or_default();
                let failure = failure
                    .as_ref()
                    .map(|words| format!("; its renewal failed: {words}"))
                    .unwrap_or_default();
                Verdict::new(
                    true,
                    Reason::CertificateIssued,
                    format!("the certificate in Secret {secret} is good{end}{failure}"),
                )
            }
            Issued { failure: Some(words), .. } => no(
                Reason::CertificateFailed,
                format!(
                    "Certificate {secret} could not be issued: {words}; cert-manager tries again, later each time{}",
                    see(source, namespace)
                ),
            ),
            Issued { message, .. } => {
                let words = message.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
                no(
                    Reason::CertificatePending,
                    format!("Certificate {secret} is not issued yet{words}{}", see(source, namespace)),
                )
            }
        },
        Source::Mounted(mounted) => match of_secret(mounted, tls) {
            None => no(
                Reason::CertificateMissing,
                format!(
                    "the agent has not read a certificate yet; if it stays so, put one into Secret {secret}: \
                     `kubectl -n {namespace} create secret tls {secret} --cert FILE --key FILE`, or name an issuerRef"
                ),
            ),
            Some(mounted) if mounted.not_after.0 <= now => expired(mounted.not_after.0),
            Some(mounted) if !mounted.dns_names.iter().any(|name| covers(name, host)) => no(
                Reason::CertificateMismatch,
                format!(
                    "the certificate in Secret {secret} is for {} and not for {host}; put another into it",
                    if mounted.dns_names.is_empty() {
                        "no name".into()
                    } else {
                        mounted.dns_names.join(", ")
                    }
                ),
            ),
            Some(mounted) => Verdict::new(
                true,
                Reason::CertificateValid,
                format!("the certificate in Secret {secret} is good until {}", mounted.not_after.0),
            ),
        },
    }
}

fn see(source: Source<'_>, namespace: &str) -> String {
    match source {
        // The Certificate does not say which issuer is missing, nor what an ACME server answered; these do.
        Source::Issued(_) => {
            format!("; see `kubectl -n {namespace} get certificaterequest,order,challenge -o wide`")
        }
        Source::Mounted(_) => String::new(),
    }
}

/// A wildcard stands for one label, as in RFC 6125.
fn covers(name: &str, host: &str) -> bool {
    name == host
        || match (name.strip_prefix("*."), host.split_once('.')) {
            (Some(parent), Some((_, domain))) => parent == domain,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tls() -> TlsSpec {
        TlsSpec { secret_name: "tls".into(), issuer_ref: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn words(source: Source<'_>) -> (bool, Reason, String) {
        let Verdict { holds, reason, message } = verdict("bots.example.com", &tls(), "n", source, at(100));
        (holds, reason, message)
    }

    #[test]
    fn what_cert_manager_says_becomes_one_word_and_its_own() {
        let condition = |type_: &str, status: &str, message: &str| json!({"type": type_, "status": status, "message": message, "observedGeneration": 2});
        let pending = json!({"conditions": [
            condition("Ready", "False", "Issuing certificate as Secret does not exist"), condition("Issuing", "True", "x")
        ]});
        let failed = json!({"lastFailureTime": "2026-01-01T00:00:00Z", "conditions": [
            condition("Ready", "False", "does not exist"),
            condition("Issuing", "False", "The certificate request has failed: wrong DNS: ")
        ]});
        let good = json!({"notAfter": "1970-01-01T01:00:00Z", "conditions": [condition("Ready", "True", "up to date")]});
        let mut limping = good.clone();
        limping["lastFailureTime"] = json!("2026-01-01T00:00:00Z");
        limping["conditions"] =
            json!([condition("Ready", "True", ""), condition("Issuing", "False", "rate limited")]);
        let mut over = good.clone();
        over["notAfter"] = json!("1970-01-01T00:01:40Z");
        for (status, holds, reason, part) in [
            (json!({}), false, Reason::CertificatePending, "kubectl -n n get certificaterequest"),
            (pending, false, Reason::CertificatePending, "Secret does not exist"),
            (failed, false, Reason::CertificateFailed, "wrong DNS; cert-manager tries again"),
            (good.clone(), true, Reason::CertificateIssued, "until 1970-01-01T01:00:00Z"),
            (limping, true, Reason::CertificateIssued, "renewal failed: rate limited"),
            (over, false, Reason::CertificateExpired, "ran out at 1970-01-01T00:01:40Z"),
        ] {
            let issued = Issued::of(Some(2), Some(&status));
            let (is, why, message) = words(Source::Issued(Some(&issued)));
            assert_eq!((is, why), (holds, reason), "{message}");
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!Issued::of(Some(3), Some(&good)).is_ready, "that was another spec's");
        assert_eq!(words(Source::Issued(None)).1, Reason::CertificatePending);
    }

    #[test]
    fn what_the_agent_read_is_judged_by_secret_time_and_name() {
        let mounted = |secret: &str, end: i64, names: &[&str]| MountedCertificate {
            secret_name: secret.into(),
            not_after: Time(at(end)),
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (certificate, holds, reason) in [
            (mounted("tls", 101, &["bots.example.com"]), true, Reason::CertificateValid),
            (mounted("tls", 101, &["a.b", "*.example.com"]), true, Reason::CertificateValid),
            (mounted("tls", 100, &["bots.example.com"]), false, Reason::CertificateExpired),
            (
                mounted("tls", 101, &["*.com", "example.com", "*.bots.example.com"]),
                false,
                Reason::CertificateMismatch,
            ),
            (mounted("tls", 101, &[]), false, Reason::CertificateMismatch),
            (mounted("old", 101, &["bots.example.com"]), false, Reason::CertificateMissing),
        ] {
            let (is, why, message) = words(Source::Mounted(Some(&certificate)));
            assert_eq!((is, why), (holds, reason), "{message}");
        }
        assert!(words(Source::Mounted(None)).2.contains("create secret tls tls"));
        let certificate = mounted("tls", 101, &[]);
        let status = Source::Mounted(Some(&certificate)).status(&tls());
        assert_eq!(status.not_after, Some(Time(at(101))));
    }
}
