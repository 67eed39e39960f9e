//! The text of an object as a tree that borrows from it, and so copies no name and no text. It holds what health rules ask for and no more:
//! of numbers only whole ones.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Lean<'a> {
    /// Nothing that anybody asks for.
    #[default]
    Other,
    Flag(bool),
    Int(i64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl Lean<'_> {
    /// A field of a map; where a name is there twice, the last, as everywhere.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(fields) = self else { return None };
        fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Lean<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Lean<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Lean<'de>, E> {
        Ok(Lean::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Lean<'de>, E> {
        Ok(Lean::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Lean<'de>, E> {
        Ok(i64::try_from(value).map_or(Lean::Other, Lean::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Lean<'de>, E> {
        Ok(Lean::Other)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Lean<'de>, E> {
        Ok(Lean::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Lean<'de>, E> {
        Ok(Lean::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Lean<'de>, E> {
        Ok(Lean::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lean<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Lean::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lean<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            fields.push((key, map.next_value()?));
        }
        Ok(Lean::Map(fields))
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn lean(text: &str) -> Lean<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_there_and_the_rest_is_nothing() {
        let tree = lean(r#"{"a": "x", "b\u0041": "y\n", "n": [1, 1.5, 18446744073709551615, null, true, {}], "a": "z"}"#);
        assert_eq!(tree.get("a"), Some(&Lean::Text("z".into())), "the last of two");
        assert_eq!(tree.get("bA"), Some(&Lean::Text("y\n".into())));
        let (other, map) = (Lean::Other, Lean::Map(Vec::new()));
        assert_eq!(tree.get("n"), Some(&Lean::List(vec![Lean::Int(1), other.clone(), other.clone(), other, Lean::Flag(true), map])));
        assert_eq!((tree.get("c"), Lean::Other.get("a")), (None, None));
    }
}
