//! What the market did: bars, finer ones made into coarser ones, gaps, freshness.

mod aggregate;
mod bar;
mod freshness;
mod series;

use aggregate::Aggregator;
pub use bar::Bar;
pub(crate) use bar::plausible_price;
pub use freshness::Freshness;
pub(crate) use freshness::{QUOTE_LIMIT, bar_limit};
pub(crate) use series::{Fed, Series, Step};
