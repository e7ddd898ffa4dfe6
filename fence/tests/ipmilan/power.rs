//! What the actions do to a node and what they say, also when the BMC is slow, lies, refuses or is silent.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use ringfence_conformance::relay::udp::{FaultyPath, Schedule};
use ringfence_tests::sim::bmc::{Bmc, Config, Quirks};
use ringfence_tests::sim::ipmi_sim::IpmiSim;

use super::agent::{at, given};

fn bmc(quirks: Quirks) -> Bmc {
    Bmc::start(Config { quirks, ..Config::default() }).unwrap()
}

fn act(bmc: &Bmc, lines: &str) -> super::agent::Run {
    given(&at(bmc.address(), &format!("lanplus=1\n{lines}")))
}

#[test]
fn actions_and_statuses() {
    let sim = IpmiSim::start(None).unwrap();
    for version in ["lanplus=0", "lanplus=1"] {
        let act = |action: &str| given(&at(sim.address(), &format!("{version}\naction={action}")));
        act("status").is(0, "Status: ON\n", "");
        act("monitor").is(0, "", "");
        act("on").is(0, "Success: Already ON\n", "");
        assert!(sim.commands().is_empty());
        act("off").is(0, "Success: Powered OFF\n", "");
        assert!(!sim.is_on());
        act("status").is(2, "Status: OFF\n", "");
        act("monitor").is(0, "", "");
        act("off").is(0, "Success: Already OFF\n", "");
        act("reboot").is(0, "Success: Rebooted\n", "");
        assert!(sim.is_on());
        act("reboot").is(0, "Success: Rebooted\n", "");
        assert_eq!(sim.commands(), ["power 0", "power 1", "power 0", "power 1"]);
        sim.forget_commands().unwrap();
        // no action at all is reboot
        given(&at(sim.address(), version)).is(0, "Success: Rebooted\n", "");
        assert_eq!(sim.commands(), ["power 0", "power 1"]);
        sim.forget_commands().unwrap();
        let verbose = act("status\nverbose=1");
        let trips = if version == "lanplus=1" { 8 } else { 6 };
        // with lanplus=1 the seven of the protocol, and one in which ipmi_sim refuses suite 17
        assert_eq!(
            (verbose.counted("round trips"), verbose.counted("retransmissions")),
            (trips, 0),
            "{verbose:?}"
        );
    }
    assert_eq!(sim.open_sessions().unwrap(), 0);
}

#[test]
fn a_bmc_that_lies_is_not_believed() {
    let sim = IpmiSim::start(None).unwrap();
    sim.lie(true).unwrap();
    let words = "Failed: Timed out waiting to power OFF";
    for lines in ["lanplus=0", "lanplus=1"] {
        given(&at(sim.address(), &format!("{lines}\naction=off\npower_timeout=1"))).is(1, "", words);
        given(&at(sim.address(), &format!("{lines}\naction=reboot\npower_timeout=1"))).is(1, "", words);
    }
    assert!(sim.is_on() && sim.commands().iter().all(|line| line == "power 0"), "{:?}", sim.commands());
    sim.set_power(false).unwrap();
    let run = given(&at(sim.address(), "lanplus=1\naction=on\npower_timeout=1\nretry_on=2"));
    run.is(1, "", "Timed out waiting to power ON");
    let ons = sim.commands().iter().filter(|line| *line == "power 1").count();
    assert_eq!(ons, 3, "retry_on is the number of further attempts");
    // a node that was off is fenced, whether or not it comes back
    given(&at(sim.address(), "action=reboot\npower_timeout=1\nretry_on=0")).is(
        0,
        "Success: Rebooted\n",
        "power ON",
    );
}

#[test]
fn a_slow_bmc_is_waited_for_and_power_wait_ends_with_the_confirmation() {
    let sim = IpmiSim::start(None).unwrap();
    sim.be_slow(Some("0.7")).unwrap();
    for power_wait in [0, 9] {
        sim.set_power(true).unwrap();
        let run = given(&at(sim.address(), &format!("lanplus=1\naction=off\npower_wait={power_wait}")));
        run.is(0, "Success: Powered OFF\n", "");
        assert!(!sim.is_on());
        assert!(run.took > Duration::from_millis(690) && run.took < Duration::from_secs(4), "{run:?}");
    }
    // without power_wait and with a power_timeout that is too short it is a failure, not a guess
    sim.be_slow(Some("5")).unwrap();
    sim.set_power(true).unwrap();
    given(&at(sim.address(), "lanplus=1\naction=off\npower_timeout=1")).is(
        1,
        "",
        "Timed out waiting to power OFF",
    );
}

#[test]
fn power_cycle() {
    let bmc = bmc(Quirks::default());
    act(&bmc, "method=cycle\naction=reboot\npower_wait=1").is(0, "Success: Rebooted\n", "");
    assert_eq!(bmc.controls(), [2]);
    assert!(bmc.is_on());
    // off already: D5h from the bmc, so it is powered on instead
    bmc.set_power(false);
    act(&bmc, "method=cycle").is(0, "Success: Rebooted\n", "");
    assert_eq!(bmc.controls(), [2, 1]);
    assert!(bmc.is_on());
    let liar = self::bmc(Quirks { lies: true, ..Quirks::default() });
    act(&liar, "method=cycle\nretry_on=0\npower_timeout=1").is(1, "", "not seen off");
    let refuses = self::bmc(Quirks { no_control: true, ..Quirks::default() });
    act(&refuses, "method=cycle").is(1, "", "power cycle is not supported by the bmc");
    act(&refuses, "action=off").is(1, "", "power off is not supported by the bmc");
    assert_eq!((bmc.open_sessions(), refuses.open_sessions()), (0, 0));
}

#[test]
fn diagnostic_interrupt() {
    let bmc = bmc(Quirks::default());
    act(&bmc, "action=diag").is(0, "Success: Diagnostic interrupt sent\n", "");
    assert_eq!(bmc.controls(), [4]);
    bmc.set_power(false);
    act(&bmc, "action=diag").is(1, "", "the node is off");
    assert_eq!(bmc.controls(), [4]);
}

#[test]
fn delay_is_before_off_and_reboot_only() {
    let bmc = bmc(Quirks::default());
    for (action, waits) in
        [("off", true), ("status", false), ("monitor", false), ("on", false), ("reboot", true)]
    {
        let run = act(&bmc, &format!("action={action}\ndelay=1"));
        assert_ne!(run.code, Some(1), "{run:?}");
        // one second more than it says, as upstream
        assert_eq!(run.took > Duration::from_millis(1950), waits, "{action} {run:?}");
    }
}

#[test]
fn faults_are_told_apart() {
    let plain = bmc(Quirks::default());
    let status = |lines: &str| act(&plain, &format!("action=status\n{lines}"));
    let full = Bmc::start(Config { slots: 0, ..Config::default() }).unwrap();
    let only15 = bmc(Quirks { only_v15: true, ..Quirks::default() });
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = |lines: &str| {
        given(&at(mute.local_addr().unwrap(), &format!("action=off\nlogin_timeout=1\n{lines}")))
    };
    let short = "login_timeout=1\nipmitool_timeout=0.1";
    let runs = [
        ("user name refused", status("login=nobody")),
        ("wrong password", status("passwd=Wr0ng#1")),
        ("user name refused", status("login=nobody\nlanplus=0")),
        ("wrong password", status(&format!("passwd=Wr0ng#1\nlanplus=0\n{short}"))),
        ("insufficient privilege", status("login=user")),
        ("no free session", act(&full, &format!("action=status\n{short}"))),
        ("speaks ipmi 1.5 only", act(&only15, "action=status")),
        ("is unreachable: connection refused", given(&at(closed, "action=status"))),
        ("Connection timed out", silent("ipmitool_timeout=0.1")),
        (
            "cannot resolve 'no.such.name.invalid'",
            given("ip=no.such.name.invalid\naction=status\nlogin=a\npasswd=b"),
        ),
    ];
    for (words, run) in runs {
        run.is(1, "", words);
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        let timeout =
            run.stderr.to_lowercase().contains("timed out") || run.stderr.to_lowercase().contains("timeout");
        assert_eq!(timeout, words == "Connection timed out", "{run:?}");
    }
    assert_eq!(plain.open_sessions(), 0);
}

#[test]
fn a_busy_bmc_is_asked_again() {
    let bmc = bmc(Quirks { busy: 3, ..Quirks::default() });
    act(&bmc, "action=off").is(0, "Success: Powered OFF\n", "");
}

#[test]
fn the_packet_timeout_is_the_time_between_two_datagrams() {
    for (seconds, waits) in [("0.4", [100, 200, 400, 400]), ("0.8", [200, 400, 800, 800])] {
        let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
        mute.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let options = at(
            mute.local_addr().unwrap(),
            &format!("action=off\nipmitool_timeout={seconds}\nlogin_timeout=1"),
        );
        let run = std::thread::spawn(move || given(&options));
        let mut buffer = [0; 256];
        let mut times = Vec::new();
        while times.len() <= waits.len() {
            mute.recv(&mut buffer).unwrap();
            times.push(Instant::now());
        }
        for (pair, wait) in times.windows(2).zip(waits) {
            let gap = (pair[1] - pair[0]).as_millis();
            assert!((wait - 20..wait + 90).contains(&gap), "{gap} ms instead of {wait}");
        }
        let run = run.join().unwrap();
        run.is(1, "", "timed out");
        // never less patient than ipmitool, which asks five times
        let five = Duration::from_secs_f64(seconds.parse::<f64>().unwrap() * 5.0);
        assert!(run.took >= five && run.took < five + Duration::from_millis(700), "{run:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_and_closes_the_session() {
    let bmc = bmc(Quirks { lies: true, ..Quirks::default() });
    let command = super::agent::command(std::path::Path::new(super::agent::PROGRAM));
    let begun = Instant::now();
    let child = super::agent::started(command, &at(bmc.address(), "action=off\nlanplus=1\npower_timeout=30"));
    while bmc.controls().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let run = super::agent::ended(child, begun);
    assert_eq!((run.code, run.signal), (None, Some(15)), "{run:?}");
    assert!(run.took < Duration::from_secs(3), "{run:?}");
    assert_eq!(bmc.open_sessions(), 0);
}

/// A BMC that falls silent holds nobody up who was asked to end, and still gets its session back.
#[test]
fn a_signal_ends_the_wait_for_a_silent_bmc_too() {
    let bmc = bmc(Quirks::default());
    let blackhole = Some((5, Duration::from_secs(60)));
    let path =
        FaultyPath::start(bmc.address(), Schedule { blackhole, ..Schedule::default() }, || {}).unwrap();
    let command = super::agent::command(std::path::Path::new(super::agent::PROGRAM));
    let begun = Instant::now();
    let child =
        super::agent::started(command, &at(path.address(), "action=status\nlanplus=1\nipmitool_timeout=9"));
    while bmc.open_sessions() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    path.heal();
    let run = super::agent::ended(child, begun);
    assert_eq!((run.code, run.signal), (None, Some(15)), "{run:?}");
    assert!(asked.elapsed() < Duration::from_millis(2500), "{run:?}");
    assert_eq!(bmc.open_sessions_after(Duration::from_millis(200)), 0);
}

/// Each copy of an open session request takes a slot; those that lead nowhere are given back.
#[test]
fn doubled_packets_leave_no_slot_taken() {
    let bmc = bmc(Quirks::default());
    let schedule =
        Schedule { duplicate: 100, delay_at_most: Duration::from_millis(4), ..Schedule::default() };
    for version in ["lanplus=0", "lanplus=1"] {
        let path = FaultyPath::start(bmc.address(), schedule.clone(), || {}).unwrap();
        // long enough that the answers to the copies are heard
        bmc.set_quirks(Quirks::default());
        bmc.set_power(true);
        bmc.set_quirks(Quirks { slow_power: Duration::from_millis(100), ..Quirks::default() });
        let off = given(&at(path.address(), &format!("{version}\naction=off")));
        off.is(0, "Success: Powered OFF\n", "");
        assert_eq!(bmc.open_sessions_after(Duration::from_millis(200)), 0, "{version}");
        assert_eq!(bmc.half_open_sessions(), 0, "{version}");
    }
}
