//! The API of the trading operator: kinds, defaults, layering and validation.
//!
//! [`config`] holds what a bot is told to do and how the layers of it become one answer. It is plain
//! data, free of Kubernetes. With the feature `kubernetes` (on by default) [`api`] adds the kinds that
//! the API server stores, and [`contract`] the names on which operator and agent agree.
#![warn(missing_docs)]

mod asset;
pub mod config;
mod duration;
mod numeric;
mod timeframe;
pub mod yaml;

#[cfg(feature = "kubernetes")]
pub mod api;
#[cfg(feature = "kubernetes")]
pub mod contract;

pub use asset::{Asset, AssetClass, ParseAssetError};
pub use duration::{Duration, ParseDurationError};
pub use numeric::Numeric;
pub use timeframe::{ParseTimeframeError, Timeframe};
