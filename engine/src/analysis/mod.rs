//! Numbers from final bars: incremental, and absent until there are enough bars.
//!
//! Every indicator gives what TA-Lib gives for the same bars from the same first one.

mod adx;
mod atr;
mod ema;
mod extremes;
mod frame;
mod score;

pub use adx::Adx;
pub use atr::Atr;
pub use ema::Ema;
pub use extremes::Extremes;
pub(crate) use frame::Analysis;
pub use score::trend_score;
