//! A kustomization in, with neighbours that it may name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlays_fuzz::{exercise, tell_panics_apart, with_file};

fuzz_target!(init: tell_panics_apart(), |text: &[u8]| {
    let names_resources = text.windows(9).any(|word| word == b"resources");
    let before: &[u8] = if names_resources { b"" } else { b"resources: [all.yaml, base]\n" };
    exercise(&with_file("kustomization.yaml", &[before, text].concat()), text.len() % 2 == 0);
});
