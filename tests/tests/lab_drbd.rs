//! `ocf:ringfence:drbd` with DRBD 8.4 in two kernels.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};
use std::time::{Duration, Instant};

const RESOURCE: &str = "resource r0 {
  protocol C;
  net { ping-int 4; ping-timeout 30; timeout 35; connect-int 4; }
  disk { resync-rate 100M; c-plan-ahead 0; on-io-error detach; }
  device /dev/drbd0;
  meta-disk internal;
  on n1 { disk /dev/lab/data; address 10.55.0.11:7788; }
  on n2 { disk /dev/lab/data; address 10.55.0.12:7788; }
}
";

/// In the place of the cluster's tool, where there is no cluster: what the agent tells it.
const CRM_ATTRIBUTE: &str = "#!/bin/sh\necho \"$@\" >>/run/scores\n";

/// Two guests with the resource configured, its metadata made and nothing up.
fn pair(lab: &Lab) -> [Guest; 2] {
    pair_with(lab, RESOURCE)
}

fn pair_with(lab: &Lab, resource: &str) -> [Guest; 2] {
    let guests = lab.guests(["n1", "n2"], &Disks::none().own("data", 32)).unwrap();
    both(&guests, |guest| {
        guest.put("/etc/drbd.d/r0.res", resource).unwrap();
        guest.put_mode("/usr/sbin/crm_attribute", CRM_ATTRIBUTE, 0o755).unwrap();
        guest.run("drbdadm create-md --force r0").unwrap().ok().unwrap();
    });
    guests
}

/// Does it on both at the same time: each may need the other.
fn both(guests: &[Guest; 2], act: impl Fn(&Guest) + Sync) {
    std::thread::scope(|scope| {
        for guest in guests {
            scope.spawn(|| act(guest));
        }
    });
}

fn drbd_with(guest: &Guest, action: &str, more: &[(&str, &str)]) -> Ran {
    let mut parameters =
        vec![("drbd_resource", "r0"), ("CRM_meta_notify", "true"), ("CRM_meta_interval", "10000")];
    parameters.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    parameters.extend_from_slice(more);
    guest.agent("ringfence/drbd", action, &parameters).unwrap()
}

fn drbd(guest: &Guest, action: &str) -> Ran {
    drbd_with(guest, action, &[])
}

fn monitor(guest: &Guest) -> i32 {
    drbd(guest, "monitor").code
}

/// The score that the cluster was told last: `10000`, or `-D` for none.
fn score(guest: &Guest) -> String {
    let told = guest.run("tail -n 1 /run/scores").unwrap();
    told.text().rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Waits until the kernel says so; observed in `/proc/drbd`, where the agent does not look.
fn until(guest: &Guest, pattern: &str) {
    // One program that looks every 0.1 s: each that is started costs an emulated processor as much.
    let script = format!(
        "perl -e 'for (1..900) {{ open F, \"/proc/drbd\"; local $/; exit 0 if <F> =~ m[{pattern}]; select undef, undef, undef, 0.1 }} exit 1' \
         || {{ cat /proc/drbd; exit 1; }}"
    );
    guest.run(&script).unwrap().ok().unwrap();
}

/// Started on both, connected, and with current data on both: nothing was ever written, so nothing needs to be copied.
fn started(guests: &[Guest; 2]) {
    both(guests, |guest| drbd(guest, "start").ok().map(drop).unwrap());
    until(&guests[0], "cs:Connected");
    guests[0].run("drbdadm new-current-uuid --clear-bitmap r0").unwrap().ok().unwrap();
    both(guests, |guest| until(guest, "ds:UpToDate/UpToDate"));
}

fn write(guest: &Guest, block: u32, text: &str) {
    let script = format!(
        "printf %s '{text}' | dd of=/dev/drbd0 bs=4096 seek={block} conv=sync,fsync status=none && echo {text}"
    );
    guest.run(&script).unwrap().ok().unwrap();
}

fn read(guest: &Guest, block: u32) -> String {
    let script =
        format!("dd if=/dev/drbd0 bs=4096 skip={block} count=1 iflag=direct status=none | tr -d '\\0'");
    guest.run(&script).unwrap().ok().unwrap().stdout
}

/// What the cluster shows to the administrator.
fn reason(ran: &Ran) -> &str {
    ran.stderr.lines().find_map(|line| line.strip_prefix("ocf-exit-reason:")).unwrap_or_default()
}

#[test]
fn the_survivor_of_a_power_cut_writes_on_and_the_other_one_follows() {
    let lab =
        Lab::open(&Needs::of("the_survivor_of_a_power_cut_writes_on_and_the_other_one_follows").agents())
            .unwrap();
    let guests = pair(&lab);
    let [a, b] = &guests;
    for guest in &guests {
        assert_eq!(drbd_with(guest, "monitor", &[("CRM_meta_interval", "0")]).code, 7);
        drbd(guest, "stop").ok().unwrap();
    }
    both(&guests, |guest| drbd(guest, "start").ok().map(drop).unwrap());
    until(a, "cs:Connected");
    // Fresh disks: nobody knows which data is right.
    assert_eq!((monitor(a), score(a)), (0, "-D".to_owned()));
    let began = Instant::now();
    let refused = drbd(a, "promote").expect(1).unwrap();
    assert!(reason(&refused).contains("no current data"), "{refused:?}");
    assert!(began.elapsed() >= Duration::from_secs(15), "Pacemaker would try again at once");

    a.run("drbdadm new-current-uuid --clear-bitmap r0").unwrap().ok().unwrap();
    both(&guests, |guest| {
        until(guest, "ds:UpToDate/UpToDate");
        assert_eq!((monitor(guest), score(guest)), (0, "10000".to_owned()));
    });
    drbd(a, "promote").ok().unwrap();
    drbd(a, "promote").ok().unwrap();
    assert_eq!((monitor(a), monitor(b)), (8, 0));
    write(a, 0, "acknowledged");

    // One primary at a time.
    let early = [("fail_promote_early_if_peer_primary", "true")];
    let second = drbd_with(b, "promote", &early).expect(1).unwrap();
    assert!(
        reason(&second).contains("is primary") && reason(&second).contains("Multiple primaries"),
        "{second:?}"
    );
    let patient = drbd_with(b, "promote", &[("CRM_meta_timeout", "20000")]).expect(1).unwrap();
    assert!(reason(&patient).contains("Multiple primaries"), "{patient:?}");
    assert_eq!((monitor(a), monitor(b)), (8, 0));

    a.cut_power();
    // At once: it waits until DRBD has missed the peer.
    drbd(b, "promote").ok().unwrap();
    assert_eq!((monitor(b), score(b), read(b, 0)), (8, "10000".to_owned(), "acknowledged".to_owned()));
    write(b, 1, "after");

    a.power_on().unwrap();
    assert_eq!(drbd_with(a, "monitor", &[("CRM_meta_interval", "0")]).code, 7);
    drbd(a, "start").ok().unwrap();
    until(a, "ds:UpToDate/UpToDate");
    assert_eq!((monitor(a), score(a), monitor(b)), (0, "10000".to_owned(), 8));
    drbd(b, "demote").ok().unwrap();
    drbd(b, "demote").ok().unwrap();
    drbd(a, "promote").ok().unwrap();
    assert_eq!((read(a, 0), read(a, 1)), ("acknowledged".to_owned(), "after".to_owned()));

    // A primary that nobody has open can be stopped, also without its configuration.
    for guest in &guests {
        guest.run("rm /etc/drbd.d/r0.res").unwrap().ok().unwrap();
        drbd(guest, "stop").ok().unwrap();
        drbd(guest, "stop").ok().unwrap();
        assert_eq!(
            (monitor(guest), score(guest)),
            (7, "-D".to_owned()),
            "the score of what is stopped is deleted"
        );
        assert!(!guest.read("/proc/drbd").unwrap().contains("cs:"));
    }
}

/// The text between the words; if they are not there, a command that fails.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map_or("false", |(found, _)| found)
}

#[test]
fn a_split_brain_is_told_and_what_is_told_heals_it() {
    let lab = Lab::open(&Needs::of("a_split_brain_is_told_and_what_is_told_heals_it").agents()).unwrap();
    let guests = pair(&lab);
    let [a, b] = &guests;
    started(&guests);
    drbd(a, "promote").ok().unwrap();
    write(a, 0, "common");
    both(&guests, |guest| guest.link(false).unwrap());
    both(&guests, |guest| until(guest, "cs:WFConnection"));
    drbd(b, "promote").ok().unwrap();
    write(a, 1, "kept");
    write(b, 1, "lost");
    both(&guests, |guest| guest.link(true).unwrap());
    both(&guests, |guest| until(guest, "cs:StandAlone"));

    let degraded = [("report_degraded", "true")];
    let [told_a, told_b] = [a, b].map(|guest| {
        // It serves on, and by default that is what a monitor says.
        let quiet = drbd(guest, "monitor").expect(8).unwrap();
        assert!(quiet.stderr.contains("split brain"), "{quiet:?}");
        let told = drbd_with(guest, "monitor", &degraded).expect(191).unwrap();
        assert!(reason(&told).starts_with("split brain: r0 was changed here and on "), "{told:?}");
        reason(&told).to_owned()
    });
    assert_eq!(read(b, 1), "lost", "the agent itself throws nothing away");

    // The administrator decides for n1, and does what the reasons say.
    b.run(between(&told_b, "LOST: ", " - then")).unwrap().ok().unwrap();
    a.run(told_a.rsplit("on the other: ").next().unwrap()).unwrap().ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));
    assert_eq!((monitor(a), drbd_with(b, "monitor", &degraded).code), (8, 0));
    drbd(a, "demote").ok().unwrap();
    drbd(b, "promote").ok().unwrap();
    assert_eq!((read(b, 0), read(b, 1)), ("common".to_owned(), "kept".to_owned()));

    // Somebody disconnects: that is no split brain, and has another way out.
    b.run("drbdadm disconnect r0").unwrap().ok().unwrap();
    until(b, "cs:StandAlone");
    let told = drbd_with(b, "monitor", &degraded).expect(191).unwrap();
    assert!(reason(&told).contains("told on this node to disconnect"), "{told:?}");
    assert!(!reason(&told).contains("split brain") && !reason(&told).contains("discard"), "{told:?}");
    let waits = drbd_with(a, "monitor", &degraded).expect(190).unwrap();
    assert!(reason(&waits).contains("not connected") && reason(&waits).contains("Connecting"), "{waits:?}");
    b.run(reason(&told).rsplit("To end that: ").next().unwrap()).unwrap().ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected"));

    // The next one, with the other side trying to connect when the first command is given, and with a mount in its way.
    both(&guests, |guest| guest.link(false).unwrap());
    both(&guests, |guest| until(guest, "cs:WFConnection"));
    drbd(a, "promote").ok().unwrap();
    write(a, 2, "lost");
    write(b, 2, "kept");
    both(&guests, |guest| guest.link(true).unwrap());
    both(&guests, |guest| until(guest, "cs:StandAlone"));
    a.run("drbdadm connect r0").unwrap().ok().unwrap();
    until(a, "cs:WFConnection");
    let told = drbd_with(b, "monitor", &degraded).expect(191).unwrap();
    let open = a.start_within(Duration::from_secs(100), "exec sleep 100 <>/dev/drbd0").unwrap();
    let lose = between(reason(&told), "LOST: ", " - then");
    for _ in 0..50 {
        if a.run("drbdadm secondary r0").unwrap().code != 0 {
            break;
        }
        drbd(a, "promote").ok().unwrap();
    }
    a.run(lose).unwrap().expect(11).unwrap();
    assert_eq!(read(a, 2), "lost", "nothing is lost while somebody has it open");
    open.stop().unwrap();
    a.run(lose).unwrap().ok().unwrap();
    b.run(reason(&told).rsplit("on the other: ").next().unwrap()).unwrap().ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));
    drbd(b, "demote").ok().unwrap();
    drbd(a, "promote").ok().unwrap();
    assert_eq!(read(a, 2), "kept");
}

#[test]
fn what_is_in_use_or_cannot_be_is_told_in_time() {
    let lab = Lab::open(&Needs::of("what_is_in_use_or_cannot_be_is_told_in_time").agents()).unwrap();
    let guests = pair(&lab);
    let [a, b] = &guests;
    // One node alone, which does not wait for the other for ever.
    drbd_with(a, "start", &[("wfc_timeout", "1")]).ok().unwrap();
    a.run("drbdadm primary --force r0").unwrap().ok().unwrap();
    assert_eq!((monitor(a), score(a)), (8, "10000".to_owned()));
    let open = a.start_within(Duration::from_secs(100), "exec sleep 100 <>/dev/drbd0").unwrap();
    a.run("for i in $(seq 100); do readlink /proc/*/fd/* | grep -q drbd0 && exit 0; sleep 0.1; done; exit 1")
        .unwrap()
        .ok()
        .unwrap();
    let brief = [("CRM_meta_timeout", "12000")];
    for action in ["demote", "stop"] {
        let held = drbd_with(a, action, &brief).expect(1).unwrap();
        assert!(reason(&held).contains("(sleep)") && reason(&held).contains("held open"), "{held:?}");
        assert_eq!(monitor(a), 8, "it is as it was");
    }
    open.stop().unwrap();
    a.run("mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /mnt && echo x >/mnt/x").unwrap().ok().unwrap();
    for action in ["demote", "stop"] {
        let held = drbd_with(a, action, &brief).expect(1).unwrap();
        assert!(reason(&held).contains("mounted on /mnt"), "{held:?}");
    }
    // It is let go of while a demotion waits.
    let later = a.start_within(Duration::from_secs(60), "sleep 3; umount /mnt").unwrap();
    drbd(a, "demote").ok().unwrap();
    later.wait().unwrap().ok().unwrap();
    assert_eq!((monitor(a), score(a)), (0, "1000".to_owned()), "it is alone with its data");
    drbd(a, "stop").ok().unwrap();

    // A resource that is not there, and a disk without metadata.
    let other = [("drbd_resource", "r9")];
    let unknown = drbd_with(b, "start", &other).expect(5).unwrap();
    assert!(reason(&unknown).starts_with("r9 is not configured on this node"), "{unknown:?}");
    assert_eq!([drbd_with(b, "monitor", &other).code, drbd_with(b, "stop", &other).code], [7, 0]);
    b.run("dd if=/dev/zero of=/dev/lab/data bs=1M count=32 conv=notrunc status=none").unwrap().ok().unwrap();
    let raw = drbd(b, "start").expect(1).unwrap();
    assert!(
        reason(&raw).contains("No valid meta data") && reason(&raw).contains("drbdadm create-md r0"),
        "{raw:?}"
    );
    assert_eq!(monitor(b), 7, "what the start began is taken back");

    // What was killed in the middle of its start is a failure, which a start or a stop mends.
    b.run("drbdadm create-md --force r0 && drbdadm new-resource r0").unwrap().ok().unwrap();
    let half = drbd(b, "monitor").expect(1).unwrap();
    assert!(reason(&half).contains("half configured"), "{half:?}");
    b.run("drbdadm new-minor r0").unwrap().ok().unwrap();
    let half = drbd(b, "monitor").expect(1).unwrap();
    assert!(reason(&half).contains("half configured"), "{half:?}");
    drbd_with(b, "start", &[("wfc_timeout", "")]).ok().unwrap();
    assert_eq!(monitor(b), 0);
    drbd(b, "stop").ok().unwrap();

    // No module at all, and none to be had.
    b.run("rmmod drbd && mount -t tmpfs none /lib/modules").unwrap().ok().unwrap();
    assert_eq!([drbd_with(b, "monitor", &[("CRM_meta_interval", "0")]).code, drbd(b, "stop").code], [7, 0]);
    let none = drbd(b, "start").expect(5).unwrap();
    assert!(reason(&none).contains("no module drbd"), "{none:?}");
}

#[test]
fn a_cable_that_was_pulled_and_data_marked_as_outdated() {
    let lab = Lab::open(&Needs::of("a_cable_that_was_pulled_and_data_marked_as_outdated").agents()).unwrap();
    let guests = pair(&lab);
    let [a, b] = &guests;
    started(&guests);
    drbd(a, "promote").ok().unwrap();
    write(a, 0, "before");
    b.link(false).unwrap();
    both(&guests, |guest| until(guest, "cs:WFConnection"));
    write(a, 0, "meanwhile");
    assert_eq!((monitor(a), score(a)), (8, "10000".to_owned()));
    // It may be promoted, but any node that knows more comes first.
    assert_eq!((monitor(b), score(b)), (0, "1000".to_owned()));
    let told = drbd_with(b, "monitor", &[("report_degraded", "1")]).expect(190).unwrap();
    assert!(reason(&told).contains("not connected") && !reason(&told).contains("split"), "{told:?}");
    b.link(true).unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));
    assert_eq!((monitor(b), score(b)), (0, "10000".to_owned()));

    // A monitor runs one program besides telling the score, and while that is the same, one in all. drbdsetup replaces itself
    // by the program for the kernel's DRBD.
    let trace = "cd /tmp && OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_drbd_resource=r0 OCF_RA_VERSION_MAJOR=1 \
                 OCF_RESKEY_CRM_meta_interval=10000 OCF_RESKEY_CRM_meta_timeout=60000 strace -qq -f -e trace=execve -o /tmp/trace \
                 /usr/lib/ocf/resource.d/ringfence/drbd monitor; cat /tmp/trace";
    let traced = b.run(trace).unwrap().ok().unwrap();
    let mut processes: Vec<&str> = traced.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 2, "the agent itself and drbdsetup: {traced:?}");
    assert!(traced.stdout.contains("drbdsetup\"") && !traced.stdout.contains("crm_attribute"), "{traced:?}");

    // Stopped while another node is promoted.
    let outdates = [("stop_outdates_secondary", "true"), ("CRM_meta_notify_promoted_uname", "n1")];
    drbd_with(b, "stop", &outdates).ok().unwrap();
    b.link(false).unwrap();
    drbd_with(b, "start", &[("wfc_timeout", "1")]).ok().unwrap();
    assert!(b.read("/proc/drbd").unwrap().contains("ds:Outdated/"));
    assert_eq!((monitor(b), score(b)), (0, "-D".to_owned()));
    let refused = drbd(b, "promote").expect(1).unwrap();
    assert!(reason(&refused).contains("no current data"), "{refused:?}");
    b.link(true).unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));
    // And without the parameter.
    drbd_with(b, "stop", &outdates[1..]).ok().unwrap();
    b.link(false).unwrap();
    drbd_with(b, "start", &[("wfc_timeout", "1")]).ok().unwrap();
    assert!(!b.read("/proc/drbd").unwrap().contains("ds:Outdated/"));

    // DRBD has given the peer up; the other node's start, of which a notification tells, is a reason to try again.
    b.run("drbdadm disconnect r0").unwrap().ok().unwrap();
    b.link(true).unwrap();
    let told = [("CRM_meta_notify_type", "pre"), ("CRM_meta_notify_operation", "start")];
    drbd_with(b, "notify", &told).ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));
    assert_eq!((monitor(b), score(b)), (0, "10000".to_owned()));
}

#[test]
fn a_disk_that_fails_is_stood_in_for_by_the_peer() {
    let lab = Lab::open(&Needs::of("a_disk_that_fails_is_stood_in_for_by_the_peer").agents()).unwrap();
    let on_map = RESOURCE.replacen("disk /dev/lab/data", "disk /dev/mapper/frail", 1);
    let guests = lab.guests(["n1", "n2"], &Disks::none().own("data", 32)).unwrap();
    let [a, b] = &guests;
    a.run("dmsetup create frail --table \"0 65536 linear $(readlink -f /dev/lab/data) 0\"")
        .unwrap()
        .ok()
        .unwrap();
    both(&guests, |guest| {
        guest.put("/etc/drbd.d/r0.res", &on_map).unwrap();
        guest.put_mode("/usr/sbin/crm_attribute", CRM_ATTRIBUTE, 0o755).unwrap();
        guest.run("drbdadm create-md --force r0").unwrap().ok().unwrap();
    });
    started(&guests);
    drbd(a, "promote").ok().unwrap();
    write(a, 0, "before");
    a.run("dmsetup suspend --nolockfs frail && dmsetup load frail --table '0 65536 error' && dmsetup resume frail")
        .unwrap()
        .ok()
        .unwrap();
    write(a, 1, "after");
    until(a, "ds:Diskless/UpToDate");
    // It serves through the peer, which is better off.
    assert_eq!((monitor(a), score(a), read(a, 1)), (8, "9999".to_owned(), "after".to_owned()));
    assert_eq!((monitor(b), score(b)), (0, "10000".to_owned()));
    let stale = drbd_with(a, "monitor", &[("report_degraded", "true")]).expect(191).unwrap();
    assert!(reason(&stale).contains("not current (Diskless)"), "{stale:?}");

    // DRBD does not let the only data go while somebody uses it.
    let refused = drbd_with(b, "stop", &[("CRM_meta_timeout", "12000")]).expect(1).unwrap();
    assert!(reason(&refused).contains("is primary and has no current data of its own"), "{refused:?}");
    assert_eq!(monitor(a), 8);

    // The service moves to it.
    drbd(a, "demote").ok().unwrap();
    assert_eq!((monitor(a), score(a)), (0, "9999".to_owned()));
    drbd(b, "promote").ok().unwrap();
    assert_eq!((read(b, 0), read(b, 1)), ("before".to_owned(), "after".to_owned()));
    drbd(a, "stop").ok().unwrap();
    let gone = drbd(a, "start").expect(1).unwrap();
    assert!(reason(&gone).starts_with("r0 does not come up"), "{gone:?}");
    assert_eq!(monitor(a), 7);
    a.run("dmsetup suspend frail && dmsetup load frail --table \"0 65536 linear $(readlink -f /dev/lab/data) 0\" && dmsetup resume frail")
        .unwrap()
        .ok()
        .unwrap();
    drbd(a, "start").ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));

    // A primary without its disk whose peer dies has nothing to serve.
    b.run("drbdadm detach r0").unwrap().ok().unwrap();
    a.cut_power();
    until(b, "cs:WFConnection");
    let dead = drbd(b, "monitor").expect(9).unwrap();
    assert!(reason(&dead).contains("lost its disk"), "{dead:?}");
    assert_eq!(score(b), "-D");
    // A demotion of what has failed may say so.
    let _ = drbd(b, "demote");
    drbd(b, "stop").ok().unwrap();
    drbd_with(b, "start", &[("wfc_timeout", "")]).ok().unwrap();
    drbd(b, "promote").ok().unwrap();
    assert_eq!(read(b, 1), "after");
}

#[test]
fn two_primaries_and_none_before_a_promotion() {
    let lab = Lab::open(&Needs::of("two_primaries_and_none_before_a_promotion").agents()).unwrap();
    let guests = pair(&lab);
    let [a, b] = &guests;
    let late = [("connect_only_after_promote", "true")];
    for guest in &guests {
        drbd_with(guest, "start", &late).ok().unwrap();
        assert_eq!(drbd_with(guest, "monitor", &late).code, 0);
        assert!(guest.read("/proc/drbd").unwrap().contains("cs:StandAlone"));
    }
    a.run("drbdadm primary --force r0 && drbdadm secondary r0").unwrap().ok().unwrap();
    drbd_with(a, "promote", &late).ok().unwrap();
    until(a, "cs:WFConnection ro:Primary");
    let told = [("CRM_meta_notify_type", "post"), ("CRM_meta_notify_operation", "start")];
    drbd_with(b, "notify", &[&late[..], &told[..]].concat()).ok().unwrap();
    assert!(b.read("/proc/drbd").unwrap().contains("cs:StandAlone"));
    drbd_with(b, "notify", &told).ok().unwrap();
    both(&guests, |guest| until(guest, "cs:Connected.*ds:UpToDate/UpToDate"));

    let two = [("CRM_meta_master_max", "2"), ("CRM_meta_clone_max", "2")];
    let refused = drbd_with(b, "promote", &two).expect(6).unwrap();
    assert!(reason(&refused).contains("allow-two-primaries"), "{refused:?}");
    let dual = RESOURCE.replace("net { ", "net { allow-two-primaries yes; ");
    for guest in &guests {
        guest.put("/etc/drbd.d/r0.res", &dual).unwrap();
        drbd(guest, "reload-agent").ok().unwrap();
    }
    drbd_with(b, "promote", &two).ok().unwrap();
    assert_eq!((monitor(a), monitor(b)), (8, 8));
    write(a, 3, "one");
    assert_eq!(read(b, 3), "one");
}

/// The promotable clone, as an administrator makes it.
const CLONE: &str = "<clone id='r0-clone'><meta_attributes id='m'><nvpair id='m-p' name='promotable' value='true'/>\
    <nvpair id='m-n' name='notify' value='true'/><nvpair id='m-c' name='clone-max' value='2'/>\
    <nvpair id='m-o' name='clone-node-max' value='1'/><nvpair id='m-m' name='promoted-max' value='1'/></meta_attributes>\
    <primitive id='r0' class='ocf' provider='ringfence' type='drbd'><instance_attributes id='a'>\
    <nvpair id='a-r' name='drbd_resource' value='r0'/></instance_attributes><operations>\
    <op id='op-p' name='monitor' interval='10s' timeout='60s' role='Promoted'/>\
    <op id='op-u' name='monitor' interval='11s' timeout='60s' role='Unpromoted'/>\
    <op id='op-s' name='start' interval='0' timeout='240s'/><op id='op-e' name='stop' interval='0' timeout='100s'/>\
    <op id='op-1' name='promote' interval='0' timeout='90s'/><op id='op-0' name='demote' interval='0' timeout='90s'/>\
    </operations></primitive></clone>";

/// Waits until a command says so.
fn cluster(guest: &Guest, seen: &str) {
    let script = format!("for i in $(seq 140); do {seen} && exit 0; sleep 1.5; done; crm_mon -1Arf; exit 1");
    guest.run_within(Duration::from_secs(200), &script).unwrap().ok().unwrap();
}

#[test]
fn pacemaker_promotes_the_survivor_of_a_power_cut() {
    let needs = Needs::of("pacemaker_promotes_the_survivor_of_a_power_cut").agents().cluster();
    let lab = Lab::open(&needs).unwrap();
    let guests = lab.guests(["n1", "n2"], &Disks::none().own("data", 32)).unwrap();
    both(&guests, |guest| {
        guest.put("/etc/drbd.d/r0.res", RESOURCE).unwrap();
        guest.run("drbdadm create-md --force r0 && drbdadm up r0").unwrap().ok().unwrap();
    });
    until(&guests[0], "cs:Connected");
    guests[0].run("drbdadm new-current-uuid --clear-bitmap r0").unwrap().ok().unwrap();
    both(&guests, |guest| until(guest, "ds:UpToDate/UpToDate"));
    both(&guests, |guest| guest.run("drbdadm down r0").unwrap().ok().map(drop).unwrap());
    cluster(&guests[0], "crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'");
    guests[0].run(&format!("cibadmin -C -o resources -X \"{CLONE}\"")).unwrap().ok().unwrap();
    both(&guests, |guest| {
        cluster(guest, "grep -q ' ds:UpToDate/UpToDate' /proc/drbd && grep -q Primary /proc/drbd");
    });
    let score_of = |node: &str| {
        format!("crm_attribute -N {node} -n master-r0 -l reboot -G -q 2>/dev/null | grep -qx 10000")
    };
    both(&guests, |guest| cluster(guest, &score_of("n1")));
    both(&guests, |guest| cluster(guest, &score_of("n2")));
    let primary = |guest: &Guest| guest.read("/proc/drbd").unwrap().contains("ro:Primary");
    let [first, second] = &guests;
    let (dies, lives) = if primary(first) { (first, second) } else { (second, first) };
    assert!(!primary(lives), "one is promoted");
    cluster(
        dies,
        &format!("crm_resource -W -r r0-clone 2>&1 | grep -Eq 'on: {} (Promoted|Master)'", dies.name()),
    );
    write(dies, 0, "acknowledged");

    dies.cut_power();
    cluster(lives, "grep -q 'ro:Primary' /proc/drbd");
    cluster(
        lives,
        &format!("crm_resource -W -r r0-clone 2>&1 | grep -Eq 'on: {} (Promoted|Master)'", lives.name()),
    );
    assert_eq!(read(lives, 0), "acknowledged");
    write(lives, 1, "after");

    dies.power_on().unwrap();
    both(&guests, |guest| cluster(guest, "grep -q 'cs:Connected.* ds:UpToDate/UpToDate' /proc/drbd"));
    cluster(lives, &score_of(dies.name()));
    assert!(primary(lives) && !primary(dies), "what runs stays where it is");

    // The administrator moves it.
    let away = format!("crm_resource -B -r r0-clone -N {} --promoted", lives.name());
    lives.run(&away).unwrap().ok().unwrap();
    cluster(dies, "grep -q 'ro:Primary/Secondary' /proc/drbd");
    assert_eq!((read(dies, 0), read(dies, 1)), ("acknowledged".to_owned(), "after".to_owned()));

    // Stopped everywhere: no score is left that could promote what does not run.
    dies.run("crm_resource -r r0-clone --meta -p target-role -v Stopped").unwrap().ok().unwrap();
    both(&guests, |guest| {
        cluster(guest, "! grep -q cs: /proc/drbd");
        cluster(guest, "! cibadmin -Q -o status | grep 'name=\"master-r0\"'");
    });
}
