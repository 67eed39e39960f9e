//! Asks the linker to make the program smaller: its pages are most of what the agent keeps in memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var_os(key).is_some_and(|found| found == value);
    // A word of lld, with which Rust links on this target and on no other.
    if is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release") {
        // What has to be relocated at the start is listed in a fiftieth of the room (DT_RELR, glibc 2.36).
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
