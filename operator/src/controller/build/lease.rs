//! The Lease by which one agent at a time trades. Made once; its spec is the agent's.

use crds::contract::lease::{DURATION, UNKNOWN_HOLDER};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::super::validate::Validated;
use super::named_after;

/// Builds the Lease, without a spec: the first agent that comes takes it.
pub fn build(bot: &Validated) -> Lease {
    Lease { metadata: named_after(&bot.owner), spec: None }
}

/// The spec of a Lease that is made when an agent may already be at work: whoever comes must wait until
/// that agent has certainly stopped to open positions.
pub fn held_by_unknown(now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(UNKNOWN_HOLDER.into()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(build(&validated()));
    }

    #[test]
    fn golden_held_by_unknown() {
        insta::assert_yaml_snapshot!(held_by_unknown(Timestamp::UNIX_EPOCH));
    }
}
