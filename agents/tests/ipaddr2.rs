//! `IPaddr2` on the real kernel: every case in a network and mount namespace of its own, on a wire to another one.
//! What happened is asked of `ip`, `nft`, `/proc` and the other end of the wire, never of the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

mod ipaddr2 {
    mod wire;
    mod world;

    mod announcements;
    mod bad_input;
    mod cluster_ip;
    mod duplicates;
    mod kill;
    mod life;
    mod link_and_namespace;
    mod loopback;
    mod no_forks;
    mod ocf_tester;
    mod parameters;
    mod places;
    mod situations;
    mod thousand;
    mod upstream;
}
