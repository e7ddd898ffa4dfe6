//! The client of persistent reservations against a simulated disk that was written from the standard on its own.

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
