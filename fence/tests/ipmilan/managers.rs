//! The program in the hands of those who call it in a cluster: Heartbeat's `stonith`, Pacemaker's `fence_legacy`, `stonith_admin` and
//! `pacemaker-fenced`. Needs root, `cluster-glue`, `pacemaker` and `openipmi`.
//!
//! Everything runs in namespaces of its own, in which our program lies where upstream's lies; with the namespaces all of it ends.

use std::path::Path;
use std::time::Instant;

use ringfence_tests::sim::ipmi_sim::IpmiSim;

use super::agent::{PROGRAM, Run, command, ended, started};

/// Our program in place of the installed ones, a BMC on loopback, and directories that a fencer writes to.
const PRELUDE: &str = r#"
set -u
mount --bind "$PROGRAM" /usr/sbin/fence_ipmilan || exit 90
mount --bind "$PROGRAM" /usr/lib/stonith/plugins/external/ipmi || exit 91
for d in /run /var/lib/pacemaker /var/log; do mount -t tmpfs tmpfs $d || exit 92; done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 93
mkdir -p /run/crm /run/lock /var/log/pacemaker /var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/pacemaker/cores /var/lib/pacemaker/blackbox
chown -R hacluster:haclient /run/crm /var/lib/pacemaker
ip link set lo up || exit 94
hostname solo
export PCMK_logfile="$SIM/fenced.log"
mkdir "$SIM/inside"
ipmi_sim -n -d -c "$SIM/lan.conf" -f "$SIM/bmc.emu" -s "$SIM/inside" </dev/null >/dev/null 2>&1 &
n=0; until ipmitool -I lan -H 127.0.0.1 -p $PORT -U admin -P s3cret1 -N 1 -R 1 power status >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 50 ] || exit 95; done
# runs it and says how it ended and what the power is then
step() { name=$1; shift; "$@"; echo "== $name: $? power $(cat "$SIM/power")"; }
"#;

fn inside(sim: &IpmiSim, script: &str) -> Run {
    let mut command = command(Path::new("/usr/bin/timeout"));
    command
        .args([
            "-k",
            "2",
            "55",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--mount-proc",
        ])
        .args(["--kill-child", "--propagation", "private", "sh", "-c"])
        .arg(format!("{PRELUDE}{script}"))
        .env("PROGRAM", PROGRAM)
        .env("SIM", sim.directory())
        .env("PORT", sim.address().port().to_string());
    let begun = Instant::now();
    ended(started(command, ""), begun)
}

/// The words after `== name:`.
#[track_caller]
fn said<'r>(run: &'r Run, name: &str) -> &'r str {
    let mark = format!("== {name}: ");
    run.stdout
        .lines()
        .find_map(|line| line.strip_prefix(&mark))
        .unwrap_or_else(|| panic!("no step {name}: {run:?}"))
}

#[test]
fn heartbeats_stonith_and_fence_legacy() {
    let sim = IpmiSim::start(None).unwrap();
    let run = inside(
        &sim,
        r#"
        P="hostname=n1 ipaddr=127.0.0.1 ipport=$PORT userid=admin interface=lanplus"
        step types sh -c 'stonith -L | grep -x external/ipmi'
        step names stonith -t external/ipmi -n
        step meta stonith -t external/ipmi -m
        step list stonith -t external/ipmi -l $P passwd=s3cret1
        step status stonith -t external/ipmi -S $P passwd=s3cret1
        step denied stonith -t external/ipmi -S $P passwd=Wr0ng#1
        step off stonith -t external/ipmi -T off $P passwd=s3cret1 n1
        step on stonith -t external/ipmi -T on $P passwd=s3cret1 N1
        step reset stonith -t external/ipmi -T reset $P passwd=s3cret1 n1
        step stranger stonith -t external/ipmi -T off $P passwd=s3cret1 n2
        legacy() { printf 'plugin=external/ipmi\nhostname=n1\nipaddr=127.0.0.1\nipport=%s\nuserid=admin\npasswd=s3cret1\ninterface=lan\naction=%s\nnodename=n1\n' $PORT $1 | fence_legacy; }
        step legacy-monitor legacy monitor
        step legacy-list legacy list
        step legacy-off legacy off
        step legacy-on legacy on
        step legacy-reboot legacy reboot
        "#,
    );
    for (name, want) in [
        ("types", "0 power 1"),
        ("names", "0 power 1"),
        ("meta", "0 power 1"),
        ("list", "0 power 1"),
        ("status", "0 power 1"),
        ("off", "0 power 0"),
        ("on", "0 power 1"),
        ("reset", "0 power 1"),
        ("legacy-monitor", "0 power 1"),
        ("legacy-list", "0 power 1"),
        ("legacy-off", "0 power 0"),
        ("legacy-on", "0 power 1"),
        ("legacy-reboot", "0 power 1"),
    ] {
        assert_eq!(said(&run, name), want, "{name} {run:?}");
    }
    for name in ["denied", "stranger"] {
        assert!(
            !said(&run, name).starts_with("0 ") && said(&run, name).ends_with("power 1"),
            "{name} {run:?}"
        );
    }
    for words in
        ["hostname  ipaddr  ipport  userid  passwd  interface", "\nn1\n", "<parameter name=\"ipaddr\""]
    {
        assert!(run.stdout.contains(words), "{words}: {run:?}");
    }
    let expected = ["power 0", "power 1", "power 0", "power 1", "power 0", "power 1", "power 0", "power 1"];
    assert_eq!(sim.commands(), expected, "{run:?}");
}

#[test]
fn pacemakers_fencer() {
    let sim = IpmiSim::start(None).unwrap();
    let run = inside(
        &sim,
        r#"
        step metadata stonith_admin --metadata -a fence_ipmilan
        O="--option ip=127.0.0.1 --option ipport=$PORT --option username=admin --option lanplus=1"
        D=$O; O="$O --option password=s3cret1"
        step validate stonith_admin --validate --agent fence_ipmilan $O
        step invalid stonith_admin --validate --agent fence_ipmilan $O --option privlvl=root
        /usr/lib/pacemaker/pacemaker-fenced -s >/dev/null 2>&1 &
        n=0; until stonith_admin -L >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || exit 96; sleep 0.1; done
        step register stonith_admin -R dev1 -a fence_ipmilan $O -o pcmk_host_list=n1
        step monitor stonith_admin -Q dev1
        step hosts stonith_admin -l n1
        step off stonith_admin -F n1 -t 20
        step on stonith_admin -U n1 -t 20
        step reboot stonith_admin -B n1 -t 20
        step register-legacy stonith_admin -R dev2 -a external/ipmi -o hostname=n2 -o ipaddr=127.0.0.1 -o ipport=$PORT -o userid=admin -o passwd=s3cret1 -o interface=lanplus -o pcmk_host_list=n2
        step legacy-off stonith_admin -F n2 -t 20
        step legacy-on stonith_admin -U n2 -t 20
        touch "$SIM/lies"
        step liar stonith_admin -F n1 -t 6
        rm "$SIM/lies"
        step register-denied stonith_admin -R dev3 -a fence_ipmilan $D -o password=Wr0ng#1 -o pcmk_host_list=n3
        step denied stonith_admin -F n3 -t 10
        "#,
    );
    let log = std::fs::read_to_string(sim.directory().join("fenced.log")).unwrap_or_default();
    for (name, want) in [
        ("metadata", "0 power 1"),
        ("validate", "0 power 1"),
        ("register", "0 power 1"),
        ("monitor", "0 power 1"),
        ("hosts", "0 power 1"),
        ("off", "0 power 0"),
        ("on", "0 power 1"),
        ("reboot", "0 power 1"),
        ("register-legacy", "0 power 1"),
        ("legacy-off", "0 power 0"),
        ("legacy-on", "0 power 1"),
    ] {
        assert_eq!(said(&run, name), want, "{name} {run:?}\n{log}");
    }
    for name in ["invalid", "liar", "denied"] {
        assert!(
            !said(&run, name).starts_with("0 ") && said(&run, name).ends_with("power 1"),
            "{name} {run:?}\n{log}"
        );
    }
    // the reason reaches the one who asked
    assert!(log.contains("wrong password"), "{log}");
    let mine: Vec<_> =
        log.lines().filter(|line| line.contains("warning") && line.contains("metadata")).collect();
    assert!(mine.is_empty(), "{mine:?}");
    let warned: Vec<_> = run
        .stderr
        .lines()
        .filter(|line| line.contains("warning") && line.contains("fence_ipmilan"))
        .collect();
    assert!(warned.is_empty(), "{warned:?}");
    assert!(!log.contains("s3cret1"), "{log}");
}
