//! Xen hosts of the lab by the words of `xl` alone: what the other cases build on.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::xen::{Domain, Seen, Watch};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(240);

fn lab(test: &str) -> Lab {
    Lab::open(&Needs::of(test).xen()).unwrap()
}

fn sh(host: &Guest, script: &str) -> String {
    host.run_within(LIMIT, &format!("set -e\n{script}")).unwrap().ok().unwrap().text().to_owned()
}

/// The first word of each line of `xl list`, with the id and the state: `vm 3 -b----`.
fn listed(host: &Guest) -> Vec<String> {
    let text = sh(host, "xl list");
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[4])
    };
    text.lines().skip(2).map(of).collect()
}

#[test]
fn a_xen_guest_is_made_rebooted_paused_and_ended() {
    let lab = lab("a_xen_guest_is_made_rebooted_paused_and_ended");
    let [host] = lab.guests(["xa"], &Disks::none()).unwrap();
    assert_eq!(sh(&host, "cat /sys/hypervisor/type"), "xen");
    let vm = Domain::named("vm");
    vm.put(&host).unwrap();
    let watch = Watch::over(&[&host]).unwrap();
    assert_eq!(listed(&host), [""; 0]);

    sh(&host, "xl create -q /etc/xen/vm.cfg");
    watch.hears(&vm).unwrap();
    assert_eq!(watch.so_far().now_on(&vm), ["xa"]);
    // The same once more is refused, and nothing happens to it.
    assert_eq!(host.run("xl create -q /etc/xen/vm.cfg").unwrap().code, 3);

    let first = sh(&host, "xl domid vm");
    sh(&host, "xl reboot vm");
    watch.until("another life", LIMIT, |seen| seen.lives(&vm).len() == 2).unwrap();
    let second = sh(&host, "xl domid vm");
    assert_ne!(first, second, "it comes back under another number");

    sh(&host, "xl pause vm");
    assert!(listed(&host)[0].ends_with("--p---"), "{:?}", listed(&host));
    std::thread::sleep(Duration::from_millis(500));
    let beats = || watch.so_far().lives(&vm).last().unwrap().beats;
    let before = beats();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((beats(), watch.so_far().now_on(&vm)), (before, Vec::new()));
    sh(&host, "xl unpause vm");
    watch.hears(&vm).unwrap();

    sh(&host, "xl shutdown -w vm");
    assert_eq!(listed(&host), [""; 0]);

    // One whose kernel panics, and is kept for who wants to know why.
    let crashing = Domain::named("crashing").word("crash=4").line("on_crash = \"preserve\"");
    crashing.put(&host).unwrap();
    sh(&host, "xl create -q /etc/xen/crashing.cfg");
    watch
        .until("a crash", LIMIT, |seen| seen.there(&crashing) == [("xa".into(), "shutdown".into())])
        .unwrap();
    assert!(listed(&host)[0].ends_with("---sc-"), "{:?}", listed(&host));
    sh(&host, "xl destroy crashing");

    // One that does not listen.
    let deaf = Domain::named("deaf").word("deaf=1");
    deaf.put(&host).unwrap();
    sh(&host, "xl create -q /etc/xen/deaf.cfg");
    watch.hears(&deaf).unwrap();
    sh(&host, "xl shutdown deaf");
    watch.hears(&deaf).unwrap();
    watch.hears(&deaf).unwrap();
    sh(&host, "xl destroy deaf");
    assert_eq!(listed(&host), [""; 0]);

    let seen = watch.end().unwrap();
    assert_eq!(seen.lives(&vm).len(), 2);
    for domain in [&vm, &crashing, &deaf] {
        seen.never_two(domain).unwrap();
        assert!(seen.now_on(domain).is_empty());
    }
}

#[test]
fn the_watch_sees_two_of_a_xen_guest() {
    let lab = lab("the_watch_sees_two_of_a_xen_guest");
    let [a, b] = lab.guests(["xa", "xb"], &Disks::none()).unwrap();
    let vm = Domain::named("vm");
    let watch = Watch::over(&[&a, &b]).unwrap();
    for host in [&a, &b] {
        vm.put(host).unwrap();
        sh(host, "xl create -q /etc/xen/vm.cfg");
    }
    let both = |seen: &Seen| seen.now_on(&vm).len() == 2 && seen.lives(&vm).len() == 2;
    watch.until("both and their hearts", LIMIT, both).unwrap();
    let why = watch.end().unwrap().never_two(&vm).unwrap_err().to_string();
    assert!(why.contains("at the same time"), "{why}");
}
