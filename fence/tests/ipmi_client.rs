//! The IPMI client against BMCs: our simulator (suites 3 and 17, quirks), the real `ipmi_sim` (suite 3, v1.5, bridging), and
//! the simulator itself against the real `ipmitool`.
//!
//! `ipmi_sim` has no SHA-256, so suite 17 stands on our simulator, which in turn is held to the standard by `ipmitool -C 17`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test starts the real ipmitool and ipmi_sim, reads its own settings, prints its figures and may panic"
)]

#[path = "ipmi/against_ipmi_sim.rs"]
mod against_ipmi_sim;
#[path = "ipmi/against_simulator.rs"]
mod against_simulator;
#[path = "ipmi/fault_schedules.rs"]
mod fault_schedules;
#[path = "ipmi/simulator_is_real.rs"]
mod simulator_is_real;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfence_fence::ipmi::{Privilege, Target, Version};
use zeroize::Zeroizing;

/// Administrator `admin` with the right password, suite 3, 5 seconds for everything.
fn target(address: SocketAddr) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        version: Version::V20 { suite: Some(3) },
        username: b"admin".to_vec(),
        password: Zeroizing::new(b"s3cret1".to_vec()),
        kg: None,
        privilege: Privilege::Administrator,
        bridge_to: None,
        packet_timeout: Duration::from_millis(400),
        connect_deadline: Instant::now() + Duration::from_secs(5),
        deadline: Instant::now() + Duration::from_secs(5),
        interrupted: || false,
    }
}

/// Runs the real ipmitool and gives its standard output and error together.
fn ipmitool(address: SocketAddr, args: &[&str]) -> String {
    let output = std::process::Command::new("ipmitool")
        .args([
            "-H",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
            "-U",
            "admin",
            "-P",
            "s3cret1",
            "-N",
            "1",
            "-R",
            "2",
        ])
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("ipmitool must be installed");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
