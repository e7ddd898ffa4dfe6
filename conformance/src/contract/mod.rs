//! The cases that every agent gets for free, from its metadata alone.

mod fence;
mod resource_actions;

use crate::case::Case;

pub fn all() -> Vec<Case> {
    let mut cases = resource_actions::cases();
    cases.extend(fence::all());
    cases
}
