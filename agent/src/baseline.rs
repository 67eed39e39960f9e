//! What was applied and what the server made of it, small enough to outlive the process: a restart with nothing changed applies nothing.
//!
//! Pure: whoever keeps the bytes decides where. What can't be read is as good as nothing, for then each object is looked at once.

use std::collections::BTreeMap;

use overlays::object::ObjectId;
use xxhash_rust::xxh3::Xxh3;

/// Begins what is kept. The number changes with the way in which bodies or projections are hashed: what another version kept says nothing.
const MAGIC: &[u8; 8] = b"plimbl01";
/// The bytes of one object: the hash of its id, of its body, of its projection.
const ENTRY: usize = 24;
/// How many objects are kept: a Secret takes 1 MiB. Those beyond are looked at once after a restart.
const MOST: usize = 40_000;

/// How an object was when it was last applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// The hash of the body that was sent; 0 where nothing is known.
    pub body: u64,
    /// The projection hash of the answer: our fields as the server holds them. 0 where nothing is known.
    pub live: u64,
}

impl Baseline {
    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.live != 0
    }
}

/// The baselines of all objects of a Sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baselines(BTreeMap<u64, Baseline>);

impl Baselines {
    /// Of these objects; what is not known is left out.
    pub fn new(objects: impl Iterator<Item = (ObjectId, Baseline)>) -> Self {
        Self(objects.filter(|(_, baseline)| baseline.is_known()).map(|(id, baseline)| (key(&id), baseline)).take(MOST).collect())
    }

    /// What is known of an object.
    pub fn get(&self, id: &ObjectId) -> Baseline {
        self.0.get(&key(id)).copied().unwrap_or_default()
    }

    /// Whether nothing is known of any object.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As bytes, about 24 an object.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (key, baseline) in &self.0 {
            bytes.extend([*key, baseline.body, baseline.live].iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes
    }

    /// Reads [`Baselines::encode`]; what is cut off or from another version is nothing.
    pub fn decode(bytes: &[u8]) -> Self {
        let Some(entries) = bytes.strip_prefix(MAGIC) else { return Self::default() };
        Self(entries.chunks_exact(ENTRY).filter_map(entry).take(MOST).collect())
    }
}

fn entry(bytes: &[u8]) -> Option<(u64, Baseline)> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, Baseline { body: number(8)?, live: number(16)? }))
}

/// The hash of a body that is applied.
pub fn of_body(body: &serde_json::Value) -> u64 {
    let mut hash = Xxh3::new();
    // Maps of JSON values are sorted, so the same body is the same text; a hash takes all that it is given.
    _ = serde_json::to_writer(Writer(&mut hash), body);
    hash.digest()
}

struct Writer<'a>(&'a mut Xxh3);

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn key(id: &ObjectId) -> u64 {
    let mut hash = Xxh3::new();
    for part in [&id.group, &id.kind, &id.namespace, &id.name] {
        hash.update(part.as_bytes());
        // No name holds this byte, so no two ids run together.
        hash.update(&[0]);
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId { kind: "ConfigMap".into(), namespace: "web".into(), name: name.into(), ..ObjectId::default() }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let objects = [(id("a"), Baseline { body: 1, live: 2 }), (id("b"), Baseline { body: 3, live: 4 }), (id("c"), Baseline::default())];
        let kept = Baselines::new(objects.iter().cloned());
        let read = Baselines::decode(&kept.encode());
        assert_eq!(read, kept);
        assert_eq!((read.get(&id("b")), read.get(&id("c")).is_known()), (Baseline { body: 3, live: 4 }, false));
        assert_eq!(kept.encode().len(), 8 + 2 * 24, "what is not known takes no room");
    }

    #[test]
    fn what_is_cut_off_or_from_another_version_is_nothing() {
        let whole = Baselines::new([(id("a"), Baseline { body: 1, live: 2 })].into_iter()).encode();
        assert!(Baselines::decode(&whole[..20]).is_empty());
        assert!(Baselines::decode(b"plimbl99aaaaaaaaaaaaaaaaaaaaaaaa").is_empty());
        assert!(Baselines::decode(b"").is_empty());
    }

    #[test]
    fn ids_do_not_run_together() {
        let split = |namespace: &str, name: &str| key(&ObjectId { namespace: namespace.into(), name: name.into(), ..ObjectId::default() });
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }
}
