//! Ringfence's test beds: real clusters in namespaces, device simulators, snapshots.

pub mod cluster;

pub mod lab;

pub mod sim;

pub mod subjects;
