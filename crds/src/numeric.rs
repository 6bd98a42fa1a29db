//! Decimal fields of the API: written as an integer or a string, never as a float.

use std::fmt;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A decimal as the API writes it: an integer (`1`) or a string (`"0.5"`).
///
/// Floats are refused: `0.1` has no exact binary form, and money must not depend on a rounding that
/// differs between a YAML parser and the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Numeric(pub Decimal);

impl Numeric {
    /// The value as `f64`, for marks, stops and analysis.
    pub fn to_f64(self) -> f64 {
        // A `Decimal` has at most 29 digits and an exponent within the range of `f64`.
        rust_decimal::prelude::ToPrimitive::to_f64(&self.0).unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.normalize().fmt(f)
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Self(Decimal::from(value))
    }
}

impl Serialize for Numeric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Numeric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Numeric;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a decimal in quotes, such as 1 or \"0.5\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Numeric, E> {
                Ok(Numeric(Decimal::from(value)))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Numeric, E> {
                Ok(Numeric(Decimal::from(value)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Numeric, E> {
                Decimal::from_str_exact(value)
                    .map(Numeric)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Numeric {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Numeric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,10})?$",
            "maxLength": 27,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_and_strings_are_equal_and_floats_are_refused() {
        let parse = |text: &str| serde_json::from_str::<Numeric>(text);
        assert_eq!(parse("1").unwrap(), parse("\"1.0\"").unwrap());
        assert_eq!(serde_json::to_string(&parse("\"0.50\"").unwrap()).unwrap(), "\"0.5\"");
        let error = parse("0.5").unwrap_err().to_string();
        assert!(error.contains("a decimal in quotes"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(mantissa in any::<i64>(), scale in 0u32..10) {
            let value = Numeric(Decimal::new(mantissa, scale));
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Numeric>(&text).unwrap(), value);
        }
    }
}
