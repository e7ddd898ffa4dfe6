//! A thousand addresses on the interface.

use super::world::{entry, sh, vip, world};
use std::time::Duration;

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// Turn by turn, so that whatever else the machine does burdens both alike.
fn compare(ip: &str, add: &str, remove: &str) {
    let vip = vip(ip).with("nodad", "1").with("arp_count", "1").with("nic", "v0");
    vip.start().is(0);
    let (mut one, mut thousand) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        one.extend((0..25).map(|_| vip.monitor().is(0).elapsed));
        sh(add);
        thousand.extend((0..25).map(|_| vip.monitor().is(0).elapsed));
        sh(remove);
    }
    let (one, thousand) = (median(one), median(thousand));
    println!("{ip}: monitor with one address {one:?}, with 1,000 {thousand:?}");
    assert!(thousand <= one * 2, "{ip}: {thousand:?} is more than twice {one:?}");
    vip.stop().is(0);
    entry("10.0.0.2");
}

#[test]
fn a_thousand_addresses_cost_at_most_twice_as_much() {
    world(|| {
        sh(
            "for a in 0 1 2 3; do for b in $(seq 1 250); do echo addr add 10.20.$a.$b/16 dev v0; done; done > /run/add4; \
            sed 's/ add / del /' /run/add4 | tac > /run/del4; \
            for b in $(seq 1 1000); do printf 'addr add fd00:0:0:7::%x/64 dev v0 nodad\\n' $b; done > /run/add6; \
            sed 's/ add / del /;s/nodad//' /run/add6 > /run/del6",
        );
        compare("10.0.0.50", "ip -batch /run/add4", "ip -batch /run/del4");
        compare("fd00::50", "ip -batch /run/add6", "ip -batch /run/del6");
    });
}
