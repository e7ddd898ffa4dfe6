pub mod http;
pub mod ipmi;
pub mod persistent_reservation;
pub mod ribcl;
pub mod ssh;
pub mod tcp;
pub mod tls;
pub mod xenapi;
