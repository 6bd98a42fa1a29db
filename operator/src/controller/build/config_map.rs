//! The configuration that the agent mounts and watches.

use std::collections::BTreeMap;

use crds::config::RenderingError;
use crds::contract::CONFIG_KEY;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::validate::Validated;
use super::{named_after, pinned};

/// Builds the ConfigMap.
///
/// # Errors
/// None in practice: a rendering is JSON.
pub fn build(bot: &Validated) -> Result<ConfigMap, RenderingError> {
    Ok(ConfigMap {
        metadata: ObjectMeta { annotations: Some(pinned(bot)), ..named_after(&bot.owner) },
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), bot.rendering.to_json()?)])),
        ..ConfigMap::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::validated;
    use super::*;
    use crds::config::Rendering;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(build(&validated()).unwrap());
    }

    #[test]
    fn the_agent_reads_what_the_operator_rendered() {
        let text = build(&validated()).unwrap().data.unwrap()[CONFIG_KEY].clone();
        assert_eq!(Rendering::parse(&text).unwrap(), validated().rendering);
    }
}
