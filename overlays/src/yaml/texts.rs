//! Short texts come again and again in a document (keys, kinds, types): they are kept once and shared.
//!
//! It must not know what a text means.

use super::Text;

/// Longer ones hardly come twice.
const SHORT: usize = 24;
/// How many texts are remembered; two that fall on the same place displace each other, and are then kept twice.
const PLACES: usize = 1 << 10;

/// The texts that were seen of late.
pub(super) struct Texts {
    seen: Vec<Option<Text>>,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self { seen: vec![None; PLACES] }
    }

    /// The text, shared with others that read the same.
    pub(super) fn share(&mut self, text: &str) -> Text {
        if text.len() > SHORT {
            return Text::from(text);
        }
        let Some(place) = self.seen.get_mut(place(text.as_bytes())) else { return Text::from(text) };
        match place {
            Some(seen) if **seen == *text => seen.clone(),
            _ => place.insert(Text::from(text)).clone(),
        }
    }
}

/// Where a text is remembered: a hash that costs less than the text it saves.
fn place(bytes: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let (whole, rest) = bytes.as_chunks::<8>();
    let mixed = whole.iter().fold(word(rest) ^ (bytes.len() as u64) << 56, |mixed, chunk| {
        (mixed.rotate_left(5) ^ u64::from_le_bytes(*chunk)).wrapping_mul(FACTOR)
    });
    usize::try_from(mixed.wrapping_mul(FACTOR) >> 40).unwrap_or_default() % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_kept_once() {
        let mut texts = Texts::new();
        let (one, other) = (texts.share("metadata"), texts.share("metadata"));
        assert!(one.is(&other) && *one == *"metadata");
        assert_eq!(&*texts.share(""), "");
        let long = "x".repeat(SHORT + 1);
        assert_eq!(*texts.share(&long), *long);
    }
}
