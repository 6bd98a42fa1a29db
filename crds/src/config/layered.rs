//! One declaration for a value and for a layer of it.
//!
//! In a manifest every key may be left out; in the effective configuration none may. Writing both
//! structs by hand lets them drift apart, so [`layered!`] writes them from one list of fields.

use std::collections::BTreeMap;

/// A type of the effective configuration and the form in which a layer gives it.
pub trait Layered {
    /// What a layer may say: the value itself, or a struct whose keys are all optional.
    type Layer;
}

macro_rules! leaves {
    ($($leaf:ty),* $(,)?) => {
        $(impl $crate::config::Layered for $leaf { type Layer = Self; })*
    };
}
pub(crate) use leaves;

leaves!(bool, u8, u16, u32, String, crate::Numeric, crate::Duration, crate::Timeframe);

impl<T> Layered for Vec<T> {
    type Layer = Self;
}

impl<K, V> Layered for BTreeMap<K, V> {
    type Layer = Self;
}

/// Declares `Name / NameSpec`: the effective struct, and the layer with every key optional.
/// Documentation goes to both; `schemars` attributes go to the layer, which is what the CRD shows.
macro_rules! layered {
    (
        $(#[doc = $doc:literal])*
        $name:ident / $layer:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $(#[schemars($($schema:tt)*)])*
                $field:ident: $kind:ty,
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $kind,)*
        }

        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $layer {
            $(
                $(#[doc = $field_doc])*
                $(#[schemars($($schema)*)])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<<$kind as $crate::config::Layered>::Layer>,
            )*
        }

        impl $crate::config::Layered for $name {
            type Layer = $layer;
        }
    };
}
pub(crate) use layered;
