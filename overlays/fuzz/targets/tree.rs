//! Whole small trees in, as a fixture is written: each file after a line `//- path`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use overlays::tree::Fixture;
use overlays_fuzz::{exercise, tell_panics_apart};

fuzz_target!(init: tell_panics_apart(), |text: &str| {
    exercise(&Fixture::new(text), text.len() % 2 == 0);
});
