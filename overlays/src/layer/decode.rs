//! Reads a kustomization file's nodes into types, with the place of whatever is wrong.
//!
//! It must not know which fields there are: the types say that, through serde. What it adds is what Go's JSON decoder does for
//! kustomize: keys in any case, null as nothing, YAML 1.1 scalars, no conversion between types, unknown fields refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::diagnostic::Code;
use crate::yaml::{self, Dialect, Entry, Mark, Node, Scalar, Value, short_float};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) mark: Option<Mark>,
    pub(crate) hint: Option<String>,
    /// What kind of mistake it is, where more is known than that it is one.
    pub(crate) code: Option<Code>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), mark: None, hint: None, code: None }
    }
}

impl Wrong {
    fn at(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }
}

/// A value, and where it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) mark: Mark,
}

const PLACED: &str = "$placed";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Placed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let line = parts.next_element()?.unwrap_or_default();
                let column = parts.next_element()?.unwrap_or_default();
                let mark = Mark { file: 0, line, column };
                let value = parts.next_element()?.ok_or_else(|| de::Error::custom("a value is missing"))?;
                Ok(Placed { value, mark })
            }
        }
        deserializer.deserialize_newtype_struct(PLACED, Parts(std::marker::PhantomData))
    }
}

/// How exactly a file must be what is expected. kustomize reads each kind of file in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A kustomization: unknown fields are refused, and a number is no string.
    Kustomization,
    /// A file of `configurations`: unknown fields are refused, and a number is taken for a string where one is needed.
    Additions,
    /// The configuration of a step: unknown fields are passed over, and a number is taken for a string where one is needed.
    Step,
    /// The same, but a number is no string.
    Generator,
}

const EXACT: &str = "$exact";

/// A value in which a number is no string, in whatever file: kustomize takes one for the other only where the type itself has the
/// field, not where it has it from a type that it embeds (the kind of a field, of a selector, of a source).
///
/// # Errors
/// The value has another type.
pub(crate) fn exact<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Inner<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
            T::deserialize(deserializer)
        }
    }
    deserializer.deserialize_newtype_struct(EXACT, Inner(std::marker::PhantomData))
}

/// Reads a node into a type.
///
/// # Errors
/// A value has another type, or a field is unknown.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node, mode: Mode) -> Result<T, Wrong> {
    let is_lax = matches!(mode, Mode::Additions | Mode::Step);
    T::deserialize(Reader { node, knows_all: matches!(mode, Mode::Kustomization | Mode::Additions), is_lax })
}

#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
    /// Whether an unknown field is an error.
    knows_all: bool,
    /// Whether a number is taken for a string.
    is_lax: bool,
}

impl<'de> Reader<'de> {
    fn child(self, node: &'de Node) -> Self {
        Self { node, ..self }
    }

    fn is_null(self) -> bool {
        self.node.is_null(Dialect::Config)
    }

    fn scalar(self) -> Result<Scalar<'de>, Wrong> {
        self.node.resolve(Dialect::Config).map_err(|error| <Wrong as de::Error>::custom(error.message()).at(self.node.mark))
    }

    fn wrong(self, expected: &str) -> Wrong {
        let found = match &self.node.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(..) => self.scalar().map_or("an unreadable value", |scalar| scalar.type_name()),
        };
        let quote = match (&self.node.value, expected) {
            (Value::Scalar(text, ..), "a string") if !self.is_null() => Some(format!("write it in quotes: \"{}\"", &**text)),
            _ => None,
        };
        Wrong { message: format!("{expected} was expected, and {found} was found"), mark: Some(self.node.mark), hint: quote, code: None }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.scalar() {
                Ok(Scalar::Null) => visitor.$visit(0),
                Ok(Scalar::Int(value)) => match <$type>::try_from(value) {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(self.wrong("a smaller number")),
                },
                _ => Err(self.wrong("a whole number")),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(..) => match self.scalar()? {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Int(value) => match i64::try_from(value) {
                    Ok(value) => visitor.visit_i64(value),
                    Err(_) => visitor.visit_str(&value.to_string()),
                },
                Scalar::Float(value) => visitor.visit_f64(value),
                Scalar::Timestamp(text) => visitor.visit_string(text),
                Scalar::Str(text) => visitor.visit_str(&text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.scalar() {
            Ok(Scalar::Null) => visitor.visit_bool(false),
            Ok(Scalar::Bool(value)) => visitor.visit_bool(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    integers!(deserialize_i64 visit_i64 i64, deserialize_u32 visit_u32 u32);

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.scalar() {
            Ok(Scalar::Null) => visitor.visit_str(""),
            Ok(Scalar::Str(text)) => visitor.visit_str(&text),
            Ok(Scalar::Timestamp(text)) => visitor.visit_string(text),
            Ok(Scalar::Bool(value)) if self.is_lax => visitor.visit_string(value.to_string()),
            Ok(Scalar::Int(value)) if self.is_lax => visitor.visit_string(value.to_string()),
            Ok(Scalar::Float(value)) if self.is_lax && value.is_finite() => visitor.visit_string(short_float(value)),
            _ => Err(self.wrong("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            _ if self.is_null() => visitor.visit_seq(Items { reader: self, items: [].iter() }),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| Ok((key_text(entry)?, &entry.value))).collect::<Result<_, Wrong>>()?;
                visitor.visit_map(Fields { reader: self, entries, value: None })
            }
            _ if self.is_null() => visitor.visit_map(Fields { reader: self, entries: Vec::new(), value: None }),
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Map(entries) => {
                let entries = self.known(entries, fields)?;
                visitor.visit_map(Fields { reader: self, entries, value: None })
            }
            _ if self.is_null() => visitor.visit_map(Fields { reader: self, entries: Vec::new(), value: None }),
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        if name == PLACED {
            return visitor.visit_seq(Place { reader: self, next: 0 });
        }
        visitor.visit_newtype_struct(Self { is_lax: self.is_lax && name != EXACT, ..self })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

impl<'de> Reader<'de> {
    /// The entries that a type has fields for, under the names of these; the last of several wins, and null is nothing.
    fn known(self, entries: &'de [Entry], fields: &'static [&'static str]) -> Result<Vec<(String, &'de Node)>, Wrong> {
        let mut known: Vec<(String, &Node)> = Vec::new();
        for entry in entries {
            let key = key_text(entry)?;
            let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) else {
                if self.knows_all {
                    return Err(unknown(&key, entry.key.mark, fields));
                }
                continue;
            };
            known.retain(|(name, _)| name != field);
            if !entry.value.is_null(Dialect::Config) {
                known.push(((*field).to_owned(), &entry.value));
            }
        }
        Ok(known)
    }
}

fn unknown(key: &str, mark: Mark, fields: &[&str]) -> Wrong {
    let nearest = fields.iter().map(|field| (strsim::osa_distance(&key.to_lowercase(), &field.to_lowercase()), field)).min();
    let hint = match nearest {
        Some((distance, field)) if distance <= 1 + key.len() / 3 => format!("did you mean `{field}`?"),
        _ => format!("the fields here are {}", fields.join(", ")),
    };
    Wrong { message: format!("unknown field `{key}`"), mark: Some(mark), hint: Some(hint), code: Some(Code::UnknownField) }
}

/// A key as JSON has it: YAML 1.1 reads `y` as true.
fn key_text(entry: &Entry) -> Result<String, Wrong> {
    let text = yaml::key_text(&entry.key, Dialect::Config, false);
    text.map(Cow::into_owned).map_err(|error| <Wrong as de::Error>::custom(error.message()).at(entry.key.mark))
}

struct Items<'de> {
    reader: Reader<'de>,
    items: std::slice::Iter<'de, Node>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(item) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.child(item)).map(Some).map_err(|wrong| wrong.at(item.mark))
    }
}

struct Fields<'de> {
    reader: Reader<'de>,
    entries: Vec<(String, &'de Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Wrong;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let (key, value) = self.entries.remove(0);
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let value = self.value.take().unwrap_or(self.reader.node);
        seed.deserialize(self.reader.child(value)).map_err(|wrong| wrong.at(value.mark))
    }
}

/// The line, the column and the value of a [`Placed`].
struct Place<'de> {
    reader: Reader<'de>,
    next: u8,
}

impl<'de> SeqAccess<'de> for Place<'de> {
    type Error = Wrong;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.next += 1;
        let mark = self.reader.node.mark;
        match self.next {
            1 => seed.deserialize(mark.line.into_deserializer()).map(Some),
            2 => seed.deserialize(mark.column.into_deserializer()).map(Some),
            3 => seed.deserialize(self.reader).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_proposed() {
        let fields = ["resources", "namespace", "patches"];
        assert_eq!(unknown("resorces", Mark::default(), &fields).hint.unwrap(), "did you mean `resources`?");
        assert_eq!(unknown("x", Mark::default(), &fields).hint.unwrap(), "the fields here are resources, namespace, patches");
    }
}
