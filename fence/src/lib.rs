pub mod ipmi;
