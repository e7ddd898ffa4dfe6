//! The contract of a fence agent.

mod actions;
mod device;
mod endings;
mod form;
mod input;
mod metadata;
mod metadata_calls;
mod secrets;
mod values;
mod verified;

use crate::case::Case;

pub fn all() -> Vec<Case> {
    let parts = [
        metadata::cases(),
        metadata_calls::cases(),
        input::cases(),
        actions::cases(),
        values::cases(),
        secrets::cases(),
        device::cases(),
        endings::cases(),
        verified::cases(),
    ];
    parts.into_iter().flatten().collect()
}
