//! A disk that a Xen guest writes to alone, on a real Xen host: nobody else is started on it.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::xen::{Domain, Watch};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};

/// A disk of dom0, and another name of it.
const DISK: &str = "truncate -s 16M /run/disk && losetup /dev/loop0 /run/disk && ln -s loop0 /dev/same";

fn with_disk(name: &str, device: &str, access: &str) -> Domain {
    let domain = Domain::named(name);
    let domain = if access == "w" { domain.word("disk=1") } else { domain };
    domain.line(&format!("disk = [ \"format=raw, vdev=xvda, access={access}, target={device}\" ]"))
}

fn start(host: &Guest, domain: &Domain) -> Ran {
    domain.put(host).unwrap();
    host.agent("ringfence/Xen", "start", &[("xmfile", &domain.path())]).unwrap()
}

fn stop(host: &Guest, domain: &Domain) {
    let words = [("xmfile", domain.path()), ("shutdown_timeout", "8".to_owned())];
    let words: Vec<(&str, &str)> = words.iter().map(|(name, value)| (*name, value.as_str())).collect();
    host.agent("ringfence/Xen", "stop", &words).unwrap().ok().unwrap();
}

#[test]
fn a_disk_for_one_writer_is_not_given_to_two_xen_guests() {
    let test = "a_disk_for_one_writer_is_not_given_to_two_xen_guests";
    let lab = Lab::open(&Needs::of(test).xen().agents()).unwrap();
    let [host] = lab.guests(["xa"], &Disks::none()).unwrap();
    host.run(DISK).unwrap().ok().unwrap();
    let watch = Watch::over(&[&host]).unwrap();
    let first = with_disk("first", "/dev/loop0", "w");
    start(&host, &first).ok().unwrap();
    watch.hears(&first).unwrap();

    // Under another name it is the same disk, whoever asks for it alone.
    let second = with_disk("second", "/dev/same", "w");
    let refused = start(&host, &second).expect(1).unwrap();
    let reason = "disk /dev/same of guest second is used by guest first, and is configured for one writer";
    assert!(refused.stderr.contains(reason), "{refused:?}");
    assert_eq!(watch.so_far().there(&second), []);
    watch.hears(&first).unwrap();

    // Who had it is gone: it is free.
    stop(&host, &first);
    start(&host, &second).ok().unwrap();
    watch.hears(&second).unwrap();
    stop(&host, &second);

    // Neither writes to it.
    let [third, fourth] = ["third", "fourth"].map(|name| with_disk(name, "/dev/loop0", "ro"));
    for domain in [&third, &fourth] {
        start(&host, domain).ok().unwrap();
        watch.hears(domain).unwrap();
    }
    for domain in [&third, &fourth] {
        stop(&host, domain);
    }
    let seen = watch.end().unwrap();
    assert_eq!(seen.lives(&first).len(), 1);
    assert_eq!(seen.lives(&second).len(), 1, "the refused one was never made");
}
