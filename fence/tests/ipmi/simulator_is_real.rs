//! Our simulator, judged by a client that is not ours: the real ipmitool must open sessions, read and switch the power.

use std::time::Instant;

use ringfence_fence::ipmi::{Session, Target, Version};
use ringfence_tests::sim::bmc::{Bmc, Config};

use super::{ipmitool, target};

fn on_off_on(bmc: &Bmc, interface: &[&str]) {
    let ask = |words: &[&str]| ipmitool(bmc.address(), &[interface, words].concat());
    assert_eq!(ask(&["chassis", "power", "status"]), "Chassis Power is on\n", "{interface:?}");
    ask(&["chassis", "power", "off"]);
    assert!(!bmc.is_on(), "{interface:?}");
    assert_eq!(ask(&["chassis", "power", "status"]), "Chassis Power is off\n", "{interface:?}");
    let text = ask(&["chassis", "power", "cycle"]);
    assert!(text.contains("not supported in present state"), "{text}");
    ask(&["chassis", "power", "on"]);
    assert!(bmc.is_on(), "{interface:?}");
    assert_eq!(bmc.open_sessions(), 0, "{interface:?}");
}

#[test]
fn ipmitool_speaks_every_suite_with_it() {
    let bmc = Bmc::start(Config { suites: vec![17, 3, 1, 2, 15, 16], ..Config::default() }).unwrap();
    for suite in ["17", "3", "1", "2", "15", "16"] {
        on_off_on(&bmc, &["-I", "lanplus", "-C", suite]);
    }
    // and by itself, from the list of cipher suites
    on_off_on(&bmc, &["-I", "lanplus"]);
}

#[test]
fn ipmitool_needs_the_kg() {
    let bmc = Bmc::start(Config { kg: Some(b"0123456789abcdefghij".to_vec()), ..Config::default() }).unwrap();
    for suite in ["17", "3"] {
        on_off_on(&bmc, &["-I", "lanplus", "-C", suite, "-k", "0123456789abcdefghij"]);
    }
    for suite in ["17", "3"] {
        let text = ipmitool(bmc.address(), &["-I", "lanplus", "-C", suite, "chassis", "power", "status"]);
        assert!(!text.contains("Power is"), "{text}");
    }
}

#[test]
fn ipmitool_speaks_version_1_5_with_it() {
    let bmc = Bmc::start(Config::default()).unwrap();
    for auth in ["MD5", "PASSWORD", "NONE"] {
        on_off_on(&bmc, &["-I", "lan", "-A", auth]);
    }
}

#[test]
fn ipmitool_bridges_through_it() {
    let bmc = Bmc::start(Config { bridged: [(0x72, true)].into(), ..Config::default() }).unwrap();
    let text =
        ipmitool(bmc.address(), &["-I", "lanplus", "-C", "3", "-t", "0x72", "chassis", "power", "off"]);
    assert_eq!(bmc.bridged_is_on(0x72), Some(false), "{text}");
    assert!(bmc.is_on());
}

/// Ours and ipmitool's on the same work, pair by pair, with the suite that `ipmi_sim` does not have. Prints the figures.
#[test]
fn suite_17_is_faster_than_ipmitool() {
    let bmc = Bmc::start(Config::default()).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut traffic = None;
    for _ in 0..20 {
        let begun = Instant::now();
        let wanted = Target { version: Version::V20 { suite: Some(17) }, ..target(bmc.address()) };
        let mut session = Session::open(&wanted).unwrap();
        assert!(session.chassis_status().unwrap().on);
        traffic = Some(session.close());
        ours.push(begun.elapsed());
        let begun = Instant::now();
        assert!(
            ipmitool(bmc.address(), &["-I", "lanplus", "-C", "17", "chassis", "power", "status"])
                .contains("is on")
        );
        theirs.push(begun.elapsed());
    }
    ours.sort();
    theirs.sort();
    println!(
        "status, suite 17, our simulator: ours median {:?} min {:?}, ipmitool median {:?} min {:?}, {traffic:?}",
        ours[10], ours[0], theirs[10], theirs[0]
    );
    assert!(ours[10] < theirs[10]);
}
