//! What one rendering reads: files within their bounds, parsed once, each counted among the inputs.
//!
//! It must not know what the files mean.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::diagnostic::Code;
use crate::error::{Error, Stage};
use crate::explain::query::nearest;
use crate::fields::edit;
use crate::layer::decode::Wrong;
use crate::object::Origin;
use crate::path::RepoPath;
use crate::remote::{self, Remote};
use crate::tree::{Blob, ContentId, Kind, Tree};
use crate::yaml::{self, Mark, Node};

/// Which files a layer may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restriction {
    /// Files in or below the directory of the kustomization that names them; other layers may be anywhere in the tree.
    #[default]
    Root,
    /// Files anywhere in the tree.
    None,
}

/// The documents of one file, shared by all who read it.
type Documents = Arc<[Arc<Node>]>;

/// What the nodes of a file are taken to need in memory, per byte of text. Measured: 5.3 to 5.8 for 2,486 manifests of public
/// repositories that have less than 20 kB, 2.1 for large CRDs.
const BYTES_PER_BYTE: usize = 6;

/// Parsed files by the ids of their contents, so that a file is parsed once, whatever path or commit it is in.
#[derive(Debug)]
pub struct Cache {
    limit: usize,
    used: usize,
    clock: u64,
    entries: HashMap<ContentId, Cached>,
}

#[derive(Debug)]
struct Cached {
    documents: Documents,
    bytes: usize,
    last_used: u64,
}

impl Default for Cache {
    /// 8 MiB, which is some 1.4 MB of manifests: what an agent of 24 MiB can spare.
    fn default() -> Self {
        Self::with_limit(8 << 20)
    }
}

impl Cache {
    /// A cache that holds nodes of about so many bytes.
    pub fn with_limit(bytes: usize) -> Self {
        Self { limit: bytes, used: 0, clock: 0, entries: HashMap::new() }
    }

    /// Whether a text of this length is kept: one file must not push out all others.
    fn takes(&self, text_bytes: usize) -> bool {
        text_bytes.saturating_mul(BYTES_PER_BYTE) <= self.limit / 2
    }

    fn get(&mut self, id: ContentId) -> Option<Documents> {
        self.clock += 1;
        let entry = self.entries.get_mut(&id)?;
        entry.last_used = self.clock;
        Some(Arc::clone(&entry.documents))
    }

    fn insert(&mut self, id: ContentId, documents: &Documents, text_bytes: usize) {
        let bytes = text_bytes.saturating_mul(BYTES_PER_BYTE);
        if !self.takes(text_bytes) {
            return;
        }
        while self.used + bytes > self.limit {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_used).map(|(id, _)| *id);
            let Some(removed) = oldest.and_then(|id| self.entries.remove(&id)) else { break };
            self.used -= removed.bytes;
        }
        self.used += bytes;
        self.entries.insert(id, Cached { documents: Arc::clone(documents), bytes, last_used: self.clock });
    }
}

/// The reader of one rendering.
pub(crate) struct Source<'a> {
    tree: &'a dyn Tree,
    cache: &'a mut Cache,
    restriction: Restriction,
    /// Whether kustomize is followed even where it harms its users.
    pub(crate) strict: bool,
    /// The files that marks may name; number 0 is left free for "the object's own file".
    files: Vec<RepoPath>,
    numbers: HashMap<RepoPath, u32>,
    /// What paths lead to, as far as that was asked.
    resolved: HashMap<RepoPath, Option<(RepoPath, Kind)>>,
    layers: BTreeSet<RepoPath>,
    /// Files that were read and are in no layer's directory, for they lie outside.
    others: BTreeSet<RepoPath>,
    /// Links that were followed. The directory that holds one does not cover what it leads to.
    linked: BTreeSet<RepoPath>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(tree: &'a dyn Tree, cache: &'a mut Cache, restriction: Restriction, strict: bool) -> Self {
        let files = vec![RepoPath::root()];
        Self {
            tree,
            cache,
            restriction,
            strict,
            files,
            numbers: HashMap::new(),
            resolved: HashMap::new(),
            layers: BTreeSet::new(),
            others: BTreeSet::new(),
            linked: BTreeSet::new(),
        }
    }

    pub(crate) fn tree(&self) -> &'a dyn Tree {
        self.tree
    }

    /// Counts everything in a directory among the inputs.
    pub(crate) fn enter(&mut self, directory: &RepoPath) {
        self.layers.insert(directory.clone());
    }

    /// The number by which marks name a file.
    pub(crate) fn number(&mut self, file: &RepoPath) -> u32 {
        if let Some(number) = self.numbers.get(file) {
            return *number;
        }
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(file.clone());
        self.numbers.insert(file.clone(), number);
        number
    }

    /// The files that were given numbers.
    pub(crate) fn files(&self) -> Arc<[RepoPath]> {
        self.files.as_slice().into()
    }

    /// The fewest paths that cover all that was read.
    pub(crate) fn inputs(&self) -> Vec<RepoPath> {
        let mut paths: Vec<(RepoPath, Option<RepoPath>)> = Vec::new();
        // A path that leads through a link is not covered by the directory that holds the link.
        let covers = |have: &RepoPath, path: &RepoPath| {
            path.is_within(have) && !self.linked.iter().any(|link| link != have && link.is_within(have) && path.is_within(link))
        };
        for path in self.layers.iter().chain(&self.others).chain(&self.linked).collect::<BTreeSet<_>>() {
            // Nor is what is of another repository by anything of this one.
            let of = self.repository(path);
            if !paths.iter().any(|(have, other)| of == *other && covers(have, path)) {
                paths.push((path.clone(), of));
            }
        }
        paths.into_iter().map(|(path, _)| path).collect()
    }

    /// What a path leads to, and where: a layer or file that is reached through a link is where the link leads, as in kustomize.
    /// The path counts among the inputs, for its content may change where no layer is.
    pub(crate) fn resolve(&mut self, path: &RepoPath) -> Result<Option<(RepoPath, Kind)>, Error> {
        if let Some(known) = self.resolved.get(path) {
            return Ok(known.clone());
        }
        let real = self.tree.real(path)?;
        let kind = real.as_ref().map_or(Ok(None), |_| self.tree.kind(path))?;
        if real.as_ref().is_some_and(|real| real != path) {
            self.note_links(path)?;
        }
        let found = real.zip(kind);
        self.resolved.insert(path.clone(), found.clone());
        Ok(found)
    }

    /// Counts the links on the way to a path among the inputs.
    fn note_links(&mut self, path: &RepoPath) -> Result<(), Error> {
        let mut here = path.clone();
        while let (Some(above), Some(name)) = (here.parent(), here.name()) {
            let straight = self.tree.real(&above)?.and_then(|real| real.join(name).ok());
            if straight != self.tree.real(&here)? {
                self.linked.insert(here.clone());
            }
            here = above;
        }
        Ok(())
    }

    /// The path that a layer means by a name. Out of a repository that was brought no path leads.
    ///
    /// # Errors
    /// It leads out of the repository, or can be no path at all.
    pub(crate) fn join(&self, layer: &RepoPath, name: &str) -> Result<RepoPath, Error> {
        let path = layer.join(name).map_err(|error| Error::new(Stage::Layer, error.to_string()))?;
        if self.repository(layer) == self.repository(&path) {
            return Ok(path);
        }
        let message = format!("`{name}` leads out of the repository that its kustomization is in");
        Err(Error::new(Stage::Layer, message).code_is(Code::PathForbidden).hint("name what is in another repository by its URL"))
    }

    /// The root of the remote base that a path is of.
    fn repository(&self, path: &RepoPath) -> Option<RepoPath> {
        self.tree.brought(path).and_then(|(remote, _)| remote.mount())
    }

    /// Where a remote base is, if it was brought.
    ///
    /// # Errors
    /// It was not, or the URL can be none of a base.
    pub(crate) fn remote(&self, url: &str) -> Result<RepoPath, Error> {
        let wrong = |why: String| Error::new(Stage::Layer, format!("`{}` can be no base: {why}", remote::without_credentials(url)));
        let remote = Remote::parse(url).unwrap_or_else(|| Err("it is no URL".to_owned())).map_err(wrong)?;
        self.tree.remote(&remote)?.ok_or_else(|| Error::Missing(Box::new(remote)))
    }

    /// The file that a layer names, with its path.
    ///
    /// # Errors
    /// There is no such file, or the layer may not read it.
    pub(crate) fn file(&mut self, layer: &RepoPath, name: &str) -> Result<(RepoPath, Blob), Error> {
        let path = self.allowed(layer, name)?;
        let blob = self.read(&path)?;
        Ok((path, blob))
    }

    /// The path of a file that a layer names.
    ///
    /// # Errors
    /// As [`Source::file`].
    pub(crate) fn allowed(&mut self, layer: &RepoPath, name: &str) -> Result<RepoPath, Error> {
        let path = if remote::is_page(name) { self.remote(name)? } else { self.join(layer, name)? };
        let found = self.resolve(&path)?;
        let real = found.as_ref().map_or(&path, |(real, _)| real);
        // What others have written never reads files out of its own directory, whatever is allowed here.
        let is_restricted = self.restriction == Restriction::Root || self.tree.brought(layer).is_some();
        if is_restricted && !remote::is_page(name) && !real.is_within(layer) {
            let message = format!("`{name}` is outside of `{layer}`, the directory of the kustomization that names it");
            return Err(Error::new(Stage::Layer, message).code_is(Code::PathForbidden).hint(
                "move the file below the kustomization, name a directory with a kustomization instead, or lift the load restriction",
            ));
        }
        match found.map(|(_, kind)| kind) {
            Some(Kind::Directory) => Err(Error::new(Stage::Layer, format!("`{name}` is a directory; a file is needed here"))),
            None => Err(self.missing_path(&path)),
            Some(Kind::File) => Ok(path),
        }
    }

    /// An error about a path that leads to nothing, with the name that was most likely meant.
    pub(crate) fn missing_path(&self, path: &RepoPath) -> Error {
        let error = Error::new(Stage::Layer, format!("`{path}` does not exist")).code_is(Code::PathMissing);
        let mut missing = path.clone();
        // What is missing may be a directory above.
        while let Some(above) = missing.parent() {
            if let Ok(Some(Kind::Directory)) = self.tree.kind(&above) {
                let names = self.tree.list(&above).unwrap_or_default();
                let name = missing.name().unwrap_or_default();
                return match nearest(name, names.keys().map(String::as_str)) {
                    Some(near) => error.hint(format!("did you mean `{near}`? It is in `{above}`")),
                    None => error,
                };
            }
            missing = above;
        }
        error
    }

    /// A file at a path that is known to be allowed.
    pub(crate) fn read(&mut self, path: &RepoPath) -> Result<Blob, Error> {
        self.note_read(path);
        self.tree.read(path)?.ok_or_else(|| self.missing_path(path))
    }

    /// Counts a file among the inputs, unless a layer's directory covers it.
    fn note_read(&mut self, path: &RepoPath) {
        if !self.layers.iter().any(|layer| path.is_within(layer)) {
            self.others.insert(path.clone());
        }
    }

    /// The documents of a resource file, which is not read if it is known.
    pub(crate) fn documents(&mut self, path: &RepoPath) -> Result<Documents, Error> {
        let known = self.tree.known_id(path)?;
        if let Some(documents) = known.and_then(|id| self.cache.get(id)) {
            self.note_read(path);
            return Ok(documents);
        }
        let blob = self.read(path)?;
        let id = blob.id.or_else(|| self.cache.takes(blob.bytes.len()).then(|| digest(&blob.bytes)));
        if let Some(documents) = id.filter(|_| known.is_none()).and_then(|id| self.cache.get(id)) {
            return Ok(documents);
        }
        let nodes = match yaml::parse(&blob.bytes, &yaml::Limits::default()) {
            Err(error) if error.message().starts_with("mapping key") => with_doubles(&blob.bytes).ok_or(error),
            read => read,
        };
        let nodes = nodes.map_err(|error| Error::yaml(path, &error))?;
        let is_list = |node: &Node| node.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
        let is_first_of_several = matches!(nodes.as_slice(), [one] if is_list(one)) && memmem::find(&blob.bytes, b"\n---").is_some();
        // A list that is alone in its file is another thing to kustomize than one with an empty document beside it.
        let beside = is_first_of_several.then(Node::map);
        let documents: Documents = nodes.into_iter().chain(beside).map(Arc::new).collect();
        id.into_iter().for_each(|id| self.cache.insert(id, &documents, blob.bytes.len()));
        Ok(documents)
    }

    /// A configuration file: its first document.
    pub(crate) fn config(&mut self, path: &RepoPath, blob: &Blob) -> Result<Option<Node>, Error> {
        yaml::parse_config(&blob.bytes, &yaml::Limits::default()).map_err(|error| Error::yaml(path, &error))
    }

    /// An error at a place in a file, with the line that stands there.
    pub(crate) fn place(&self, error: Error, file: &RepoPath, mark: Mark) -> Error {
        let origin = Origin { file: file.clone(), line: mark.line, column: mark.column };
        match error.place() {
            // The name in a patch is no secret; what else was placed without its line may be.
            Some(place) if error.code() == Code::PatchTargetMissing && place.line_text.is_empty() => {
                let line = self.line(&place.origin);
                error.with_line(line)
            }
            Some(_) => error,
            None => {
                let line = self.line(&origin);
                error.at(origin).with_line(line)
            }
        }
    }

    /// The line at a place, unless it may hold a secret: a patch or an object in one line.
    fn line(&self, origin: &Origin) -> String {
        let blob = if origin.line > 0 { self.tree.read(&origin.file).ok().flatten() } else { None };
        let text = blob.map(|blob| String::from_utf8_lossy(&blob.bytes).into_owned()).unwrap_or_default();
        let line = text.lines().nth((origin.line as usize).saturating_sub(1)).unwrap_or_default();
        let without_metadata = line.replace("metadata", "");
        let may_hold_a_secret = ["value", "Data", "data:", "data\""].iter().any(|word| without_metadata.contains(word));
        // As `https://user:token@host`.
        let has_login =
            line.split_once("://").is_some_and(|(_, rest)| rest.split(['/', '?']).next().is_some_and(|host| host.contains('@')));
        if may_hold_a_secret || has_login { String::new() } else { line.to_owned() }
    }

    /// What a configuration does wrong, at its place.
    pub(crate) fn wrong(&self, wrong: Wrong, stage: Stage, file: &RepoPath) -> Error {
        let error = wrong.code.into_iter().fold(Error::new(stage, wrong.message), Error::code_is);
        let error = self.place(error, file, wrong.mark.unwrap_or_default());
        wrong.hint.into_iter().fold(error, Error::hint)
    }
}

/// Names a content where the store does not.
fn digest(bytes: &[u8]) -> ContentId {
    let mut id = [0; 20];
    id.copy_from_slice(&Sha256::digest(bytes)[..20]);
    ContentId(id)
}

/// The documents of a file with keys that are there twice. kustomize bears it in annotations, which it writes anew.
fn with_doubles(bytes: &[u8]) -> Option<Vec<Node>> {
    let mut nodes = yaml::parse_patch(bytes, &yaml::Limits::default()).ok()?;
    for metadata in nodes.iter_mut().filter_map(|node| node.get_mut("metadata")) {
        edit::join(metadata, "annotations");
    }
    nodes.iter().all(|node| edit::double_key(node).is_none()).then_some(nodes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::tree::{Fixture, TreeError};

    /// A tree that knows the ids of its files, as Git does, and tells which of them are read.
    struct Told(Fixture, Mutex<Vec<String>>);

    impl Tree for Told {
        fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
            self.0.kind(path)
        }

        fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
            self.1.lock().unwrap().push(path.to_string());
            self.0.read(path)
        }

        fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
            self.0.list(path)
        }

        fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
            self.0.id(path)
        }

        fn known_id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
            self.0.id(path)
        }
    }

    #[test]
    fn a_resource_is_read_once_and_not_at_all_where_its_content_is_known() {
        let files = "//- kustomization.yaml\nresources: [a.yaml, b.yaml]\n//- a.yaml\nkind: A\nmetadata: {name: a}\n//- b.yaml\nkind: B\nmetadata: {name: b}\n";
        let tree = Told(Fixture::new(files), Mutex::default());
        let mut cache = Cache::default();
        let mut rendered = || {
            let rendered = crate::render(&tree, &RepoPath::root(), &crate::Options::default(), &mut cache).unwrap();
            (rendered.manifest.to_yaml().unwrap(), std::mem::take(&mut *tree.1.lock().unwrap()))
        };
        let (first, read) = rendered();
        assert_eq!(read, ["kustomization.yaml", "a.yaml", "b.yaml"]);
        let (second, read) = rendered();
        assert_eq!((second, read), (first, vec!["kustomization.yaml".to_owned()]));
    }

    #[test]
    fn the_cache_keeps_what_was_used_last_and_stays_in_its_limit() {
        let id = |byte| ContentId([byte; 20]);
        let documents: Documents = Vec::new().into();
        let mut cache = Cache::with_limit(10 * BYTES_PER_BYTE);
        cache.insert(id(1), &documents, 4);
        cache.insert(id(2), &documents, 4);
        assert!(cache.get(id(1)).is_some());
        cache.insert(id(3), &documents, 4);
        assert!(cache.get(id(1)).is_some() && cache.get(id(2)).is_none() && cache.get(id(3)).is_some());
        assert!(cache.used <= cache.limit);
    }
}
