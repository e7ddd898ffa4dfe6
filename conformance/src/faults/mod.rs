//! Faults with seeds: on UDP, on TCP, on processes.
