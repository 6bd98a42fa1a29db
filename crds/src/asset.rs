//! What can be traded: a base priced in a quote currency.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Quote currencies that unseparated input (`BTCUSD`) may end in.
const QUOTES: [&str; 12] =
    ["USDT", "USDC", "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "BTC", "ETH"];

/// Currencies of the forex class: both sides of a pair must be one of these.
const FIAT: [&str; 14] =
    ["USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK", "SGD", "HKD", "PLN"];

/// Bases of the crypto class.
const CRYPTO: [&str; 24] = [
    "BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "LTC", "BCH", "DOT", "LINK", "AVAX", "MATIC", "UNI", "ATOM",
    "XLM", "ETC", "FIL", "NEAR", "APT", "ARB", "OP", "AAVE", "TRX", "XMR",
];

/// A tradable pair in canonical form, `BTC-USD`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    base: String,
    quote: String,
}

/// The kind of market an asset trades in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssetClass {
    /// Always open.
    Crypto,
    /// Both sides are state currencies.
    Forex,
    /// Neither of the two.
    Stock,
}

/// Text that names no pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAssetError {
    /// The text is not of the canonical form that manifests use.
    #[error("`{text}` is not a canonical pair{}; write BASE-QUOTE in capitals, such as BTC-USD", hint(.suggestion))]
    NotCanonical {
        /// What was given.
        text: String,
        /// The canonical form, where the text is a loose spelling of one.
        suggestion: Option<String>,
    },
    /// Unseparated text that ends in no known quote currency.
    #[error("`{text}` names no known pair; separate base and quote, such as BTC-USD")]
    Unknown {
        /// What was given.
        text: String,
    },
    /// Unseparated text that can be split in more than one way.
    #[error("`{text}` is ambiguous: it may mean {}; write the one you mean", .candidates.join(" or "))]
    Ambiguous {
        /// What was given.
        text: String,
        /// Every reading.
        candidates: Vec<String>,
    },
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|s| format!(" (did you mean {s}?)")).unwrap_or_default()
}

impl Asset {
    /// The pattern of a canonical pair, as the CRD has it.
    pub const PATTERN: &str = "^[A-Z0-9]{2,12}-[A-Z0-9]{2,8}$";

    /// What is bought and sold.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The currency that the price is in.
    pub fn quote(&self) -> &str {
        &self.quote
    }

    /// The market class, from the code tables.
    pub fn class(&self) -> AssetClass {
        let fiat = |code: &str| FIAT.contains(&code);
        if fiat(&self.base) && fiat(&self.quote) {
            AssetClass::Forex
        } else if CRYPTO.contains(&self.base.as_str()) {
            AssetClass::Crypto
        } else {
            AssetClass::Stock
        }
    }

    /// Reads any spelling a person may type: `btc-usd`, `BTC/USD`, `BTC_USD`, `BTCUSD`.
    ///
    /// # Errors
    /// Names the candidates when the text is unknown or can be split in several ways.
    pub fn parse_loose(text: &str) -> Result<Self, ParseAssetError> {
        let upper = text.trim().to_ascii_uppercase();
        let unknown = || ParseAssetError::Unknown { text: text.to_owned() };
        if let Some((base, quote)) = upper.split_once(['-', '/', '_']) {
            return Self::from_codes(base, quote).ok_or_else(unknown);
        }
        let known = |code: &str| CRYPTO.contains(&code) || FIAT.contains(&code);
        let mut candidates: Vec<Self> =
            QUOTES.iter().filter_map(|quote| Self::from_codes(upper.strip_suffix(quote)?, quote)).collect();
        // A known base settles it: BTCUSDT is BTC-USDT; the longest quote comes first.
        candidates.sort_by_key(|asset| std::cmp::Reverse((known(&asset.base), asset.quote.len())));
        let mut readings = candidates.into_iter();
        match (readings.next(), readings.next()) {
            (None, _) => Err(unknown()),
            (Some(first), None) => Ok(first),
            (Some(first), Some(second)) if known(&first.base) && !known(&second.base) => Ok(first),
            (Some(first), Some(second)) => Err(ParseAssetError::Ambiguous {
                text: text.to_owned(),
                candidates: [first, second].into_iter().chain(readings).map(|a| a.to_string()).collect(),
            }),
        }
    }

    fn from_codes(base: &str, quote: &str) -> Option<Self> {
        let code = |text: &str, longest: usize| {
            (2..=longest).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        (code(base, 12) && code(quote, 8)).then(|| Self { base: base.to_owned(), quote: quote.to_owned() })
    }
}

impl FromStr for Asset {
    type Err = ParseAssetError;

    /// Reads the canonical form only.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('-').and_then(|(base, quote)| Self::from_codes(base, quote)).ok_or_else(|| {
            ParseAssetError::NotCanonical {
                text: text.to_owned(),
                suggestion: Self::parse_loose(text).ok().map(|asset| asset.to_string()),
            }
        })
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.base, self.quote)
    }
}

impl Serialize for Asset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Asset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_loose_spelling_means_the_same_asset() {
        for text in ["btc-usd", "BTC/USD", "BTC_USD", "BTCUSD", " btcusd "] {
            assert_eq!(Asset::parse_loose(text).unwrap().to_string(), "BTC-USD", "{text}");
        }
        assert_eq!(Asset::parse_loose("BTCUSDT").unwrap().to_string(), "BTC-USDT");
    }

    #[test]
    fn unknown_and_ambiguous_input_names_the_candidates() {
        assert!(matches!(Asset::parse_loose("XYZ"), Err(ParseAssetError::Unknown { .. })));
        let error = Asset::parse_loose("ABCBTCETH").unwrap();
        assert_eq!(error.to_string(), "ABCBTC-ETH");
        // Both readings have a known base, so neither is taken.
        assert!(Asset::parse_loose("usd").is_err());
    }

    #[test]
    fn manifests_take_the_canonical_form_only_and_suggest_it() {
        let error = "btc/usd".parse::<Asset>().unwrap_err().to_string();
        assert!(error.contains("did you mean BTC-USD?"), "{error}");
    }

    #[test]
    fn classes_come_from_the_code_tables() {
        let class = |pair: &str| pair.parse::<Asset>().unwrap().class();
        assert_eq!(class("BTC-USD"), AssetClass::Crypto);
        assert_eq!(class("EUR-USD"), AssetClass::Forex);
        assert_eq!(class("AAPL-USD"), AssetClass::Stock);
    }

    proptest! {
        #[test]
        fn canonical_pairs_read_back_equal(text in "[A-Z0-9]{2,12}-[A-Z0-9]{2,8}") {
            prop_assert_eq!(text.parse::<Asset>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_fail_in_another_way(text in ".*") {
            let _ = Asset::parse_loose(&text);
            let _ = text.parse::<Asset>();
        }
    }
}
