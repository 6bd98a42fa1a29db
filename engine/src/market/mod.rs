//! What the market did: bars, finer ones made into coarser ones, gaps, freshness.

mod bar;

pub use bar::Bar;
