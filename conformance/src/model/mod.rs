//! Random sequences of actions and outside events against a small model of each kind of resource.

use crate::case::Case;

pub fn all() -> Vec<Case> {
    Vec::new()
}
