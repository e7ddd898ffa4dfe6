//! Networks between an agent and a device that misbehave by a seed.
//!
//! The same seed is the same fate, whatever the clock does: a finding can be played again.

pub mod ledger;
mod random;
pub mod tcp;
pub mod tls;
pub mod udp;

pub use random::SplitMix64;
