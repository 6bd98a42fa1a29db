//! Why an engine cannot be made.

use crds::Asset;

/// Why an engine cannot be made from what it was given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The configuration names no asset.
    #[error("the configuration has no assets; name at least one")]
    NoAssets,
    /// An asset refers to a venue that is not there.
    #[error("assets[{asset}].venue: there is no venue `{venue}`; name one of the configuration's venues")]
    NoVenue {
        /// The asset.
        asset: Asset,
        /// The name it gives.
        venue: String,
    },
    /// A number of the configuration that the ledger cannot hold.
    #[error("{field}: {value} is out of range; set at least {low} and at most {high}")]
    OutOfRange {
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// The least.
        low: String,
        /// The most.
        high: String,
    },
    /// An asset with a position or an open order is to be removed or moved to another venue.
    #[error("assets[{asset}]: it has a position or an open order; keep it as it is until it is flat")]
    AssetHeld {
        /// The asset.
        asset: Asset,
    },
    /// The ledger has one currency.
    #[error("assets[{asset}]: the bot's account is in {currency}; use pairs quoted in {currency}")]
    OtherCurrency {
        /// The asset.
        asset: Asset,
        /// The account's currency.
        currency: String,
    },
    /// A snapshot of a newer engine.
    #[error("the snapshot has version {found} and this engine understands {known}; run the newer agent")]
    SnapshotVersion {
        /// The snapshot's.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The bars given to a restored engine are not those that the snapshot was made after.
    #[error(
        "{asset}: the snapshot was made after {expected}, the history given has {found}; \
         give the same bars from the same first one"
    )]
    HistoryMismatch {
        /// The asset.
        asset: Asset,
        /// Number, first and last end of the bars that the snapshot was made after.
        expected: String,
        /// The same of the history given.
        found: String,
    },
}
