//! UIDs, of which there are two for each child of each bot.

use std::fmt;

/// The UID of an object: without a place of its own in memory where it is a UUID, as the API server makes them.
#[derive(Clone, PartialEq, Eq)]
pub enum Uid {
    /// A UUID.
    Uuid(u128),
    /// Anything else.
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

impl Uid {
    /// Whether it is the UID of that text.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Uuid(number) => uuid(text) == Some(*number),
            Self::Other(other) => **other == *text,
        }
    }
}

/// The number of a UUID in small letters: what is written in another way would be told in another way.
fn uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    text.bytes().enumerate().try_fold(0, |number, (place, byte)| match (place, byte) {
        (8 | 13 | 18 | 23, b'-') => Some(number),
        (8 | 13 | 18 | 23, _) => None,
        (_, b'0'..=b'9') => Some(number << 4 | u128::from(byte - b'0')),
        (_, b'a'..=b'f') => Some(number << 4 | u128::from(byte - b'a' + 10)),
        _ => None,
    })
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(number) => {
                let part = |from: u32, digits: u32| (number >> from) & ((1 << (4 * digits)) - 1);
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    part(96, 8),
                    part(80, 4),
                    part(64, 4),
                    part(48, 4),
                    part(0, 12)
                )
            }
            Self::Other(other) => f.write_str(other),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_uid_is_told_as_it_was_read(text in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9A-Fa-f-]{0,40}|.{0,8}") {
            let uid = Uid::from(text.as_str());
            prop_assert_eq!(uid.to_string(), text.as_str());
            prop_assert!(uid.is(&text));
        }
    }

    #[test]
    fn what_the_api_server_makes_takes_no_memory_of_its_own() {
        assert!(matches!(Uid::from("0f7b1a52-9a0e-4c55-8f39-5e4f3c1c2d10"), Uid::Uuid(_)));
        assert!(matches!(Uid::from("0F7B1A52-9A0E-4C55-8F39-5E4F3C1C2D10"), Uid::Other(_)), "told as it was");
        assert!(!Uid::from("00000000-0000-0000-0000-000000000001").is("1"));
    }
}
