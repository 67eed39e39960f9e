//! What the targets share: a tree that has something of everything, and all that is done with a rendering.
//!
//! It must not know where the input comes from.

use std::panic;

use overlays::explain;
use overlays::tree::Fixture;
use overlays::{Cache, Look, Options, RepoPath, diff, render};

/// Objects, layers and files that a kustomization or a patch may name.
pub const NEIGHBOURS: &str = include_str!("neighbours.txt");

/// Lets panics of the scanner pass, which the crate catches and tells as errors; all others end the run.
pub fn tell_panics_apart() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |told| {
        let is_contained = told.location().is_some_and(|place| place.file().contains("libyaml-safer"));
        if !is_contained {
            end(told);
        }
    }));
}

/// The neighbours with one more file.
pub fn with_file(path: &str, content: &[u8]) -> Fixture {
    let mut tree = Fixture::new(NEIGHBOURS);
    if let Ok(path) = RepoPath::new(path) {
        tree.insert(path, content.to_vec());
    }
    tree
}

/// Renders a tree, prints what comes of it or what is wrong, and asks for the story of its first object.
pub fn exercise(tree: &Fixture, strict: bool) {
    let (root, options) = (RepoPath::root(), Options { strict, ..Options::default() });
    let mut cache = Cache::default();
    match render(tree, &root, &options, &mut cache) {
        Ok(rendered) => {
            let _ = rendered.manifest.to_yaml();
            let objects = rendered.manifest.objects();
            let _ = diff::compare(objects, &objects[objects.len() / 2..]);
            if let Some(object) = objects.first()
                && let Ok(found) = explain::explain(tree, &root, &options, &mut cache, object, "")
            {
                found.text(&Look::plain());
            }
        }
        Err(errors) => {
            errors.text(&Look::plain());
        }
    }
}
