//! The volume of the journal.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::super::validate::Validated;
use super::named_after;

/// Builds the PersistentVolumeClaim, of the cluster's default storage class.
pub fn build(bot: &Validated) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: named_after(&bot.owner),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), bot.deployment.size.clone())])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(super::build(&validated()));
    }
}
