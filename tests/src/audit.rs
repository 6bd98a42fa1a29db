//! What the API server was asked, by its audit log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// A call that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asked: `system:serviceaccount:NAMESPACE:NAME`, or the name in a certificate.
    pub user: String,
    /// With which program, as it calls itself.
    pub agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The resource and, after a slash, the subresource.
    pub resource: String,
    /// Empty for objects without one, and for all at once.
    pub namespace: String,
    /// Empty for many at once; a created object has it too.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// When the request arrived, as `2026-01-01T00:00:00.000000Z`: texts of one form, so that they order.
    pub at: String,
    /// When it was answered, in the same form; of a watch, when it began.
    pub answered: String,
}

impl Call {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// An audit log that is read from where it was last read.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
    read: u64,
}

impl Audit {
    /// A log, from its beginning.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// All calls since the last look. A watch is one call, told when it begins.
    pub fn calls(&mut self) -> Vec<Call> {
        let mut file = File::open(&self.path).expect("the audit log");
        file.seek(SeekFrom::Start(self.read)).expect("the audit log");
        let mut fresh = Vec::new();
        file.read_to_end(&mut fresh).expect("the audit log");
        // The last line may not be whole yet.
        let whole = fresh.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        String::from_utf8_lossy(&fresh[..whole]).lines().filter_map(parse).collect()
    }

    /// The calls of one user since the last look.
    pub fn by(&mut self, user: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.user == user);
        calls
    }
}

/// The user name of a ServiceAccount.
pub fn service_account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Option<Object>,
    #[serde(default)]
    response_status: Option<Answer>,
    request_received_timestamp: String,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

fn parse(line: &str) -> Option<Call> {
    // An API server that was killed left a line unfinished, and the next one goes on in it.
    let line = line.rfind(r#"{"kind":"Event""#).map_or(line, |begin| &line[begin..]);
    let event: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // A watch has two lines: one when it begins, one when it ends. One that is refused has the second only.
    let code = event.response_status.map_or(0, |answer| answer.code);
    let refused_or_other = event.stage == "ResponseComplete" && (event.verb != "watch" || code >= 400);
    let begun = event.stage == "ResponseStarted" && event.verb == "watch";
    if !(refused_or_other || begun) {
        return None;
    }
    let object = event.object_ref?;
    let subresource = if object.subresource.is_empty() { "" } else { "/" };
    Some(Call {
        user: event.user.username,
        agent: event.user_agent,
        verb: event.verb,
        group: object.api_group,
        resource: format!("{}{subresource}{}", object.resource, object.subresource),
        namespace: object.namespace,
        name: object.name,
        code,
        at: event.request_received_timestamp,
        answered: event.stage_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/x","verb":"patch","user":{"username":"u","groups":["g"]},"sourceIPs":["127.0.0.1"],"userAgent":"me/1","objectRef":{"resource":"tradingbots","namespace":"n","name":"a","apiGroup":"g","apiVersion":"v1","subresource":"status"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.250000Z"}"#;

    #[test]
    fn a_log_is_read_on_and_never_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        std::fs::write(&path, format!("{PATCH}\n{}", &PATCH[..40])).unwrap();
        let mut audit = Audit::new(path.clone());
        let calls = audit.by("u");
        assert_eq!((calls.len(), calls[0].resource.as_str(), calls[0].code), (1, "tradingbots/status", 200));
        assert!(calls[0].is_write());
        assert_eq!(calls[0].answered, "2026-01-01T00:00:00.250000Z");
        std::fs::write(&path, format!("{PATCH}\n{PATCH}\n")).unwrap();
        assert_eq!(audit.by("u").len(), 1);
        assert!(audit.by("u").is_empty());
    }

    #[test]
    fn what_a_killed_server_left_unfinished_does_not_hide_what_follows() {
        assert_eq!(parse(&format!("{}{PATCH}", &PATCH[..40])), parse(PATCH));
        assert!(parse(PATCH).is_some());
    }

    #[test]
    fn a_watch_counts_once() {
        let watch = PATCH.replace("\"patch\"", "\"watch\"");
        let begun = watch.replace("ResponseComplete", "ResponseStarted");
        assert_eq!(parse(&begun).map(|call| call.verb), Some("watch".to_owned()));
        assert_eq!(parse(&watch), None);
        assert!(parse(&watch.replace("200", "403")).is_some());
        assert_eq!(parse(&PATCH.replace("ResponseComplete", "Panic")), None);
    }
}
