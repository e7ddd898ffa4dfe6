//! The client of persistent reservations against a simulated disk that was written from the standard on its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests say what they expect"
)]

#[path = "scsi/false_success.rs"]
mod false_success;
#[path = "scsi/fault_schedules.rs"]
mod fault_schedules;
#[path = "scsi/host.rs"]
mod host;
#[path = "scsi/interleavings.rs"]
mod interleavings;
#[path = "scsi/joining.rs"]
mod joining;
#[path = "scsi/nvme.rs"]
mod nvme;
