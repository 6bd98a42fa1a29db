//! Where orders are filled: what a fill costs and which price of a bar it takes.

mod paper;
mod path;

pub use paper::{Liquidity, Paper, Priced};
pub use path::{QuoteWindow, Touch, TouchKind, walk_bar, walk_quote};
