//! What the judge lends to others: faults on the way between an agent and its device.
//!
//! The judge itself is the program `ringfence-conformance`; test beds that want the same faults with the same seeds use this.

pub mod relay;
