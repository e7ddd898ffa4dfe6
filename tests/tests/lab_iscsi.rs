//! The agents of iSCSI targets and units with the kernel's own target (LIO), and Linux's initiator.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::Duration;

const IQN: &str = "iqn.2026-01.org.lab:t";
const TARGET: &str = "ringfence/iSCSITarget";
const UNIT: &str = "ringfence/iSCSILogicalUnit";
const LIO: (&str, &str) = ("implementation", "lio-t");
/// All that the kernel's target holds, one line for each thing; a link with where it points to.
const EVERYTHING: &str = r"cd /sys/kernel/config/target && find core iscsi -mindepth 1 \( -type d -print \) -o \( -type l -printf '%p -> %l\n' \) 2>/dev/null |
    grep -v -e discovery_auth -e '^core/alua' | sort";

/// What a host with a system bus and systemd-tmpfiles has: targetcli asks the bus for backstores of tcmu-runner, and
/// upstream's agents wait for ever for a lock in a folder that is not there.
const LIKE_A_HOST: &str =
    "mkdir -p /run/resource-agents /etc/target /usr/local/lib/python3.11/dist-packages/gi
cd /usr/local/lib/python3.11/dist-packages/gi && echo >__init__.py
echo 'class Gio:
    class BusType: SYSTEM = 1
    @staticmethod
    def bus_get_sync(*words): return None' >repository.py";

fn target<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[LIO, ("iqn", IQN), ("CRM_meta_timeout", "60000")], more].concat()
}

fn unit<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[LIO, ("target_iqn", IQN), ("lun", "1"), ("path", "/dev/lab/one")], more].concat()
}

fn code(guest: &Guest, agent: &str, action: &str, parameters: &[(&str, &str)]) -> i32 {
    guest.agent(agent, action, parameters).unwrap().code
}

fn good(guest: &Guest, agent: &str, action: &str, parameters: &[(&str, &str)]) {
    guest.agent(agent, action, parameters).unwrap().ok().unwrap();
}

fn everything(guest: &Guest) -> String {
    guest.run(EVERYTHING).unwrap().stdout
}

#[test]
fn a_kernel_target_from_start_to_stop() {
    let lab = Lab::open(&Needs::of("a_kernel_target_from_start_to_stop").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 32)).unwrap();
    guest.run(LIKE_A_HOST).unwrap().ok().unwrap();
    let before = everything(&guest);
    let portals = target(&[("portals", "10.55.0.11 [::1]:3261 192.0.2.9:3260")]);
    for (agent, parameters) in [(TARGET, &portals), (UNIT, &unit(&[]))] {
        assert_eq!(code(&guest, agent, "monitor", parameters), 7);
        assert_eq!(code(&guest, agent, "stop", parameters), 0);
    }
    let early = guest.agent(UNIT, "start", &unit(&[])).unwrap();
    assert!(early.code == 1 && early.stderr.contains("there is no target"), "{early:?}");
    assert_eq!(everything(&guest), before, "a start that failed has left something");
    for _ in 0..2 {
        good(&guest, TARGET, "start", &portals);
        good(
            &guest,
            UNIT,
            "start",
            &unit(&[("product_id", "fence"), ("block_size", "4096"), ("emulate_caw", "0")]),
        );
    }
    good(&guest, TARGET, "monitor", &portals);
    good(&guest, UNIT, "monitor", &unit(&[]));
    let object = "/sys/kernel/config/target/core/iblock_0/lab";
    let facts = guest
        .run(&format!("cd {object} && cat wwn/vpd_unit_serial wwn/product_id attrib/block_size attrib/emulate_caw udev_path"))
        .unwrap();
    // md5 of "lab".
    for fact in ["f9664ea1", "fence", "\n4096\n", "\n0\n", "/dev/lab/one"] {
        assert!(facts.stdout.contains(fact), "{fact:?}: {facts:?}");
    }
    let listens = guest.run("ss -ltnH").unwrap().stdout;
    for portal in ["10.55.0.11:3260", "[::1]:3261", "192.0.2.9:3260"] {
        assert!(listens.contains(portal), "{portal}: {listens}");
    }
    // targetcli sees the same things, and so does upstream's agent.
    let tree = guest.run("targetcli ls / 2>/dev/null").unwrap().stdout;
    for part in ["/dev/lab/one", IQN, "lun1", "block/lab", "10.55.0.11:3260", "[::1]:3261"] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    assert_eq!(code(&guest, "heartbeat/iSCSITarget", "monitor", &portals), 0);
    assert_eq!(code(&guest, "heartbeat/iSCSILogicalUnit", "monitor", &unit(&[])), 0);
    // Nothing is run to find that out.
    for (agent, parameters) in [(TARGET, &portals), (UNIT, &unit(&[]))] {
        let words: Vec<String> =
            parameters.iter().map(|(name, value)| format!("'OCF_RESKEY_{name}={value}'")).collect();
        let traced = format!(
            "env OCF_RESOURCE_INSTANCE=lab {} strace -f -c -e trace=execve,fork,vfork,clone,clone3 \
             /usr/lib/ocf/resource.d/{agent} monitor 2>&1",
            words.join(" ")
        );
        let calls = guest.run(&traced).unwrap();
        assert!(
            calls.code == 0 && !calls.stdout.contains("clone") && !calls.stdout.contains("fork"),
            "{calls:?}"
        );
    }
    good(&guest, UNIT, "stop", &unit(&[]));
    assert_eq!(code(&guest, UNIT, "monitor", &unit(&[])), 7);
    good(&guest, TARGET, "stop", &portals);
    assert_eq!(code(&guest, TARGET, "monitor", &portals), 7);
    assert_eq!(everything(&guest), before);
    // Nobody holds the disk any more.
    guest.run("exec 3<>/dev/lab/one && blockdev --rereadpt /dev/lab/one").unwrap().ok().unwrap();
}

/// Sets the initiator's name, logs in, and says which disks came: vendor, product and number of each unit.
fn log_in(guest: &Guest, name: &str, account: Option<(&str, &str)>) -> String {
    let chap = account.map_or_else(String::new, |(user, password)| {
        format!(
            "U='iscsiadm -m node -o update -n'; $U node.session.auth.authmethod -v CHAP; \
             $U node.session.auth.username -v {user}; $U node.session.auth.password -v {password};"
        )
    });
    let script = format!(
        "echo InitiatorName={name} >/etc/iscsi/initiatorname.iscsi; kill $(cat /run/iscsid.pid) 2>/dev/null; sleep 1
         rm -rf /etc/iscsi/nodes/* /var/lib/iscsi/nodes/*
         iscsid; iscsiadm -m discovery -t st -p 10.55.0.11 || exit 1
         {chap}
         iscsiadm -m node -o update -n node.session.initial_login_retry_max -v 1
         iscsiadm -m node -l; udevadm settle; sleep 1; lsscsi | grep -v QEMU; true"
    );
    guest.run_within(Duration::from_secs(90), &script).unwrap().stdout
}

#[test]
fn an_initiator_sees_what_it_may_see() {
    let lab = Lab::open(&Needs::of("an_initiator_sees_what_it_may_see").agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none().own("one", 32).own("two", 32)).unwrap();
    let only = target(&[
        ("allowed_initiators", "iqn.2026-01.org.lab:n2 iqn.2026-01.org.lab:n3"),
        ("incoming_username", "alice"),
        ("incoming_password", "correct-horse-1"),
    ]);
    let two: Vec<(&str, &str)> = vec![
        LIO,
        ("target_iqn", IQN),
        ("lun", "2"),
        ("path", "/dev/lab/two"),
        ("scsi_sn", "22222222"),
        ("allowed_initiators", "iqn.2026-01.org.lab:n2"),
    ];
    let second = |action: &str| {
        server.agent_with(UNIT, action, &two, &[("OCF_RESOURCE_INSTANCE", "second")]).unwrap().ok().unwrap();
    };
    good(&server, TARGET, "start", &only);
    good(&server, UNIT, "start", &unit(&[]));
    second("start");
    second("monitor");
    good(&server, TARGET, "monitor", &only);
    let disks = |seen: &str| seen.matches("LIO-ORG").count();
    // The wrong password, an unknown name, a name that may see one unit, and the one that sees both.
    assert_eq!(disks(&log_in(&client, "iqn.2026-01.org.lab:n2", Some(("alice", "wrong-horse-12")))), 0);
    assert_eq!(disks(&log_in(&client, "iqn.2026-01.org.lab:n9", Some(("alice", "correct-horse-1")))), 0);
    assert_eq!(disks(&log_in(&client, "iqn.2026-01.org.lab:n3", Some(("alice", "correct-horse-1")))), 1);
    client.run("iscsiadm -m node -u").unwrap().ok().unwrap();
    let seen = log_in(&client, "iqn.2026-01.org.lab:n2", Some(("alice", "correct-horse-1")));
    assert_eq!(disks(&seen), 2, "{seen}");
    let write = "D=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}'); echo written | dd of=$D conv=sync bs=4096 oflag=direct status=none";
    client.run(write).unwrap().ok().unwrap();
    assert_eq!(server.run("head -c 7 /dev/lab/one").unwrap().text(), "written");
    // The second goes alone, while its initiator is logged in; then the target with the session.
    second("stop");
    assert_eq!(code(&server, TARGET, "monitor", &only), 0);
    assert_eq!(code(&server, UNIT, "monitor", &unit(&[])), 0);
    good(&server, UNIT, "stop", &unit(&[]));
    good(&server, TARGET, "stop", &only);
    assert_eq!(
        server
            .run("ls /sys/kernel/config/target/core | grep _; ls -d /sys/kernel/config/target/iscsi/iqn*")
            .unwrap()
            .stdout,
        ""
    );
}

#[test]
fn stop_wins_against_a_kernel_initiator_that_never_rests() {
    let lab =
        Lab::open(&Needs::of("stop_wins_against_a_kernel_initiator_that_never_rests").agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none().own("one", 32)).unwrap();
    good(&server, TARGET, "start", &target(&[]));
    good(&server, UNIT, "start", &unit(&[]));
    let seen = log_in(&client, "iqn.2026-01.org.lab:n2", None);
    assert!(seen.contains("LIO-ORG"), "{seen}");
    let busy = "D=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}'); while :; do dd if=/dev/zero of=$D bs=64k oflag=direct status=none; done";
    let running = client.start_within(Duration::from_secs(120), busy).unwrap();
    client.run("sleep 2").unwrap().ok().unwrap();
    good(&server, UNIT, "stop", &unit(&[]));
    good(&server, UNIT, "start", &unit(&[]));
    good(&server, TARGET, "stop", &target(&[]));
    // The target took the link away; the object is the unit's, and still there for its agent.
    assert_eq!(code(&server, UNIT, "monitor", &unit(&[])), 1);
    good(&server, UNIT, "stop", &unit(&[]));
    assert_eq!(
        server
            .run("ls /sys/kernel/config/target/core | grep _; ls -d /sys/kernel/config/target/iscsi/iqn*")
            .unwrap()
            .stdout,
        ""
    );
    drop(running);
}

/// Kills a start at its first, second ... call that changes something, and has it repaired each time.
const KILLED: &str = r#"
export OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_timeout=60000 OCF_RESKEY_implementation=lio-t OCF_RESKEY_iqn=iqn.2026-01.org.lab:t
export OCF_RESKEY_target_iqn=iqn.2026-01.org.lab:t OCF_RESKEY_lun=1 OCF_RESKEY_path=/dev/lab/one
export OCF_RESKEY_allowed_initiators="iqn.2026-01.org.lab:n2 iqn.2026-01.org.lab:n3"
export OCF_RESKEY_incoming_username=u OCF_RESKEY_incoming_password=correct-horse-1
A=/usr/lib/ocf/resource.d/ringfence
look() { EVERYTHING; }
say() { echo "$*"; exit 1; }
for agent in iSCSITarget iSCSILogicalUnit; do
    [ $agent = iSCSITarget ] || $A/iSCSITarget start || say "the target does not start"
    look >/tmp/before; $A/$agent start || say "$agent does not start"
    look >/tmp/whole
    for action in start stop; do
        kills=0
        for call in mkdir symlink write rmdir unlink; do
            n=1
            while :; do
                case $action in start) $A/$agent stop;; stop) $A/$agent start;; esac || say "$agent: not ready for $action"
                strace -qq -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=$n $A/$agent $action 2>/dev/null
                [ $? = 137 ] || break
                at="after a kill at $call $n in $action"
                $A/$agent monitor; code=$?
                case $code in 0|1|7) ;; *) say "$agent: monitor says $code $at";; esac
                if [ $((n % 2)) = 1 ]; then repair=start; wanted=0; as=whole; else repair=stop; wanted=7; as=before; fi
                $A/$agent $repair || say "$agent: $repair fails $at"
                $A/$agent monitor; code=$?
                look >/tmp/now
                [ $code = $wanted ] && cmp -s /tmp/now /tmp/$as || { diff /tmp/$as /tmp/now; say "$agent: monitor says $code $at, then $repair"; }
                n=$((n+1)); kills=$((kills+1))
            done
        done
        echo "$agent $action: $kills kills"
    done
done
"#;

#[test]
fn a_start_or_stop_that_is_killed_anywhere_is_mended() {
    let lab = Lab::open(&Needs::of("a_start_or_stop_that_is_killed_anywhere_is_mended").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 32)).unwrap();
    let script = KILLED.replace("EVERYTHING", EVERYTHING);
    let ran = guest.run_within(Duration::from_secs(400), &script).unwrap().ok().unwrap();
    let kills: Vec<u32> =
        ran.stdout.lines().filter_map(|line| line.split(' ').rev().nth(1)?.parse().ok()).collect();
    assert!(kills.len() == 4 && kills.iter().all(|kills| *kills > 5), "{ran:?}");
}

/// Another's target with the same number of a unit, another's object with our name, made by hand.
const FOREIGN: &str = "set -e
C=/sys/kernel/config/target
mkdir -p $C/core/iblock_0/theirs $C/core/iblock_5/lab
echo udev_path=/dev/lab/two >$C/core/iblock_0/theirs/control; echo 1 >$C/core/iblock_0/theirs/enable
echo /dev/lab/two >$C/core/iblock_0/theirs/udev_path
echo udev_path=/dev/lab/three >$C/core/iblock_5/lab/control; echo 1 >$C/core/iblock_5/lab/enable
for q in iqn.2026-01.org.lab:tx iqn.2026-01.org.lab:other; do mkdir -p $C/iscsi/$q/tpgt_1/lun/lun_1; done
ln -s $C/core/iblock_0/theirs $C/iscsi/iqn.2026-01.org.lab:tx/tpgt_1/lun/lun_1/l
ln -s $C/core/iblock_5/lab $C/iscsi/iqn.2026-01.org.lab:other/tpgt_1/lun/lun_1/l
mkdir -p $C/iscsi/iqn.2026-01.org.lab:tx/tpgt_1/np/127.0.0.1:3299
echo 1 >$C/iscsi/iqn.2026-01.org.lab:tx/tpgt_1/enable";

#[test]
fn what_others_export_is_left_alone() {
    let lab = Lab::open(&Needs::of("what_others_export_is_left_alone").agents()).unwrap();
    let disks = Disks::none().own("one", 32).own("two", 32).own("three", 32);
    let [guest] = lab.guests(["n1"], &disks).unwrap();
    guest.run(FOREIGN).unwrap().ok().unwrap();
    let before = everything(&guest);
    for (agent, parameters) in [(TARGET, target(&[])), (UNIT, unit(&[]))] {
        assert_eq!(code(&guest, agent, "monitor", &parameters), 7);
        assert_eq!(code(&guest, agent, "stop", &parameters), 0);
    }
    assert_eq!(everything(&guest), before);
    good(&guest, TARGET, "start", &target(&[]));
    let refused = guest.agent(UNIT, "start", &unit(&[])).unwrap();
    assert!(
        refused.code == 1 && refused.stderr.contains("iblock_5/lab, which another target exports"),
        "{refused:?}"
    );
    good(&guest, TARGET, "stop", &target(&[]));
    assert_eq!(everything(&guest), before);
}

#[test]
fn upstreams_targets_are_taken_over_and_the_other_way_round() {
    let lab =
        Lab::open(&Needs::of("upstreams_targets_are_taken_over_and_the_other_way_round").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 32)).unwrap();
    guest.run(LIKE_A_HOST).unwrap().ok().unwrap();
    let before = everything(&guest);
    let portal = target(&[("portals", "10.55.0.11:3260")]);
    let theirs = ["heartbeat/iSCSITarget", "heartbeat/iSCSILogicalUnit"];
    for (starts, goes_on) in [(theirs, [TARGET, UNIT]), ([TARGET, UNIT], theirs)] {
        good(&guest, starts[0], "start", &portal);
        good(&guest, starts[1], "start", &unit(&[]));
        for (agent, parameters) in [(goes_on[0], &portal), (goes_on[1], &unit(&[]))] {
            assert_eq!(code(&guest, agent, "monitor", parameters), 0, "{agent}");
            good(&guest, agent, "start", parameters);
        }
        good(&guest, goes_on[1], "stop", &unit(&[]));
        good(&guest, goes_on[0], "stop", &portal);
        assert_eq!(everything(&guest), before, "{goes_on:?}");
    }
    assert!(!guest.run("ls /run/resource-agents").unwrap().stdout.contains("targetcli.lock"));
}

/// What the driver's `grow` tells the kernel, told by hand here.
const GROW: &str = "truncate -s 32M /root/file && echo fd_dev_name=/root/file,fd_dev_size=33554432 >\
                    /sys/kernel/config/target/core/fileio_0/lab/control";
const SIZE: &str = "D=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}'); echo 1 >/sys/block/${D##*/}/device/rescan; \
                    cat /sys/block/${D##*/}/size";

#[test]
fn a_file_is_exported_with_its_cache_and_grows_while_it_is_in_use() {
    let test = "a_file_is_exported_with_its_cache_and_grows_while_it_is_in_use";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    server.run("truncate -s 16M /root/file").unwrap().ok().unwrap();
    let file = unit(&[
        ("path", "/root/file"),
        ("liot_bstype", "fileio"),
        ("write_cache", "1"),
        ("emulate_caw", "0"),
    ]);
    good(&server, TARGET, "start", &target(&[]));
    good(&server, UNIT, "start", &file);
    let cache = "cat /sys/kernel/config/target/core/fileio_0/lab/attrib/emulate_write_cache";
    assert_eq!(server.run(cache).unwrap().text(), "1");
    let seen = log_in(&client, "iqn.2026-01.org.lab:n2", None);
    assert!(seen.contains("LIO-ORG"), "{seen}");
    assert_eq!(client.run(SIZE).unwrap().text(), "32768");
    server.run(GROW).unwrap().ok().unwrap();
    assert_eq!(client.run(SIZE).unwrap().text(), "65536");
    let end = "D=$(lsscsi | awk '/LIO-ORG/{print $NF; exit}'); echo end | dd of=$D conv=sync bs=4096 seek=8191 oflag=direct status=none";
    client.run(end).unwrap().ok().unwrap();
    good(&server, UNIT, "monitor", &file);
    good(&server, UNIT, "stop", &file);
    good(&server, TARGET, "stop", &target(&[]));
    assert_eq!(server.run("tail -c 4096 /root/file | head -c 3").unwrap().text(), "end");
}

/// Seen without it: a record that tgtd had acknowledged from its host's memory was lost with the host, and the flush that the
/// initiator sent again was answered by the node that took over.
#[test]
fn what_tgtd_has_acknowledged_survives_its_host() {
    let lab = Lab::open(&Needs::of("what_tgtd_has_acknowledged_survives_its_host").agents()).unwrap();
    let [server, client] = lab.guests(["n1", "n2"], &Disks::none().own("one", 32).own("two", 32)).unwrap();
    server
        .run("tgtd; for i in $(seq 100); do tgtadm --op show --mode target >/dev/null 2>&1 && break; sleep 0.1; done")
        .unwrap()
        .ok()
        .unwrap();
    let tgt = ("implementation", "tgt");
    good(&server, TARGET, "start", &[tgt, ("iqn", IQN), ("tid", "1")]);
    let unit = |lun, path, more: &[(&'static str, &'static str)]| {
        good(
            &server,
            UNIT,
            "start",
            &[&[tgt, ("target_iqn", IQN), ("lun", lun), ("path", path)], more].concat(),
        );
    };
    unit("1", "/dev/lab/one", &[]);
    unit("2", "/dev/lab/two", &[("write_cache", "1")]);
    let kind = |disk: &str| {
        client
            .run(&format!("cat /sys/block/$(basename $(readlink -f {disk}))/queue/write_cache"))
            .unwrap()
            .text()
            .to_owned()
    };
    let disk = client.log_in("10.55.0.11", IQN, 1).unwrap();
    assert_eq!(kind(&disk), "write through");
    assert_eq!(kind(&disk.replace("lun-1", "lun-2")), "write back");
    client
        .run(&format!("echo acknowledged | dd of={disk} conv=sync bs=4096 seek=100 oflag=direct status=none"))
        .unwrap()
        .ok()
        .unwrap();
    server.cut_power();
    server.power_on().unwrap();
    let kept = server.run("dd if=/dev/lab/one bs=4096 skip=100 count=1 status=none | head -1").unwrap();
    assert_eq!(kept.text(), "acknowledged");
}
