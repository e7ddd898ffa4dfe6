//! Fencing by persistent reservations, of guests that share a disk of the kernel's own target over iSCSI.
//!
//! What is registered is asked of the target's configfs, not of the agents.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};
use ringfence_tests::sim::SplitMix64;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const IQN: &str = "iqn.2026-01.org.lab:shared";
/// One disk behind two target ports, for two named initiators.
const SERVE: &str = "set -e
C=/sys/kernel/config/target; B=$C/core/iblock_0/shared; T=$C/iscsi/iqn.2026-01.org.lab:shared
mkdir -p /var/target/pr /etc/target/pr $B
echo udev_path=/dev/lab/one >$B/control; echo /dev/lab/one >$B/udev_path; echo 22222222-5c51-4000-8000-000000000001 >$B/wwn/vpd_unit_serial
echo 1 >$B/enable
for t in 1 2; do
    mkdir -p $T/tpgt_$t/lun/lun_0; ln -s $B $T/tpgt_$t/lun/lun_0/l
    echo 0 >$T/tpgt_$t/attrib/authentication
    for n in n1 n2; do
        mkdir -p $T/tpgt_$t/acls/iqn.2026-01.lab:$n/lun_0; ln -s $T/tpgt_$t/lun/lun_0 $T/tpgt_$t/acls/iqn.2026-01.lab:$n/lun_0/l
    done
    mkdir $T/tpgt_$t/np/10.55.0.13:326$((t-1)); echo 1 >$T/tpgt_$t/enable
done";
/// The target forgets everything: what a power cut does to it.
const UNSERVE: &str = "C=/sys/kernel/config/target; B=$C/core/iblock_0/shared; T=$C/iscsi/iqn.2026-01.org.lab:shared
for t in 1 2; do
    echo 0 >$T/tpgt_$t/enable; rmdir $T/tpgt_$t/np/*
    for n in n1 n2; do rm $T/tpgt_$t/acls/iqn.2026-01.lab:$n/lun_0/l; rmdir $T/tpgt_$t/acls/iqn.2026-01.lab:$n/lun_0 $T/tpgt_$t/acls/iqn.2026-01.lab:$n; done
    rm $T/tpgt_$t/lun/lun_0/l; rmdir $T/tpgt_$t/lun/lun_0 $T/tpgt_$t
done
rmdir $T $B && echo gone";
/// Who is registered: `initiator key` a line, as the kernel's target says.
const REGISTERED: &str = "cat /sys/kernel/config/target/core/iblock_0/shared/pr/res_pr_registered_i_pts";
const HOLDER: &str = "cat /sys/kernel/config/target/core/iblock_0/shared/pr/res_holder /sys/kernel/config/target/core/iblock_0/shared/pr/res_pr_type";
/// A node list as corosync tells it; the first word of the file says which position is our own.
const CMAP: &str = "#!/bin/sh
case $(hostname) in n1) p=0;; *) p=1;; esac
all() { cat <<X
nodelist.local_node_pos (u32) = $p
nodelist.node.0.name (str) = n1
nodelist.node.0.nodeid (u32) = 1
nodelist.node.0.ring0_addr (str) = 10.55.0.11
nodelist.node.1.name (str) = n2
nodelist.node.1.nodeid (u32) = 2
nodelist.node.1.ring0_addr (str) = 10.55.0.12
totem.cluster_name (str) = mycluster
X
}
for word; do all | grep \"^$word\"; done
";

/// A disk whose device file is the same for all: /dev/shared.
fn log_in(guest: &Guest, portals: &str) {
    let script = format!(
        "modprobe iscsi_tcp; pidof iscsid >/dev/null || iscsid
         iscsiadm -m discovery -t st -p 10.55.0.13 >/dev/null || exit 1
         for p in {portals}; do
             iscsiadm -m node -T {IQN} -p 10.55.0.13:$p -o update -n node.session.timeo.replacement_timeout -v 5
             iscsiadm -m node -T {IQN} -p 10.55.0.13:$p -o update -n node.conn[0].timeo.noop_out_interval -v 1
             iscsiadm -m node -T {IQN} -p 10.55.0.13:$p -o update -n node.conn[0].timeo.noop_out_timeout -v 2
             iscsiadm -m node -T {IQN} -p 10.55.0.13:$p -l || exit 1
         done
         udevadm settle; sleep 1; ln -sf $(lsscsi | awk '/LIO-ORG/{{print $NF; exit}}') /dev/shared; ls -l /dev/shared; lsscsi"
    );
    guest.run_within(Duration::from_secs(120), &script).unwrap().ok().unwrap();
    guest.put_mode("/usr/local/bin/cmap", CMAP, 0o755).unwrap();
}

fn lab(test: &str, portals: &str) -> (Lab, [Guest; 3]) {
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let guests = lab.guests(["n1", "n2", "n3"], &Disks::none().own("one", 32)).unwrap();
    guests[2].run(SERVE).unwrap().ok().unwrap();
    for guest in &guests[..2] {
        log_in(guest, portals);
    }
    (lab, guests)
}

/// Calls an agent as Pacemaker does: options on standard input.
fn call(guest: &Guest, agent: &str, options: &str) -> Ran {
    let lines = options.replace(' ', "\\n");
    guest.run_within(Duration::from_secs(120), &format!("printf '{lines}\\n' | {agent}")).unwrap()
}

fn scsi(guest: &Guest, options: &str) -> Ran {
    call(
        guest,
        "fence_scsi",
        &format!("corosync_cmap_path=/usr/local/bin/cmap devices=/dev/shared {options}"),
    )
}

fn good(ran: Ran) -> Ran {
    ran.ok().unwrap()
}

/// The keys that are registered, by node: asked of the target.
fn registered(server: &Guest) -> BTreeSet<(String, u64)> {
    let text = server.run(REGISTERED).unwrap().ok().unwrap().stdout;
    text.lines()
        .filter_map(|line| {
            // iSCSI Node: iqn.2026-01.lab:n1,i,0x00023d010000 Key: 0x000000006c9d0000 PRgen: 0x00000001
            let name = line.split("lab:").nth(1)?.split([',', ' ']).next()?.to_owned();
            let key = line.split("Key: 0x").nth(1)?.split(' ').next()?;
            Some((name, u64::from_str_radix(key, 16).ok()?))
        })
        .collect()
}

fn set(pairs: &[(&str, u64)]) -> BTreeSet<(String, u64)> {
    pairs.iter().map(|(name, key)| ((*name).to_owned(), *key)).collect()
}

/// Whether the guest's kernel can write to the disk.
fn writes(guest: &Guest) -> bool {
    guest.run("dd if=/dev/zero of=/dev/shared bs=4096 count=1 oflag=direct conv=notrunc 2>&1").unwrap().code
        == 0
}

const N1: u64 = 0x6c9d_0000;
const N2: u64 = 0x6c9d_0001;

#[test]
fn a_fenced_node_cannot_write_and_unfencing_heals_it() {
    let (_lab, [a, b, server]) = lab("a_fenced_node_cannot_write_and_unfencing_heals_it", "3260");
    assert!(writes(&a) && writes(&b), "before anybody joins everybody writes");
    good(scsi(&a, "action=on plug=n1 nodename=n1"));
    assert!(!writes(&b), "the disk is reserved");
    good(scsi(&b, "action=on plug=n2 nodename=n2"));
    assert_eq!(registered(&server), set(&[("n1", N1), ("n2", N2)]));
    assert!(server.run(HOLDER).unwrap().stdout.contains("Write Exclusive Access, Registrants Only"));
    assert!(writes(&a) && writes(&b));
    for guest in [&a, &b] {
        good(scsi(guest, "action=monitor"));
        assert_eq!(guest.run("/ringfence/usr/share/cluster/fence_scsi_check").unwrap().code, 0);
    }
    assert_eq!(scsi(&a, "action=status plug=n2").code, 0);
    // What the original calls "already off".
    for wrong in ["key=6c9d7777", "key=6C9D7777", "plug=n9"] {
        let ran = scsi(&a, &format!("action=off {wrong}"));
        assert_eq!(ran.code, 1, "{wrong}: {ran:?}");
    }
    assert!(scsi(&a, "action=off plug=n1").stderr.contains("You can not fence yourself"));
    assert!(writes(&b));
    // While it writes without rest.
    let busy = "while dd if=/dev/zero of=/dev/shared bs=4096 count=1 oflag=direct conv=notrunc 2>/dev/null; do :; done; echo refused";
    let running = b.start_within(Duration::from_secs(120), busy).unwrap();
    let off = good(scsi(&a, "action=off plug=n2 nodename=n2"));
    assert!(off.stdout.contains("Success: Powered OFF"), "{off:?}");
    assert_eq!(running.wait().unwrap().text(), "refused");
    assert_eq!(registered(&server), set(&[("n1", N1)]));
    assert!(!writes(&b) && writes(&a));
    assert_eq!(scsi(&a, "action=status plug=n2").code, 2);
    assert!(good(scsi(&a, "action=off plug=n2")).stdout.contains("Already OFF"));
    // The fenced node sees it, and does not strike back.
    assert_eq!(b.run("/ringfence/usr/share/cluster/fence_scsi_check").unwrap().code, 2);
    assert_eq!(b.run("/ringfence/usr/share/cluster/fence_scsi_check repair 2").unwrap().code, 2);
    let back = scsi(&b, "action=off plug=n1");
    assert!(back.code == 1 && back.stderr.contains("fenced or never unfenced"), "{back:?}");
    assert!(scsi(&b, "action=monitor").code == 1 && writes(&a));
    // Nobody else can let it in.
    let other = scsi(&a, "action=on plug=n2");
    assert!(other.code == 1 && other.stderr.contains("on must run on n2 itself"), "{other:?}");
    good(scsi(&b, "action=on plug=n2 nodename=n2"));
    assert!(writes(&b) && writes(&a));
    assert_eq!(registered(&server), set(&[("n1", N1), ("n2", N2)]));
    // The list has lost a node before this one: every place behind it is another node's now.
    a.run(
        "sed 's/n1) p=0/n1) p=1/' /usr/local/bin/cmap >/usr/local/bin/moved; chmod 755 /usr/local/bin/moved",
    )
    .unwrap()
    .ok()
    .unwrap();
    for options in ["action=off plug=n2", "action=monitor"] {
        let moved = format!("corosync_cmap_path=/usr/local/bin/moved devices=/dev/shared {options}");
        let moved = call(&a, "fence_scsi", &moved);
        assert!(
            moved.code == 1 && moved.stderr.contains("its place in the node list makes 6c9d0001"),
            "{moved:?}"
        );
    }
    assert!(writes(&b));
    // Every spelling is the same key.
    good(scsi(&a, "action=off key=0x6C9D0001"));
    assert!(!writes(&b));
    assert_eq!(registered(&server), set(&[("n1", N1)]));
    // No program but the node list's was run, and no disk was opened for writing.
    let traced = a
        .run("printf 'action=status\\nplug=n2\\ndevices=/dev/shared\\ncorosync_cmap_path=/usr/local/bin/cmap\\n' | \
              strace -f -e trace=execve,openat,ioctl -o /tmp/t fence_scsi; grep 'execve(' /tmp/t | grep -v -e cmap -e grep -e hostname -e cat -e 'fence_scsi\"'; \
              grep -e '/dev/sd.*O_RDWR' -e '/dev/sd.*O_WRONLY' /tmp/t; grep -c SG_IO /tmp/t")
        .unwrap();
    let lines: Vec<&str> = traced.stdout.lines().collect();
    assert!(
        lines.len() == 2 && lines[0] == "Status: OFF" && lines[1].parse::<u32>().is_ok_and(|n| n > 0),
        "{traced:?}"
    );
}

/// Upstream's program from this host, beside ours: its libraries, and stand-ins for those that it loads and does not use.
fn upstream(lab: &Lab) {
    let folder = lab.share().join("upstream");
    std::fs::create_dir_all(&folder).unwrap();
    for (from, to) in [
        ("/usr/sbin/fence_scsi", "fence_scsi"),
        ("/usr/share/fence/fencing.py", "fencing.py"),
        ("/usr/share/cluster/fence_scsi_check", "fence_scsi_check"),
    ] {
        let text = std::fs::read_to_string(from).unwrap_or_else(|why| panic!("{from} (fence-agents): {why}"));
        std::fs::write(folder.join(to), text).unwrap();
    }
    std::fs::write(folder.join("pycurl.py"), "class Curl: pass\nclass error(Exception): pass\n").unwrap();
    std::fs::write(folder.join("pexpect.py"), "class spawn: pass\nclass TIMEOUT(Exception): pass\nclass EOF(Exception): pass\nclass ExceptionPexpect(Exception): pass\n").unwrap();
    std::fs::write(folder.join("requests.py"), "").unwrap();
}

fn theirs(guest: &Guest, options: &str) -> Ran {
    let agent = "PYTHONPATH=/host/upstream python3 -W ignore /host/upstream/fence_scsi";
    call(guest, agent, &format!("corosync_cmap_path=/usr/local/bin/cmap devices=/dev/shared {options}"))
}

/// Of three runs, with what any command in a guest costs.
fn shortest(run: impl Fn() -> Ran) -> Duration {
    let timed = || {
        let began = Instant::now();
        good(run());
        began.elapsed()
    };
    (0..3).map(|_| timed()).min().unwrap()
}

#[test]
fn upstreams_agent_beside_ours_in_one_cluster() {
    let (lab, [a, b, server]) = lab("upstreams_agent_beside_ours_in_one_cluster", "3260");
    upstream(&lab);
    for guest in [&a, &b] {
        guest.run("mkdir -p /var/run/cluster").unwrap().ok().unwrap();
    }
    // The first four digits of the MD5 sums of "mycluster", "n1" and "n2".
    for (method, key_1, key_2) in [("id", N1, N2), ("hash", 0x6c9d_c825, 0x6c9d_a6bb)] {
        let with = |options: &str| format!("{options} key_value={method}");
        good(scsi(&a, &with("action=on plug=n1 nodename=n1")));
        good(theirs(&b, &with("action=on plug=n2 nodename=n2")));
        assert_eq!(registered(&server), set(&[("n1", key_1), ("n2", key_2)]));
        // Each knows the other's key by itself.
        assert_eq!(theirs(&b, &with("action=status plug=n1")).code, 0);
        assert_eq!(scsi(&a, &with("action=status plug=n2")).code, 0);
        let ours = shortest(|| scsi(&b, &with("action=status plug=n1")));
        let upstreams = shortest(|| theirs(&b, &with("action=status plug=n1")));
        let ratio = upstreams.as_secs_f64() / ours.as_secs_f64();
        println!("status, key_value={method}: {ratio:.1} times as quick as upstream's");
        assert!(ratio >= 5.0, "{ours:?} and {upstreams:?}");
        // Ours fences theirs, theirs heals itself and fences ours, ours heals itself.
        good(scsi(&a, &with("action=off plug=n2 nodename=n2")));
        assert!(!writes(&b) && writes(&a));
        assert_eq!(registered(&server), set(&[("n1", key_1)]));
        good(theirs(&b, &with("action=on plug=n2 nodename=n2")));
        assert!(writes(&a) && writes(&b));
        good(theirs(&b, &with("action=off plug=n1 nodename=n1")));
        assert!(!writes(&a) && writes(&b));
        assert_eq!(registered(&server), set(&[("n2", key_2)]));
        good(scsi(&a, &with("action=on plug=n1 nodename=n1")));
        assert!(writes(&a) && writes(&b));
        // In the other's place on the same host: its files are found, in the folder where Debian has them.
        good(scsi(&b, &with("action=monitor")));
        // The next method makes other keys: everybody registers again.
        good(scsi(&a, &with("action=off plug=n2 nodename=n2")));
    }
}

#[test]
fn paths_of_a_multipath_device_are_one_node() {
    let (_lab, [a, b, server]) = lab("paths_of_a_multipath_device_are_one_node", "3260 3261");
    for (guest, key) in [(&a, "0xabc1"), (&b, "0xabc2")] {
        guest.put("/etc/multipath.conf", &format!("defaults {{\n find_multipaths no\n user_friendly_names yes\n reservation_key {key}\n}}\nblacklist {{\n device {{\n vendor QEMU\n }}\n}}\n")).unwrap();
        guest.run("multipathd; for i in 1 2 3 4 5 6 7 8 9 10; do ls /dev/mapper/mpatha 2>/dev/null && break; sleep 1; done; ln -sf /dev/mapper/mpatha /dev/shared; multipath -ll | grep -c LIO-ORG").unwrap().ok().unwrap();
    }
    let mpath = |guest: &Guest, options: &str| {
        call(guest, "fence_mpath", &format!("devices=/dev/mapper/mpatha {options}"))
    };
    // multipathd would register another key over a path that comes back.
    let wrong = mpath(&a, "action=on plug=abc9");
    assert!(wrong.code == 1 && wrong.stderr.contains("reservation_key abc1"), "{wrong:?}");
    good(mpath(&a, "action=on plug=abc1"));
    good(mpath(&b, "action=on plug=0xABC2"));
    let paths = |key: &str| server.run(REGISTERED).unwrap().stdout.matches(key).count();
    assert_eq!((paths("abc1"), paths("abc2")), (2, 2), "each over both of its paths");
    assert!(writes(&a) && writes(&b));
    good(mpath(&a, "action=monitor"));
    // One path of the fencing host is dead.
    a.run("echo offline >/sys/block/$(ls /sys/block/dm-0/slaves | head -1)/device/state")
        .unwrap()
        .ok()
        .unwrap();
    good(mpath(&a, "action=off plug=Abc2"));
    assert_eq!((paths("abc1"), paths("abc2")), (2, 0));
    assert!(!writes(&b));
    assert_eq!(b.run("/ringfence/usr/share/cluster/fence_mpath_check").unwrap().code, 2);
    assert_eq!(a.run("/ringfence/usr/share/cluster/fence_mpath_check").unwrap().code, 0);
    good(mpath(&b, "action=on plug=abc2"));
    assert_eq!(paths("abc2"), 2);
    // fence_scsi on the same kind of device: every path below the map.
    let unknown = mpath(&b, "action=off plug=abc7");
    assert!(unknown.code == 1 && unknown.stderr.contains("abc7"), "{unknown:?}");
}

/// How many steps each of the four plays: 200 together.
const STEPS: u32 = 50;

#[test]
fn random_interleavings_leave_exactly_the_right_keys_1() {
    interleavings("random_interleavings_leave_exactly_the_right_keys_1", 1);
}

#[test]
fn random_interleavings_leave_exactly_the_right_keys_2() {
    interleavings("random_interleavings_leave_exactly_the_right_keys_2", 2);
}

#[test]
fn random_interleavings_leave_exactly_the_right_keys_3() {
    interleavings("random_interleavings_leave_exactly_the_right_keys_3", 3);
}

#[test]
fn random_interleavings_leave_exactly_the_right_keys_4() {
    interleavings("random_interleavings_leave_exactly_the_right_keys_4", 4);
}

/// Joins, fences, takes a path away, restarts the target, in an order that `seed` decides.
fn interleavings(test: &str, seed: u64) {
    let (_lab, [a, b, server]) = lab(test, "3260 3261");
    let mut dice = SplitMix64::new(seed);
    let nodes = [(&a, "n1", N1), (&b, "n2", N2)];
    let mut right: BTreeSet<(String, u64)> = BTreeSet::new();
    // Both ports of the target are paths of one disk: it is given by both names.
    let devices = |guest: &Guest| {
        guest.run("lsscsi | awk '/LIO-ORG/{printf \"%s%s\", c, $NF; c=\",\"}'").unwrap().ok().unwrap().stdout
    };
    let mut names = [devices(&a), devices(&b)];
    let all = |at: usize, names: &[String; 2], options: &str| {
        let devices = &names[at];
        call(
            nodes[at].0,
            "fence_scsi",
            &format!("corosync_cmap_path=/usr/local/bin/cmap devices={devices} {options}"),
        )
    };
    for step in 0..STEPS {
        let at = usize::try_from(dice.next_u64() % 2).unwrap();
        let (me, name, key) = nodes[at];
        let (_, other, other_key) = nodes[1 - at];
        let roll = dice.next_u64() % 20;
        match roll {
            0..=7 => {
                good(all(at, &names, &format!("action=on plug={name}")));
                right.insert((name.to_owned(), key));
            }
            8..=16 => {
                let ran = all(at, &names, &format!("action=off plug={other}"));
                let joined = me.run("test -s /run/cluster/fence_scsi.key").unwrap().code == 0;
                let me_in = right.contains(&(name.to_owned(), key));
                // Who is not in cannot fence, unless the disk is nobody's.
                let may = joined && (me_in || right.is_empty());
                assert_eq!(ran.code == 0, may, "seed {seed} step {step}: {name} fences {other}: {ran:?}");
                if may {
                    right.insert((name.to_owned(), key));
                    right.remove(&(other.to_owned(), other_key));
                }
            }
            17 | 18 => {
                // One path goes away and comes back, or is taken offline while the next steps are played.
                let state = if roll == 17 { "offline" } else { "running" };
                me.run(&format!("D=$(lsscsi | awk '/LIO-ORG/{{print $NF; exit}}'); echo {state} >/sys/block/${{D##*/}}/device/state")).unwrap().ok().unwrap();
            }
            _ => {
                assert_eq!(server.run(UNSERVE).unwrap().text(), "gone");
                server.run(SERVE).unwrap().ok().unwrap();
                right.clear();
                for guest in [&a, &b] {
                    // Their sessions come back by themselves.
                    guest.run_within(Duration::from_secs(90), "for i in $(seq 60); do sleep 0.5; \
                        for d in $(lsscsi | awk '/LIO-ORG/{print $NF}'); do echo running >/sys/block/${d##*/}/device/state 2>/dev/null; sg_turs $d >/dev/null 2>&1; sg_turs $d >/dev/null 2>&1 || continue 2; done; \
                        [ $(iscsiadm -m session 2>/dev/null | wc -l) = 2 ] && [ $(lsscsi | grep -c LIO-ORG) = 2 ] && exit 0; done; iscsiadm -m session -P1; lsscsi; exit 1")
                        .unwrap().ok().unwrap();
                }
                names = [devices(&a), devices(&b)];
            }
        }
        assert_eq!(registered(&server), right, "seed {seed} step {step}");
    }
}

/// The kernel's own NVMe target, and its initiator over TCP. It has reservations since Linux 6.13 (`resv_enable`).
const NVME: &str = "set -e
modprobe nvmet-tcp; modprobe nvme-tcp; ip link set lo up
C=/sys/kernel/config/nvmet; S=$C/subsystems/lab; mkdir $S; echo 1 >$S/attr_allow_any_host
mkdir $S/namespaces/1; printf /dev/lab/one >$S/namespaces/1/device_path
R=$S/namespaces/1/resv_enable; [ ! -e $R ] || echo 1 >$R
echo 1 >$S/namespaces/1/enable
P=$C/ports/1; mkdir $P; echo tcp >$P/addr_trtype; echo ipv4 >$P/addr_adrfam; echo 127.0.0.1 >$P/addr_traddr; echo 4420 >$P/addr_trsvcid; ln -s $S $P/subsystems/lab
echo transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=lab >/dev/nvme-fabrics
udevadm settle; [ -b /dev/nvme0n1 ]; [ -e $R ] && echo reservations || echo none";

#[test]
fn an_nvme_namespace_without_reservations_fences_nobody() {
    let lab = Lab::open(&Needs::of("an_nvme_namespace_without_reservations_fences_nobody").agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 64)).unwrap();
    let kernel = guest.run(NVME).unwrap().ok().unwrap().text().to_owned();
    let agent = |options: &str| call(&guest, "fence_scsi", &format!("devices=/dev/nvme0n1 {options}"));
    assert_eq!(kernel, "none", "the guests' kernel has NVMe reservations now: cases for them are due");
    // The kernel's own answer to opcode 0x0e.
    for options in ["action=on key=a1", "action=status key=a1"] {
        let ran = agent(options);
        let told = ran.stderr.contains("/dev/nvme0n1: Reservation Report is not supported by the namespace");
        assert!(ran.code == 1 && told, "{options}: {ran:?}");
    }
    // As if this host had joined before: what cannot be asked is not fenced.
    guest.run("mkdir -p /run/cluster; echo a1 >/run/cluster/fence_scsi.key").unwrap().ok().unwrap();
    let off = agent("action=off key=a2 known_keys=a1");
    assert!(off.code == 1 && off.stderr.contains("is not supported by the namespace"), "{off:?}");
}
