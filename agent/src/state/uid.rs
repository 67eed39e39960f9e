//! The uid of an object, in a quarter of the room that its text takes.

use std::fmt;

/// Names one object for all time. API servers make UUIDs; what is none is kept as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Uid {
    /// Nobody has told it yet, or the object is not there.
    #[default]
    Unknown,
    /// A UUID.
    Uuid([u8; 16]),
    /// Any other text.
    Other(Box<str>),
}

/// The places of the hyphens of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Uid {
    /// Whether it was told.
    pub fn is_known(&self) -> bool {
        *self != Self::Unknown
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        match uuid(text.as_bytes()) {
            _ if text.is_empty() => Self::Unknown,
            Some(bytes) => Self::Uuid(bytes),
            None => Self::Other(text.into()),
        }
    }
}

/// The bytes of a UUID as API servers write it, in lower case.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 36 || HYPHENS.iter().any(|place| text[*place] != b'-') {
        return None;
    }
    let mut digits = text.iter().enumerate().filter(|(place, _)| !HYPHENS.contains(place)).map(|(_, byte)| digit(*byte));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(bytes)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Other(text) => f.write_str(text),
            Self::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(place, byte)| {
                let hyphen = if [4, 6, 8, 10].contains(&place) { "-" } else { "" };
                write!(f, "{hyphen}{byte:02x}")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_reads_as_it_was_written_and_a_uuid_takes_no_room_of_its_own() {
        for text in [
            "",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "0F8FAD5B-D9CB-469F-A165-70867728950E",
            "u",
            "0f8fad5b-d9cb-469f-a165-70867728950g",
        ] {
            assert_eq!(Uid::from(text).to_string(), text);
        }
        assert!(matches!(Uid::from("0f8fad5b-d9cb-469f-a165-70867728950e"), Uid::Uuid(_)));
        assert_ne!(Uid::from("0f8fad5b-d9cb-469f-a165-70867728950e"), Uid::from("0f8fad5b-d9cb-469f-a165-70867728950f"));
        assert!(!Uid::from("").is_known() && Uid::from("u").is_known());
    }
}
