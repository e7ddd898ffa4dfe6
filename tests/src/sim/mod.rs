//! Device simulators. The network between them and the subject that misbehaves by a seed is `ringfence_conformance::relay`.
//!
//! They share no code with the agents: each is written from the standard on its own, so that one misreading cannot hide in both.

pub mod bmc;
mod bmc_commands;
mod bmc_handshake;
mod bmc_wire;
pub mod control;
pub mod ipmi_sim;
pub mod nvme_reservation;
pub mod persistent_reservation;
mod persistent_reservation_answer;
mod persistent_reservation_file;
pub mod power_file;
pub mod ribcl;
mod ribcl_answers;
pub mod xenapi;
mod xenapi_faults;
mod xenapi_http;
mod xenapi_methods;
mod xenapi_pool;
mod xenapi_value;

pub use ringfence_conformance::relay::SplitMix64;
