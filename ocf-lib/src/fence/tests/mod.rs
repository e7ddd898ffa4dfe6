//! The contract of a fence agent, line by line, on a device made of values and a clock that jumps.

mod actions;
mod dialect;
mod documents;
mod fabric;
mod fake;
mod input;
mod own_reboot;
mod truth;
