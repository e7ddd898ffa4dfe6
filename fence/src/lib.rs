pub mod http;
pub mod ipmi;
pub mod ribcl;
pub mod ssh;
pub mod tcp;
pub mod tls;
pub mod xenapi;
