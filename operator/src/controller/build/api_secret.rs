//! The keys of the agent's API: created once, never read by the operator, which has no right to.

use std::collections::BTreeMap;
use std::fmt;

use crds::contract::{KEY_READ, KEY_TRADE, api_secret_name};
use k8s_openapi::api::core::v1::Secret;
use rand::Rng;

use super::super::bot::Owner;
use super::metadata;

/// New keys. They are shown by nothing but the Secret.
pub struct Keys {
    read: String,
    trade: String,
}

impl Keys {
    /// 256 random bits each.
    pub fn generate() -> Self {
        Self { read: random(), trade: random() }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

fn random() -> String {
    rand::rng().random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Builds the Secret. Its name carries the bot's UID, so that one that exists is this bot's.
pub fn build(owner: &Owner, keys: Keys) -> Secret {
    let Keys { read, trade } = keys;
    Secret {
        metadata: metadata(owner, api_secret_name(&owner.name, &owner.uid)),
        type_: Some("Opaque".into()),
        string_data: Some(BTreeMap::from([(KEY_READ.to_owned(), read), (KEY_TRADE.to_owned(), trade)])),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;

    #[test]
    fn golden() {
        let keys = Keys { read: "r".into(), trade: "t".into() };
        insta::assert_yaml_snapshot!(build(&validated().owner, keys));
    }

    #[test]
    fn keys_are_long_differ_and_stay_out_of_logs() {
        let keys = Keys::generate();
        assert_eq!(keys.read.len(), 64);
        assert_ne!(keys.read, keys.trade);
        assert_ne!(keys.read, Keys::generate().read);
        assert!(!format!("{keys:?}").contains(&keys.read));
    }
}
