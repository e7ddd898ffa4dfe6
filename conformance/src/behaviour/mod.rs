//! Behaviour cases of single agents, in a small vocabulary: given, with, run, expect, then observe.

use crate::case::Case;

pub fn all() -> Vec<Case> {
    Vec::new()
}
