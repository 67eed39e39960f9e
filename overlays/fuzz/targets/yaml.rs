//! YAML in: resources and configurations. What is printed of a resource can be read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlays::yaml::{self, Limits};

fuzz_target!(init: overlays_fuzz::tell_panics_apart(), |text: &[u8]| {
    let limits = Limits { bytes: 1 << 20, depth: 200, nodes: 100_000, documents: 1_000 };
    if let Ok(Some(node)) = yaml::parse_config(text, &limits) {
        let _ = yaml::go_json(&node);
    }
    // kustomize prints a key `<<` as if it were one that merges, and so does this crate.
    let has_merge_key = text.windows(2).any(|two| two == b"<<");
    for node in yaml::parse(text, &limits).unwrap_or_default() {
        let _ = yaml::go_json(&node);
        let mut printed = String::new();
        if yaml::emit(&node, &mut printed).is_ok() && !has_merge_key {
            let again = yaml::parse(printed.as_bytes(), &Limits::default());
            assert!(again.is_ok(), "{printed:?}: {again:?}");
        }
    }
});
