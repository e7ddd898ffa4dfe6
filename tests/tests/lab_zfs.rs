//! The agent for pools on real OpenZFS: two hosts and one disk, owners that live or are dead, disks that fail, hang or are gone.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};
use std::time::{Duration, Instant};

const AGENT: &str = "ringfence/ZFS";
/// What an emulated guest needs for a `zpool` that watches a pool for other users: twice 25 s, and more on a busy host.
const LONG: (&str, &str) = ("CRM_meta_timeout", "240000");
const LIMIT: Duration = Duration::from_secs(240);
/// A host has the same hostid after each of its boots.
const BOOT: &str = "#!/bin/sh\nzgenhostid -f $(hostname | cksum | cut -c1-8)\n";

fn lab(test: &str) -> Lab {
    Lab::open(&Needs::of(test).agents().zfs()).unwrap()
}

fn sh(guest: &Guest, script: &str) -> String {
    guest.run_within(LIMIT, &format!("set -e\n{script}")).unwrap().ok().unwrap().text().to_owned()
}

fn call(guest: &Guest, action: &str, parameters: &[(&str, &str)]) -> Ran {
    let mut all = vec![LONG, ("pool", "tank")];
    all.retain(|(name, _)| !parameters.iter().any(|(given, _)| given == name));
    all.extend(parameters);
    guest.agent(AGENT, action, &all).unwrap()
}

fn refused(guest: &Guest, parameters: &[(&str, &str)], code: i32, why: &str) {
    let ran = call(guest, "start", parameters).expect(code).unwrap();
    assert!(ran.stderr.contains(why), "no '{why}': {ran:?}");
}

/// The kernel's own word.
fn state(guest: &Guest) -> String {
    guest.run("cat /proc/spl/kstat/zfs/tank/state").unwrap().text().to_owned()
}

/// Two guests with hostids of their own; `multihost` is a value of the pool's property. The pool is imported on the first.
fn two(lab: &Lab, multihost: &str) -> [Guest; 2] {
    let [a, b] = lab.guests(["n1", "n2"], &Disks::none().shared("tank", 128)).unwrap();
    for guest in [&a, &b] {
        guest.put_mode("/etc/lab/boot", BOOT, 0o755).unwrap();
        sh(guest, "/etc/lab/boot");
    }
    assert_ne!(sh(&a, "hostid"), sh(&b, "hostid"));
    sh(
        &a,
        &format!(
            "zpool create -o cachefile=none -O mountpoint=/tank tank $(readlink -f /dev/lab/tank)
             zpool set multihost={multihost} tank; echo kept >/tank/x; sync; zpool sync tank"
        ),
    );
    // The partitions that the other one has made.
    sh(&b, "blockdev --rereadpt /dev/lab/tank; udevadm settle");
    [a, b]
}

#[test]
fn a_pool_moves_between_guests_and_is_not_taken_from_a_living_one() {
    let lab = lab("a_pool_moves_between_guests_and_is_not_taken_from_a_living_one");
    let [a, b] = two(&lab, "on");

    // What runs already is left alone, and seen without a fork.
    call(&a, "start", &[]).expect(0).unwrap();
    call(&a, "monitor", &[("CRM_meta_interval", "5000")]).expect(0).unwrap();
    let traced = sh(
        &a,
        "export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_pool=tank OCF_RESKEY_CRM_meta_interval=5000 OCF_RESKEY_CRM_meta_timeout=30000
         strace -f -e trace=process -o /tmp/trace /usr/lib/ocf/resource.d/ringfence/ZFS monitor
         echo forks $(grep -c 'fork(\\|clone' /tmp/trace || :) execs $(grep -c 'execve(' /tmp/trace)",
    );
    assert_eq!(traced, "forks 0 execs 1", "the one is the agent itself");

    // Alive elsewhere: nobody takes it, whatever they say.
    call(&b, "monitor", &[]).expect(7).unwrap();
    for force in [&[][..], &[("importforce", "false")], &[("importforce", "true")]] {
        refused(&b, force, 1, "pool is imported on");
        call(&b, "monitor", &[]).expect(7).unwrap();
        assert_eq!(state(&a), "ONLINE");
    }

    // Given away, and back.
    for (from, to) in [(&a, &b), (&b, &a)] {
        call(from, "stop", &[]).expect(0).unwrap();
        call(from, "stop", &[]).expect(0).unwrap();
        call(from, "monitor", &[]).expect(7).unwrap();
        call(to, "start", &[]).expect(0).unwrap();
        assert_eq!(sh(to, "cat /tank/x; zpool get -H -o value cachefile tank"), "kept\nnone");
        call(to, "monitor", &[("CRM_meta_interval", "5000")]).expect(0).unwrap();
    }

    // The owner's power goes. Without a cluster that has lost it, only the administrator takes it; and the pool's own watch
    // comes before.
    a.cut_power();
    refused(
        &b,
        &[("importforce", "false")],
        1,
        "was previously in use from another system. Last accessed by n1",
    );
    refused(&b, &[], 1, "used last by host n1, and the cluster cannot be asked about it");
    let began = Instant::now();
    call(&b, "start", &[("importforce", "true")]).expect(0).unwrap();
    assert!(began.elapsed() > Duration::from_secs(5), "it was not watched: {:?}", began.elapsed());
    assert_eq!(sh(&b, "cat /tank/x"), "kept");

    // The dead one comes back.
    a.power_on().unwrap();
    call(&a, "monitor", &[]).expect(7).unwrap();
    call(&a, "stop", &[]).expect(0).unwrap();
    refused(&a, &[("importforce", "true")], 1, "pool is imported on");
    assert_eq!(sh(&b, "cat /tank/x"), "kept");
}

/// A `crm_node` that knows what is said.
fn cluster_says(guest: &Guest, nodes: &str) {
    guest.put_mode("/usr/local/sbin/crm_node", &format!("#!/bin/sh\nprintf '{nodes}'\n"), 0o755).unwrap();
}

#[test]
fn a_pool_without_multihost_is_taken_from_a_lost_node_only() {
    let lab = lab("a_pool_without_multihost_is_taken_from_a_lost_node_only");
    let [a, b] = two(&lab, "off");
    // It has it, and nothing but the question who is alive keeps it from being imported twice.
    refused(&b, &[("importforce", "false")], 1, "Last accessed by n1");
    cluster_says(&b, "1 n1 member\\n2 n2 member\\n");
    refused(&b, &[], 1, "used last by host n1, which is alive: export it there");
    cluster_says(&b, "2 n2 member\\n3 n3 lost\\n");
    refused(&b, &[], 1, "used last by host n1, which is no node of this cluster and may be alive");
    assert_eq!((state(&a).as_str(), state(&b).as_str()), ("ONLINE", ""));

    a.cut_power();
    cluster_says(&b, "1 n1 lost\\n2 n2 member\\n");
    call(&b, "start", &[]).expect(0).unwrap();
    assert_eq!(sh(&b, "cat /tank/x"), "kept");
    // The own host, with another hostid.
    sh(&b, "zpool sync tank");
    b.cut_power();
    b.power_on().unwrap();
    sh(&b, "zgenhostid -f 11223344");
    refused(&b, &[("importforce", "false")], 1, "Last accessed by n2");
    call(&b, "start", &[]).expect(0).unwrap();

    // Always, on the administrator's word.
    b.cut_power();
    a.power_on().unwrap();
    sh(&a, "udevadm settle");
    call(&a, "start", &[("importforce", "true")]).expect(0).unwrap();
    assert_eq!(sh(&a, "cat /tank/x"), "kept");
}

#[test]
fn an_action_that_is_killed_is_healed_by_the_next() {
    let lab = lab("an_action_that_is_killed_is_healed_by_the_next");
    let [guest] = lab.guests(["n1"], &Disks::none().own("tank", 128)).unwrap();
    sh(
        &guest,
        "zpool create -o cachefile=none -O mountpoint=/tank tank $(readlink -f /dev/lab/tank); zpool set multihost=on tank; echo kept >/tank/x",
    );
    let kill = |action: &str, after: &str| {
        sh(
            &guest,
            &format!(
                "export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_pool=tank OCF_RESKEY_CRM_meta_timeout=120000
                 setsid /usr/lib/ocf/resource.d/ringfence/ZFS {action} >/dev/null 2>&1 & pid=$!
                 sleep {after}; kill -s KILL -- -$pid 2>/dev/null || echo over; wait $pid || :"
            ),
        )
    };
    let mut cut = 0;
    for after in ["0.03", "0.1", "0.3", "0.6", "1"] {
        cut += usize::from(kill("stop", after).is_empty());
        call(&guest, "stop", &[]).expect(0).unwrap();
        call(&guest, "monitor", &[]).expect(7).unwrap();
        // What a killed start has left is taken away, and does not come a moment later.
        cut += usize::from(kill("start", after).is_empty());
        call(&guest, "stop", &[]).expect(0).unwrap();
        call(&guest, "monitor", &[]).expect(7).unwrap();
        assert_eq!(
            sh(&guest, "sleep 1; pgrep -x zpool || :; ls /proc/spl/kstat/zfs | grep -x tank || :"),
            ""
        );
        call(&guest, "start", &[]).expect(0).unwrap();
        call(&guest, "monitor", &[("CRM_meta_interval", "5000")]).expect(0).unwrap();
        assert_eq!(sh(&guest, "cat /tank/x"), "kept");
    }
    assert!(cut >= 4, "{cut} of 10 actions were killed before their end");
}

/// Ends the action and says how long it took.
fn timed(guest: &Guest, action: &str, more: &[(&str, &str)], level: &str) -> (Ran, Duration) {
    let mut all = vec![("pool", "tank")];
    all.extend(more);
    let began = Instant::now();
    let ran = guest.agent_with(AGENT, action, &all, &[("OCF_CHECK_LEVEL", level)]).unwrap();
    (ran, began.elapsed())
}

/// Of 20 s and more the agent leaves one for saying why, which an emulated guest needs.
const SHORT: (&str, &str) = ("CRM_meta_timeout", "21000");
const RECURRING: (&str, &str) = ("CRM_meta_interval", "5000");

#[test]
fn a_pool_whose_disk_hangs_or_fails_is_told_from_a_good_one() {
    let lab = lab("a_pool_whose_disk_hangs_or_fails_is_told_from_a_good_one");
    let [guest] = lab.guests(["n1"], &Disks::none().own("tank", 128)).unwrap();
    sh(
        &guest,
        "echo \"0 $(blockdev --getsz /dev/lab/tank) linear $(readlink -f /dev/lab/tank) 0\" >/root/good
         echo \"0 $(blockdev --getsz /dev/lab/tank) error\" >/root/bad
         dmsetup create thing /root/good; udevadm settle
         zpool create -o cachefile=none -O mountpoint=/tank tank /dev/mapper/thing; echo kept >/tank/x; zpool sync tank",
    );
    timed(&guest, "monitor", &[RECURRING], "10").0.expect(0).unwrap();

    // The disk does not answer any more: the pool says ONLINE, and only a write that is waited for tells.
    sh(&guest, "dmsetup suspend --noflush --nolockfs thing");
    assert_eq!(state(&guest), "ONLINE");
    let (ran, took) = timed(&guest, "monitor", &[RECURRING], "0");
    assert!(ran.code == 0 && took < Duration::from_secs(5), "{took:?} {ran:?}");
    for (action, why) in [
        ("monitor", "a write to pool tank did not reach its disks: zpool hangs in the kernel"),
        ("stop", "zpool hangs in the kernel"),
    ] {
        let (ran, took) = timed(&guest, action, &[RECURRING, SHORT], "10");
        assert!(ran.code == 1 && ran.stderr.contains(why), "{action}: {ran:?}");
        assert!(took < Duration::from_secs(24), "{action} took {took:?}");
    }
    assert_eq!(sh(&guest, "pgrep -x ZFS || :"), "", "no agent is left that waits");
    // It answers again: the next stop stops, and nothing is lost.
    sh(&guest, "dmsetup resume thing");
    call(&guest, "stop", &[]).expect(0).unwrap();
    call(&guest, "start", &[("importargs", "-d /dev/mapper")]).expect(0).unwrap();
    assert_eq!(sh(&guest, "cat /tank/x"), "kept");

    // The disk refuses: the pool is suspended.
    sh(&guest, "dmsetup suspend --nolockfs thing; dmsetup load thing /root/bad; dmsetup resume thing");
    guest.run("echo lost >/tank/y; timeout -s KILL 5 zpool sync tank & sleep 6").unwrap();
    assert_eq!(state(&guest), "SUSPENDED");
    let (ran, _) = timed(&guest, "monitor", &[RECURRING], "0");
    assert!(
        ran.code == 1 && ran.stderr.contains("pool tank is suspended: its disks do not answer"),
        "{ran:?}"
    );
    let (ran, took) = timed(&guest, "stop", &[], "0");
    assert!(ran.code == 1 && ran.stderr.contains("is suspended and cannot be exported"), "{ran:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // As the reason says: the disks are mended and the pool is cleared.
    sh(
        &guest,
        "dmsetup suspend --nolockfs thing; dmsetup load thing /root/good; dmsetup resume thing; zpool clear tank; sleep 1",
    );
    timed(&guest, "monitor", &[RECURRING], "10").0.expect(0).unwrap();
    call(&guest, "stop", &[]).expect(0).unwrap();
    call(&guest, "start", &[("importargs", "-d /dev/mapper")]).expect(0).unwrap();
    assert_eq!(sh(&guest, "cat /tank/x"), "kept");
}

/// What `zpool` and the agent do of a pool whose disk was taken away. The kernel then tries the same writes without a pause on
/// the guest's only processor: only with a real-time priority is there one for the agent, as on a host with several.
const GONE: &str = "D=$(basename $(readlink -f /dev/lab/tank))
export OCF_ROOT=/usr/lib/ocf OCF_RESKEY_pool=tank OCF_RESKEY_CRM_meta_timeout=21000
agent() {
    B=$(cut -d' ' -f1 /proc/uptime)
    timeout -k 1 25 /usr/lib/ocf/resource.d/ringfence/ZFS $1 >/dev/null 2>/run/said; C=$?
    echo $1 ${OCF_CHECK_LEVEL:-0}: $C after $(echo $B $(cut -d' ' -f1 /proc/uptime) | awk '{ print int($2 - $1) }') $(head -n 1 /run/said)
}
echo 1 >/sys/block/$D/device/delete
echo lost >/tank/y
echo state $(cat /proc/spl/kstat/zfs/tank/state)
export OCF_RESKEY_CRM_meta_interval=5000
agent monitor
OCF_CHECK_LEVEL=10 agent monitor
agent stop
echo left $(pgrep -x ZFS)";

#[test]
fn a_pool_whose_disk_is_gone_fails_in_time() {
    let lab = lab("a_pool_whose_disk_is_gone_fails_in_time");
    let [guest] = lab.guests(["n1"], &Disks::none().own("tank", 128)).unwrap();
    sh(
        &guest,
        "zpool create -o cachefile=none -O mountpoint=/tank tank $(readlink -f /dev/lab/tank); echo kept >/tank/x; zpool sync tank",
    );
    guest.put("/root/gone", GONE).unwrap();
    // The guest may not be able to say that the script has ended: its words are what counts.
    let running = guest.start_within(LIMIT, "exec chrt -r 10 sh /root/gone").unwrap();
    let end = Instant::now() + LIMIT;
    while !running.so_far().stdout.contains("\nleft") {
        assert!(Instant::now() < end, "{:?}", running.so_far());
        std::thread::sleep(Duration::from_millis(500));
    }
    let said = running.so_far().stdout;
    let line = |word: &str| said.lines().find(|line| line.starts_with(word)).unwrap_or_default().to_owned();
    println!("{said}");
    assert_eq!(line("state"), "state ONLINE");
    assert!(line("monitor 0").starts_with("monitor 0: 0 after"), "{said}");
    assert!(line("monitor 10").starts_with("monitor 10: 1 after"), "{said}");
    assert!(line("monitor 10").contains("a write to pool tank did not reach its disks"), "{said}");
    assert!(
        line("stop").starts_with("stop 0: 1 after") && line("stop").contains("zpool hangs in the kernel"),
        "{said}"
    );
    assert_eq!(line("left"), "left", "no agent is left that waits");
}

#[test]
fn what_cannot_be_imported_is_told() {
    let lab = lab("what_cannot_be_imported_is_told");
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 128).own("two", 128)).unwrap();
    let harmless = |parameters: &[(&str, &str)]| {
        call(&guest, "stop", parameters).expect(0).unwrap();
        call(&guest, "monitor", parameters).expect(7).unwrap();
    };
    refused(
        &guest,
        &[("pool", "nowhere")],
        1,
        "cannot import pool nowhere: cannot import 'nowhere': no such pool",
    );
    harmless(&[("pool", "nowhere")]);
    for (wrong, why) in
        [("--nonsense", "option"), ("-d", "cannot import pool tank"), ("-d /nowhere", "no such")]
    {
        refused(&guest, &[("importargs", wrong)], 1, why);
        harmless(&[("importargs", wrong)]);
    }

    // Two pools with one name.
    sh(
        &guest,
        "for d in one two; do zpool create -o cachefile=none -O mountpoint=/tank tank $(readlink -f /dev/lab/$d); echo $d >/tank/x; zpool export tank; done",
    );
    refused(&guest, &[], 1, "more than one matching pool");
    harmless(&[]);
    call(&guest, "start", &[("importargs", "-d /dev/lab/two-part1")]).expect(0).unwrap();
    assert_eq!(sh(&guest, "cat /tank/x"), "two");
    call(&guest, "stop", &[]).expect(0).unwrap();

    // The tools are there, and the kernel has no ZFS.
    let module = "$(modinfo -n zfs)";
    sh(&guest, &format!("modprobe -r zfs; cp {module} /root/zfs.ko; rm {module}; depmod"));
    harmless(&[]);
    refused(&guest, &[], 5, "The ZFS modules");
    harmless(&[]);
    // Neither.
    sh(&guest, "rm $(command -v zpool)");
    harmless(&[]);
    refused(&guest, &[], 5, "zpool is not installed");
}

/// Runs `monitor` of upstream's agent and of ours in turns and answers how much longer upstream's takes: wall, CPU.
fn times_upstream(guest: &Guest, kind: &str, environment: &str) -> [f64; 2] {
    const PLACE: &str = "/root/pairs-of-calls.py";
    guest.put_mode(PLACE, include_str!("../lab/pairs-of-calls.py"), 0o755).unwrap();
    let base = "/usr/lib/ocf/resource.d";
    let said = sh(
        guest,
        &format!(
            "export OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=1 OCF_RESOURCE_INSTANCE=lab \
             OCF_RESKEY_CRM_meta_interval=5000 OCF_RESKEY_CRM_meta_timeout=60000 {environment}
             mkdir -p /run/resource-agents
             {PLACE} 10 {base}/heartbeat/{kind} {base}/ringfence/{kind} monitor"
        ),
    );
    let rows: Vec<Vec<f64>> =
        said.lines().map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect();
    assert_eq!((rows[0][0], rows[1][0]), (0.0, 0.0), "{kind}: {said}");
    [rows[0][1] / rows[1][1], rows[0][2] / rows[1][2]]
}

#[test]
fn monitors_cost_a_part_of_upstreams() {
    let lab = lab("monitors_cost_a_part_of_upstreams");
    let [guest] = lab.guests(["n1"], &Disks::none().own("tank", 128)).unwrap();
    let iqn = "iqn.2026-01.org.lab:cost";
    sh(
        &guest,
        "zpool create -o cachefile=none tank $(readlink -f /dev/lab/tank); zfs create -V 16M tank/lun; udevadm settle",
    );
    let target = [("implementation", "lio-t"), ("iqn", iqn)];
    let lun =
        [("implementation", "lio-t"), ("target_iqn", iqn), ("lun", "1"), ("path", "/dev/zvol/tank/lun")];
    guest.agent("ringfence/iSCSITarget", "start", &target).unwrap().ok().unwrap();
    guest.agent("ringfence/iSCSILogicalUnit", "start", &lun).unwrap().ok().unwrap();
    for (kind, parameters) in
        [("ZFS", &[("pool", "tank")][..]), ("iSCSITarget", &target), ("iSCSILogicalUnit", &lun)]
    {
        let environment: Vec<String> =
            parameters.iter().map(|(name, value)| format!("OCF_RESKEY_{name}={value}")).collect();
        let [wall, cpu] = times_upstream(&guest, kind, &environment.join(" "));
        println!(
            "{kind} monitor, running: upstream takes {wall:.1} times the wall and {cpu:.1} times the CPU time"
        );
        assert!(wall > 3.0 && cpu > 3.0, "{kind}: {wall} {cpu}");
    }
}
