//! What the neighbours hear, when, how often, and from whom.

use super::wire::{Ear, Heard, Said};
use super::world::{MAC, announcers, sh, state_files, vip, world};
use std::time::{Duration, Instant, SystemTime};

const ANY: &str = "00:00:00:00:00:00";

fn requests(heard: &[Heard]) -> Vec<SystemTime> {
    of(
        heard,
        |said| matches!(said, Said::Arp { operation: 1, sender, target } if sender == MAC && target == ANY),
    )
}

fn replies(heard: &[Heard]) -> Vec<SystemTime> {
    of(
        heard,
        |said| matches!(said, Said::Arp { operation: 2, sender, target } if sender == MAC && target == MAC),
    )
}

fn advertisements(heard: &[Heard]) -> Vec<SystemTime> {
    of(heard, |said| matches!(said, Said::Advertisement { flags, mac } if mac == MAC && flags & 0x60 == 0x20))
}

fn of(heard: &[Heard], wanted: impl Fn(&Said) -> bool) -> Vec<SystemTime> {
    heard.iter().filter(|heard| wanted(&heard.said)).map(|heard| heard.at).collect()
}

/// A machine under load delivers late, never early.
fn spaced(at: &[SystemTime], interval: Duration) {
    let span = at[at.len() - 1].duration_since(at[0]).unwrap();
    let planned = interval * u32::try_from(at.len() - 1).unwrap();
    assert!(span + Duration::from_millis(30) >= planned, "{span:?} < {planned:?}");
    assert!(span < planned + Duration::from_secs(1), "{span:?} > {planned:?}");
}

#[test]
fn five_times_in_both_forms_and_start_does_not_wait() {
    world(|| {
        let ear = Ear::open();
        let vip = vip("10.0.0.50");
        vip.start().is(0);
        let returned = SystemTime::now();
        assert_eq!(announcers().len(), 1);
        assert_eq!(state_files(), ["send_arp-10.0.0.50"]);
        let heard = ear.about_at_least("10.0.0.50", 10, Duration::from_millis(400));
        let (requests, replies) = (requests(&heard), replies(&heard));
        assert_eq!((requests.len(), replies.len(), heard.len()), (5, 5, 10), "{heard:#?}");
        assert!(requests[0] < returned, "the first is out when start returns");
        assert!(requests[4] > returned, "the others are not waited for");
        spaced(&requests, Duration::from_millis(200));
        assert!(announcers().is_empty() && state_files().is_empty(), "the announcer leaves nothing");
        vip.stop().is(0);
    });
}

#[test]
fn count_interval_and_foreground() {
    world(|| {
        let ear = Ear::open();
        let vip = vip("10.0.0.50").with("arp_count", "3").with("arp_interval", "300").with("arp_bg", "false");
        let outcome = vip.start();
        outcome.is(0);
        assert!(outcome.elapsed >= Duration::from_millis(600), "{outcome:?}");
        assert!(announcers().is_empty() && state_files().is_empty());
        let heard = ear.about_at_least("10.0.0.50", 6, Duration::from_millis(300));
        assert_eq!((requests(&heard).len(), replies(&heard).len()), (3, 3));
        spaced(&requests(&heard), Duration::from_millis(300));
        vip.stop().is(0);
    });
}

#[test]
fn a_single_announcement_needs_no_process() {
    world(|| {
        let ear = Ear::open();
        let vip = vip("10.0.0.50").with("arp_count", "1").with("arp_bg", "true");
        vip.start().is(0);
        assert!(announcers().is_empty() && state_files().is_empty());
        let heard = ear.about_at_least("10.0.0.50", 2, Duration::from_millis(400));
        assert_eq!((requests(&heard).len(), replies(&heard).len()), (1, 1));
    });
}

#[test]
fn ipv6_advertisements_override() {
    world(|| {
        let ear = Ear::open();
        let vip = vip("fd00::50").with("arp_count", "3").with("arp_interval", "100").with("nodad", "1");
        vip.start().is(0);
        assert_eq!(announcers().len(), 1);
        let heard = ear.about_at_least("fd00::50", 3, Duration::from_millis(300));
        let at = advertisements(&heard);
        assert_eq!(at.len(), 3, "{heard:#?}");
        spaced(&at, Duration::from_millis(100));
        vip.stop().is(0);
        // in the foreground on request
        let outcome = vip.with("arp_bg", "no").start();
        assert!(outcome.is(0).elapsed >= Duration::from_millis(200) && announcers().is_empty());
        vip.stop().is(0);
        // after the kernel's own detection too
        vip.without("nodad").start().is(0);
        let heard = ear.about_at_least("fd00::50", 9, Duration::from_millis(300));
        assert!(advertisements(&heard).len() >= 9, "{heard:#?}");
        vip.stop().is(0);
    });
}

#[test]
fn the_other_end_learns_who_has_it() {
    world(|| {
        sh("ip -n peer neigh add 10.0.0.50 lladdr 02:00:00:00:00:99 nud stale dev v1 \
            && ip -n peer neigh add fd00::50 lladdr 02:00:00:00:00:99 nud stale dev v1");
        for ip in ["10.0.0.50", "fd00::50"] {
            vip(ip).start().is(0);
            let until = Instant::now() + Duration::from_secs(3);
            while !sh(&format!("ip -n peer neigh show {ip}")).contains(MAC) {
                assert!(Instant::now() < until, "{ip} was never learned");
                std::thread::sleep(Duration::from_millis(10));
            }
            vip(ip).stop().is(0);
        }
    });
}

#[test]
fn stop_silences_the_announcer_first() {
    world(|| {
        let ear = Ear::open();
        let vip = vip("10.0.0.50").with("arp_count", "1000");
        vip.start().is(0);
        assert_eq!(announcers().len(), 1);
        vip.stop().is(0);
        let stopped = SystemTime::now();
        assert!(announcers().is_empty() && state_files().is_empty());
        let heard = ear.about_at_least("10.0.0.50", 2, Duration::from_millis(500));
        assert!(heard.iter().all(|heard| heard.at < stopped), "{heard:#?}");
    });
}

#[test]
fn monitor_announces_again_on_request_only() {
    world(|| {
        let vip = vip("10.0.0.50").with("arp_count", "1");
        vip.start().is(0);
        let ear = Ear::open();
        vip.monitor().is(0);
        vip.with("arp_count_refresh", "2").probe().is(0);
        assert!(ear.about_at_least("10.0.0.50", 0, Duration::from_millis(300)).is_empty());
        vip.with("arp_count_refresh", "2").monitor().is(0);
        let heard = ear.about_at_least("10.0.0.50", 4, Duration::from_millis(300));
        assert_eq!((requests(&heard).len(), replies(&heard).len()), (2, 2), "{heard:#?}");
        vip.stop().is(0);
        vip.with("arp_count_refresh", "2").monitor().is(7);
        let heard = ear.about_at_least("10.0.0.50", 4, Duration::from_millis(300));
        assert_eq!(heard.len(), 4, "what is not here is not announced");
    });
}

#[test]
fn the_deadline_ends_announcing_in_the_foreground() {
    world(|| {
        let vip = vip("10.0.0.50").with("arp_count", "1000").with("arp_bg", "false").meta("timeout", "1000");
        let outcome = vip.start();
        assert!(outcome.is(0).elapsed < Duration::from_secs(1), "{outcome:?}");
        vip.monitor().is(0);
        vip.stop().is(0);
    });
}

#[test]
fn a_pid_that_is_somebody_elses_now_is_left_alone() {
    world(|| {
        let mut bystander = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let vip = vip("10.0.0.50").with("arp_count", "1");
        // as upstream writes it, and as we do with another start time
        for text in [format!("{}\n", bystander.id()), format!("{}\n1\n", bystander.id())] {
            std::fs::write("/run/resource-agents/send_arp-10.0.0.50", text).unwrap();
            vip.stop().is(0);
            let ended = bystander.try_wait().unwrap();
            assert!(ended.is_none() && state_files().is_empty());
        }
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    });
}

#[test]
fn an_interface_without_hardware_address_is_no_failure() {
    world(|| {
        if !super::world::try_sh("ip tuntap add t0 mode tun && ip link set t0 up").0 {
            sh("ip link add t0 type sit local 10.0.0.2 && ip link set t0 up");
        }
        let vip =
            vip("10.8.0.50").with("nic", "t0").with("cidr_netmask", "24").with("check_link_status", "0");
        vip.start().is(0);
        vip.monitor().is(0);
        vip.stop().is(0);
    });
}
