//! The volume of the journal.

use std::collections::BTreeMap;

use crds::api::{Journal, Retain};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::super::validate::Validated;
use super::{annotation, named_after};

/// Builds the PersistentVolumeClaim, of the cluster's default storage class; none when the bot brings one.
pub fn build(bot: &Validated) -> Option<PersistentVolumeClaim> {
    let Journal::Own { size, retain } = &bot.deployment.journal else { return None };
    let mut metadata = named_after(&bot.owner);
    if *retain == Retain::Retain {
        // Without an owner it outlives the bot; whose it is must be known all the same.
        metadata.owner_references = None;
        metadata.annotations =
            Some(BTreeMap::from([(annotation::RETAINED_FOR.to_owned(), bot.owner.uid.clone())]));
    }
    Some(PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size.clone())])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(build(&validated()).unwrap());
    }

    #[test]
    fn golden_retained() {
        let mut bot = validated();
        if let Journal::Own { retain, .. } = &mut bot.deployment.journal {
            *retain = Retain::Retain;
        }
        insta::assert_yaml_snapshot!(build(&bot).unwrap());
    }

    #[test]
    fn a_bot_that_brings_its_claim_gets_none() {
        let mut bot = validated();
        bot.deployment.journal = Journal::Existing("former".into());
        assert_eq!(build(&bot), None);
    }
}
