pub mod http;
pub mod ipmi;
pub mod tcp;
pub mod tls;
