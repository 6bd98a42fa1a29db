//! What an operator asked of the API server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::audit::{Audit, Call};

/// An operator that called nothing for so long is at rest.
const QUIET: Duration = Duration::from_secs(3);
/// One that does not come to rest in this time never does.
const PATIENCE: Duration = Duration::from_secs(600);

/// Calls by what they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// Of single objects, by verb; Events and the Lease of the leader are apart. A status has a slash.
    pub by_verb: BTreeMap<String, u64>,
    /// Events written.
    pub events: u64,
    /// Lists and watches of all namespaces: they do not grow with the bots, but for the pages. A list in a namespace is a
    /// call for a bot, and is in `by_verb`.
    pub lists_and_watches: u64,
    /// Refused by the API server, of those in `by_verb`.
    pub refused: u64,
}

impl Calls {
    /// Counts calls of one user.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Self {
        let mut counted = Self::default();
        for call in calls {
            // The Leases of bots are in their own namespace.
            let election =
                call.resource == "leases" && call.namespace == super::contender::ELECTION_NAMESPACE;
            match (call.resource.as_str(), call.verb.as_str()) {
                ("events", _) => counted.events += 1,
                _ if election => {}
                (_, "list" | "watch") if call.namespace.is_empty() => counted.lists_and_watches += 1,
                (resource, verb) => {
                    let status = if resource.ends_with("/status") { "/status" } else { "" };
                    *counted.by_verb.entry(format!("{verb}{status}")).or_default() += 1;
                    counted.refused += u64::from(call.code >= 400);
                }
            }
        }
        counted
    }

    /// Of single objects.
    pub fn total(&self) -> u64 {
        self.by_verb.values().sum()
    }

    /// Of single objects, for each of so many bots.
    pub fn per_bot(&self, bots: usize) -> f64 {
        self.total() as f64 / bots.max(1) as f64
    }
}

/// Counts one user's calls phase by phase.
pub struct Counter {
    audit: Audit,
    user: String,
}

impl Counter {
    /// Counts from the cluster's beginning.
    pub fn new(audit: Audit, user: String) -> Self {
        Self { audit, user }
    }

    /// The calls since the last look.
    pub fn take(&mut self) -> Calls {
        Calls::of(&self.audit.by(&self.user))
    }

    /// The calls since the last look, once there are no more.
    ///
    /// # Errors
    /// When they never end.
    pub async fn rest(&mut self) -> Result<Calls> {
        let begin = Instant::now();
        let mut calls = Vec::new();
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            if begin.elapsed() > PATIENCE {
                bail!("the operator calls and calls: {:?}", Calls::of(&calls));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let fresh = self.audit.by(&self.user);
            if Calls::of(&fresh).total() > 0 {
                quiet_since = Instant::now();
            }
            calls.extend(fresh);
        }
        Ok(Calls::of(&calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_lists_and_the_election_are_apart() {
        let call = |verb: &str, resource: &str, namespace: &str, code| Call {
            user: "u".into(),
            agent: String::new(),
            verb: verb.into(),
            group: String::new(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: "a".into(),
            code,
            at: String::new(),
            answered: String::new(),
        };
        let counted = Calls::of(&[
            call("create", "leases", "bench", 201),
            call("create", "services", "bench", 409),
            call("patch", "tradingbots/status", "bench", 200),
            call("create", "events", "bench", 201),
            call("update", "leases", "default", 200),
            call("list", "services", "", 200),
            call("list", "pods", "bench", 200),
        ]);
        assert_eq!(
            counted.by_verb,
            BTreeMap::from([("create".into(), 2), ("list".into(), 1), ("patch/status".into(), 1)])
        );
        assert_eq!((counted.events, counted.lists_and_watches, counted.refused), (1, 1, 1));
        assert_eq!(counted.per_bot(2), 2.0);
    }
}
