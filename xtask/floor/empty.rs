//! The least a Rust program can cost: `bench` builds it with the flags of the release profile.

fn main() {}
