//! Numbers in JSON to the bit, also those that JSON has no words for: `"NaN"`, `"inf"`, `"-inf"`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(String),
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Finite(value) } else { Self::Word(value.to_string()) }
    }
}

impl Number {
    fn value<E: Error>(self) -> Result<f64, E> {
        match self {
            Self::Finite(value) => Ok(value),
            Self::Word(word) => word.parse().map_err(|_| E::custom(format!("expected a number, got {word:?}"))),
        }
    }
}

pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    Number::from(*value).serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Number::deserialize(from)?.value()
}

/// The same for a number that may be missing.
pub(super) mod option {
    use super::*;

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Number::from).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        Option::<Number>::deserialize(from)?.map(Number::value).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Row(#[serde(with = "super")] f64, #[serde(with = "super::option")] Option<f64>);

    #[test]
    fn every_number_comes_back() {
        for value in [0.1 + 0.2, -0.0, f64::MIN_POSITIVE / 8.0, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let text = serde_json::to_string(&Row(value, Some(value))).unwrap();
            let Row(one, other) = serde_json::from_str(&text).unwrap();
            assert_eq!((one.to_bits(), other.map(f64::to_bits)), (value.to_bits(), Some(value.to_bits())), "{text}");
        }
        assert_eq!(serde_json::to_string(&Row(1.5, None)).unwrap(), "[1.5,null]");
        assert!(serde_json::from_str::<Row>("[1.5, null]").unwrap().1.is_none());
        assert!(serde_json::from_str::<Row>(r#"["much", null]"#).is_err());
    }
}
