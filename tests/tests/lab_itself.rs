//! The lab's own promises.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Lab, LabError, Needs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn commands_end_as_they_should() {
    let lab = Lab::open(&Needs::of("commands_end_as_they_should")).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    let ran = guest.run("hostname; uname -s >&2; exit 7").unwrap();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "n1\n", "Linux\n"));
    let told = ran.ok().unwrap_err().to_string();
    for part in ["hostname; uname", "exit code 7", "Linux"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    // What it has said is there although its time was up.
    let ran = guest.run_within(Duration::from_secs(8), "echo begun; sleep 60").unwrap();
    assert_eq!((ran.code, ran.text()), (124, "begun"));
    // A daemon keeps the streams; that is not waited for.
    let began = Instant::now();
    guest.run("sleep 60 & echo started").unwrap().ok().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // One runs while others do.
    let running = guest.start_within(Duration::from_secs(60), "echo on; exec sleep 50").unwrap();
    guest.run("true").unwrap().ok().unwrap();
    assert!(running.ended().unwrap().is_none());
    assert_eq!(running.so_far().text(), "on");
    assert_ne!(running.stop().unwrap().code, 0);
    // Files go in whole, with their mode.
    guest.put_mode("/etc/lab/new/it's", "one\ntwo", 0o600).unwrap();
    assert_eq!(guest.read("/etc/lab/new/it's").unwrap(), "one\ntwo");
    assert_eq!(guest.run("stat -c %a /etc/lab/new/*").unwrap().text(), "600");
    assert!(lab.logs().join("n1/commands.log").exists());
}

#[test]
fn two_guests_share_a_network_and_a_disk() {
    let lab = Lab::open(&Needs::of("two_guests_share_a_network_and_a_disk")).unwrap();
    let disks = Disks::none().own("data", 32).shared("lun", 48).paths(2);
    let [a, b] = lab.guests(["n1", "other"], &disks).unwrap();

    // Restored from one snapshot, and still two.
    let [one, two] = [&a, &b].map(|guest| {
        guest
            .run("hostname; cat /etc/machine-id /sys/class/net/eth0/address /proc/sys/kernel/random/uuid")
            .unwrap()
            .ok()
            .unwrap()
    });
    for (one, two) in one.stdout.lines().zip(two.stdout.lines()) {
        assert_ne!(one, two);
    }
    assert_eq!(one.stdout.lines().count(), 4);
    let ahead = a.run("date +%s").unwrap().text().parse::<u64>().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(ahead) < 30, "the guest's clock says {ahead}, the host's {now}");

    // The network, by name, and the host on it.
    a.run("ping -c 1 -W 5 other && ping -c 1 -W 5 host").unwrap().ok().unwrap();
    lab.host(&["ping", "-c", "1", "-W", "5", &b.address()]).unwrap();
    a.link(false).unwrap();
    assert_ne!(b.run("ping -c 1 -W 1 n1").unwrap().code, 0);
    assert_eq!(a.run("cat /sys/class/net/eth0/carrier").unwrap().text(), "0");
    a.link(true).unwrap();
    b.run("for i in 1 2 3 4 5; do ping -c 1 -W 2 n1 && exit 0; done; exit 1").unwrap().ok().unwrap();

    // Disks: an own one, and a shared one that each sees twice.
    let write = "echo from-$(hostname) | dd of=/dev/lab/data conv=sync oflag=direct status=none bs=4096";
    for guest in [&a, &b] {
        guest.run(write).unwrap().ok().unwrap();
        let sizes = guest.run("lsblk -dnbo SIZE /dev/sd?").unwrap().ok().unwrap();
        let sizes: Vec<u64> =
            sizes.stdout.lines().map(|line| line.trim().parse::<u64>().unwrap() >> 20).collect();
        assert_eq!(sizes, [32, 48, 48]);
        let paths = guest.run("for d in sdb sdc; do cat /sys/block/$d/device/wwid; done | sort -u").unwrap();
        assert_eq!(paths.stdout.lines().count(), 1, "{paths:?}");
    }
    a.run("echo shared | dd of=/dev/sdb conv=sync oflag=direct status=none bs=4096").unwrap().ok().unwrap();
    let seen = b.run("head -c 6 /dev/sdc; head -c 10 /dev/lab/data").unwrap().ok().unwrap();
    assert_eq!(seen.stdout, "sharedfrom-other");

    // It grows while the guest runs.
    b.grow("data", 64).unwrap();
    b.run("echo 1 >/sys/block/sda/device/rescan").unwrap().ok().unwrap();
    assert_eq!(b.run("blockdev --getsize64 /dev/lab/data").unwrap().text(), (64_u64 << 20).to_string());

    // A power cut takes everything but the disks and what the test has put there.
    b.put("/etc/kept", "yes").unwrap();
    b.run("echo no >/etc/lost").unwrap().ok().unwrap();
    b.cut_power();
    assert!(!b.is_on());
    assert!(matches!(b.run("true"), Err(LabError::Refused(_))));
    b.power_on().unwrap();
    let seen = b.run("head -c 10 /dev/lab/data; cat /etc/kept; test ! -e /etc/lost").unwrap().ok().unwrap();
    assert_eq!(seen.stdout, "from-otheryes");
    a.run("ping -c 1 -W 5 other").unwrap().ok().unwrap();
}

#[test]
fn agents_are_called_as_pacemaker_calls_them() {
    let lab = Lab::open(&Needs::of("agents_are_called_as_pacemaker_calls_them").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    // Upstream's cannot have blanks there.
    for (agent, state) in [("ringfence/Dummy", "/run/it's there"), ("heartbeat/Dummy", "/run/there")] {
        let state = [("state", state)];
        for (action, code) in [("monitor", 7), ("start", 0), ("monitor", 0), ("stop", 0), ("monitor", 7)] {
            guest.agent(agent, action, &state).unwrap().expect(code).unwrap();
        }
    }
    guest.agent("ringfence/Dummy", "no-such-action", &[]).unwrap().expect(3).unwrap();
    guest
        .run("fence_ipmilan -o metadata | grep -q '<resource-agent' && command -v ringfence-conformance")
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn a_guest_that_resets_itself_is_off() {
    let lab = Lab::open(&Needs::of("a_guest_that_resets_itself_is_off")).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    assert!(guest.is_on());
    let why = guest.run("echo b >/proc/sysrq-trigger; sleep 60").unwrap_err().to_string();
    assert!(why.contains("agent"), "{why}");
    let end = Instant::now() + Duration::from_secs(20);
    while guest.is_on() {
        assert!(Instant::now() < end, "QEMU outlived the reset");
        std::thread::sleep(Duration::from_millis(20));
    }
    guest.cut_power();
    guest.power_on().unwrap();
    guest.run("true").unwrap().ok().unwrap();
}

#[test]
fn nothing_is_left_when_the_driver_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("note");
    let mut driver = Command::new(env!("CARGO_BIN_EXE_rf-lab"))
        .arg("hold")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    let folder = loop {
        if let Ok(text) = std::fs::read_to_string(&file)
            && text.ends_with('\n')
        {
            break PathBuf::from(text.trim());
        }
        assert!(Instant::now() < end && driver.try_wait().unwrap().is_none(), "no guest came up");
        std::thread::sleep(Duration::from_millis(50));
    };
    // Two machines, and what holds their namespaces.
    assert_eq!(processes(&folder).len(), 3, "{:?}", processes(&folder));
    driver.kill().unwrap();
    driver.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !processes(&folder).is_empty() {
        assert!(Instant::now() < end, "still there: {:?}", processes(&folder));
        std::thread::sleep(Duration::from_millis(20));
    }
    // A killed driver cannot remove its folder: the next one does.
    drop(Lab::open(&Needs::of("nothing_is_left_when_the_driver_is_killed")).unwrap());
    assert!(!folder.exists());
}

/// The processes whose command line speaks of this folder.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let lines = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(folder)).collect()
}
