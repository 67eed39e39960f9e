//! Patches in, strategic or JSON, for one object or for all; what follows a line `===` is patched too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlays::RepoPath;
use overlays_fuzz::{exercise, tell_panics_apart, with_file};

const BY_ITSELF: &[u8] = b"resources: [all.yaml, base, more.yaml]\npatches: [{path: input.yaml}]\n";
const FOR_ALL: &[u8] = b"resources: [all.yaml, base, more.yaml]\npatches: [{path: input.yaml, target: {kind: .*}}]\n";

fuzz_target!(init: tell_panics_apart(), |text: &[u8]| {
    let cut = text.windows(5).position(|line| line == b"\n===\n");
    let (patch, more) = cut.map_or((text, &b""[..]), |at| (&text[..at + 1], &text[at + 5..]));
    for kustomization in [BY_ITSELF, FOR_ALL] {
        let mut tree = with_file("kustomization.yaml", kustomization);
        for (path, content) in [("input.yaml", patch), ("more.yaml", more)] {
            tree.insert(RepoPath::new(path).unwrap(), content.to_vec());
        }
        exercise(&tree, text.len() % 2 == 0);
    }
});
