//! `multipath-resize` where something is wrong or missing, and as a resource that grows by itself.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::Duration;

const AGENT: &str = "/usr/lib/ocf/resource.d/ringfence/multipath-resize";
const RESOURCE: &str = "ringfence/multipath-resize";
const LIMIT: Duration = Duration::from_secs(240);

fn run(guest: &Guest, script: &str) -> String {
    guest.run_within(LIMIT, &format!("set -e\n{script}")).unwrap().ok().unwrap().stdout
}

/// The code and what was said of a call that is to fail.
fn refused(guest: &Guest, script: &str) -> (i32, String) {
    let ran = guest.run_within(LIMIT, script).unwrap();
    (ran.code, ran.stdout + &ran.stderr)
}

#[test]
fn a_resource_grows_by_itself_when_it_may() {
    let lab = Lab::open(&Needs::of("a_resource_grows_by_itself_when_it_may").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("data", 100)).unwrap();
    run(
        &guest,
        "D=$(readlink -f /dev/lab/data); sgdisk -n 1:2048:0 $D >/dev/null; udevadm settle; mkfs.ext4 -q ${D}1; mount ${D}1 /mnt",
    );
    let call = |action: &str, auto: &str| {
        let parameters =
            [("device", "/mnt"), ("auto", auto), ("report_mismatch", "true"), ("CRM_meta_interval", "60000")];
        guest.agent(RESOURCE, action, &parameters).unwrap()
    };
    let size = || run(&guest, "df --output=size -B1M /mnt | tail -1").trim().parse::<u64>().unwrap();
    assert_eq!((call("start", "true").code, call("monitor", "true").code), (0, 0));
    guest.grow("data", 200).unwrap();
    // Without leave it is only told; the same monitor grows it with leave, and the next one has nothing to tell.
    let told = call("monitor", "false");
    assert!(told.code == 190 && told.stderr.contains("next: writing partition 1"), "{told:?}");
    assert!(size() < 100);
    let grew = call("monitor", "true");
    assert!(matches!(grew.code, 0 | 190) && size() > 150, "{grew:?}");
    assert_eq!(call("monitor", "true").code, 0);
    // A probe, and a stop, never grow anything; a start does.
    guest.grow("data", 300).unwrap();
    assert_eq!(guest.agent(RESOURCE, "monitor", &[("device", "/mnt"), ("auto", "true")]).unwrap().code, 0);
    assert_eq!((call("stop", "true").code, size() < 200), (0, true));
    assert_eq!((call("start", "true").code, size() > 250), (0, true));
    // Two at once: one grows, the other one waits, and neither fails.
    guest.grow("data", 400).unwrap();
    let both = format!(
        "{AGENT} apply device=/mnt >/tmp/a & A=$!; {AGENT} apply device=/mnt >/tmp/b; wait $A; cat /tmp/a /tmp/b"
    );
    let done = run(&guest, &both);
    assert!(
        done.matches("growing the ext file system").count() == 1 && done.contains("nothing to do"),
        "{done}"
    );
}

/// Loop devices: each is a disk whose size the script has in its hand.
const LOOP: &str = "loop() { truncate -s $2 /root/$1; losetup -f --show /root/$1; }\n";

#[test]
fn what_is_not_recognised_or_has_shrunk_is_not_touched() {
    let test = "what_is_not_recognised_or_has_shrunk_is_not_touched";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    let plan = format!("{AGENT} plan device=$L");
    for (make, why) in [
        (
            format!(
                "L=$(loop a 40M); mkfs.ext4 -q $L; mkdir /m; mount $L /m; truncate -s 30M /root/a; losetup -c $L; {plan}"
            ),
            "nothing is made smaller here; has the disk shrunk",
        ),
        (format!("L=$(loop b 40M); mkswap $L >/dev/null; {plan}"), "swap space"),
        (
            format!(
                "L=$(loop c 40M); printf 'LUKS\\272\\276\\0\\2' | dd of=$L conv=notrunc status=none; {plan}"
            ),
            "an encrypted device (LUKS)",
        ),
        (
            format!(
                "L=$(loop d 40M); dmsetup create odd --table \"0 8192 linear $L 0\"; mkfs.ext4 -q /dev/mapper/odd; {AGENT} plan device=/dev/mapper/odd; {plan}"
            ),
            "the map odd, of a kind that is not grown here",
        ),
        (format!("L=$(loop e 40M); {plan}"), "has no file system"),
        (
            format!(
                "L=$(loop f 80M); pvcreate -qq -y $L; vgcreate -qq vt $L; lvcreate -qq -y -L 40M --thinpool pool vt 2>/dev/null || lvcreate -qq -y --type mirror -m 0 -L 8M -n pool vt; lvcreate -qq -y -L 8M -n two vt; {AGENT} plan device=$L extend_lv=true"
            ),
            "logical volumes: name the one",
        ),
    ] {
        let (code, told) = refused(&guest, &format!("{LOOP}{make}"));
        assert!(code == 2 && told.contains(why), "{why}: {code} {told}");
    }
    // The same for a resource: told, degraded if wanted, and no outage.
    let parameters = |report| {
        [("device", "/m"), ("auto", "true"), ("report_mismatch", report), ("CRM_meta_interval", "60000")]
    };
    run(&guest, "mkdir -p /run/resource-agents; touch /run/resource-agents/multipath-resize-lab.state");
    let told = guest.agent(RESOURCE, "monitor", &parameters("true")).unwrap();
    assert!(told.code == 190 && told.stderr.contains("nothing is made smaller"), "{told:?}");
    assert_eq!(guest.agent(RESOURCE, "monitor", &parameters("false")).unwrap().code, 0);
    assert_eq!(guest.agent(RESOURCE, "stop", &parameters("false")).unwrap().code, 0);
}

#[test]
fn what_is_missing_or_full_or_read_only_is_told() {
    let lab = Lab::open(&Needs::of("what_is_missing_or_full_or_read_only_is_told").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("data", 200)).unwrap();
    run(
        &guest,
        "D=$(readlink -f /dev/lab/data); pvcreate -qq -y $D; vgcreate -qq vg $D; lvcreate -qq -y -l 100%FREE -n lv vg
         mkfs.ext4 -q /dev/vg/lv; mount /dev/vg/lv /mnt",
    );
    guest.grow("data", 300).unwrap();
    let apply = format!("{AGENT} apply device=/mnt extend_lv=true");
    let start = format!(
        "OCF_ROOT=/usr/lib/ocf OCF_RESKEY_device=/mnt OCF_RESKEY_extend_lv=true OCF_RESKEY_auto=true {AGENT} start"
    );
    // Half a stack that has grown is no better than none: without one tool nothing is done.
    let before = run(&guest, "pvs --noheadings -o pv_size; lvs --noheadings -o lv_size");
    for tool in ["pvresize", "lvextend", "resize2fs"] {
        let (code, told) = refused(
            &guest,
            &format!(
                "T=$(command -v {tool}); mv $T /root/tool; {start}; echo start $?; {apply}; C=$?; mv /root/tool $T; exit $C"
            ),
        );
        assert!(
            code == 5 && told.contains("start 5") && told.matches(tool).count() >= 2,
            "{tool}: {code} {told}"
        );
        assert_eq!(run(&guest, "pvs --noheadings -o pv_size; lvs --noheadings -o lv_size"), before, "{tool}");
    }
    // Read-only: everything below grows, and the file system when it can be written to.
    let done = run(&guest, &format!("mount -o remount,ro /mnt; {apply}; {AGENT} plan device=/mnt"));
    assert!(done.contains("extending vg/lv") && !done.contains("growing the ext"), "{done}");
    assert!(done.contains("read-only on /mnt: grows once it is writable"), "{done}");
    // Full, and with nowhere to write to: a file system that is full is the very reason to grow it.
    let done = run(
        &guest,
        &format!(
            "mount -o remount,rw /mnt; dd if=/dev/zero of=/mnt/all bs=1M status=none 2>/dev/null || :
             {AGENT} plan device=/mnt --json; {apply} --json; df --output=avail -B1M /mnt | tail -1"
        ),
    );
    let lines: Vec<&str> = done.lines().collect();
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (plan, applied) = (json(lines.first().unwrap()), json(lines.get(1).unwrap()));
    assert!(plan["steps"][0].as_str().unwrap().starts_with("growing the ext file system"), "{plan}");
    assert!(
        plan["layers"].as_array().unwrap().iter().any(|layer| layer["bytes"] != layer["bytes_then"]),
        "{plan}"
    );
    assert!(applied["complete"] == true && applied["steps"] == plan["steps"], "{applied}");
    assert!(lines.get(2).unwrap().trim().parse::<u64>().unwrap() > 50, "{done}");
    // A parameter that is none of its own.
    let (code, told) = refused(&guest, &format!("{AGENT} plan --jsn device=/mnt"));
    assert!(code == 2 && told.contains("--jsn is no parameter"), "{told}");
    // No place for the lock and the state: told, and nothing is grown.
    guest.grow("data", 400).unwrap();
    let (code, told) = refused(
        &guest,
        &format!(
            "mkdir -p /run/resource-agents; mount -t tmpfs -o ro none /run/resource-agents; {start}; echo start $?; {apply}"
        ),
    );
    assert!(
        code != 0 && !told.contains("start 0") && told.to_lowercase().contains("read-only file system"),
        "{code} {told}"
    );
}
