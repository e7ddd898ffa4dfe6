//! The host's network as the kernel knows it: addresses, links, routes, neighbours, without a child process.

pub mod announce;
pub mod arp;
pub mod cluster_ip;
pub mod multicast_mac;
pub mod ndisc;
pub mod netlink;
pub mod netns;
pub mod route_lookup;
