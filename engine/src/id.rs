//! Ids that are pure functions of what caused them.

use std::fmt;

use crds::Asset;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::output::Role;
use crate::view::BotId;

/// The first 128 bits of a SHA-256, in the notation of a UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// The client id of an order. An order sent twice is one order, whoever sends it.
    ///
    /// `cycle` is the market time of the cycle that opened the position; `generation` counts the
    /// terminal orders of that role on that position.
    pub fn order(
        account: &str,
        bot: &BotId,
        asset: &Asset,
        cycle: Timestamp,
        role: Role,
        generation: u32,
    ) -> Self {
        let role = match role {
            Role::Entry => "entry",
            Role::Protect => "protect",
            Role::Exit => "exit",
        };
        Self::of(&[
            account,
            &bot.to_string(),
            &asset.to_string(),
            &cycle.to_string(),
            role,
            &generation.to_string(),
        ])
    }

    /// The id of a decision.
    pub fn decision(bot: &BotId, asset: &Asset, at: Timestamp) -> Self {
        Self::of(&["decision", &bot.to_string(), &asset.to_string(), &at.to_string()])
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // No part holds a zero byte, so that no two lists of parts are the same bytes.
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut text = String::with_capacity(36);
        for (index, byte) in hash.finalize().into_iter().take(16).enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, role: Role, generation: u32) -> Id {
        let bot = BotId { namespace: "default".into(), name: name.into() };
        let at = "2020-05-01T12:00:00Z".parse().unwrap();
        Id::order("paper", &bot, &"BTC-USD".parse().unwrap(), at, role, generation)
    }

    #[test]
    fn the_id_is_the_start_of_the_hash_of_its_causes() {
        // printf '%s\0' paper default/majors BTC-USD 2020-05-01T12:00:00Z entry 0 | sha256sum
        assert_eq!(id("majors", Role::Entry, 0).as_str(), "2e9a558c-e459-418e-1590-dfc515f0d48c");
    }

    #[test]
    fn every_cause_changes_the_id() {
        let ids = [
            id("majors", Role::Entry, 0),
            id("minors", Role::Entry, 0),
            id("majors", Role::Exit, 0),
            id("majors", Role::Entry, 1),
        ];
        for (index, one) in ids.iter().enumerate() {
            assert_eq!(one.as_str().len(), 36);
            assert!(ids.iter().skip(index + 1).all(|other| other != one));
        }
    }
}
