//! The agents of iSCSI targets and units where the kernel, the daemon or the disk does not play along, and killed in the middle.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs};
use std::time::Duration;

const IQN: &str = "iqn.2026-01.org.lab:t";
const TARGET: &str = "ringfence/iSCSITarget";
const UNIT: &str = "ringfence/iSCSILogicalUnit";
const LIO_TARGET: [(&str, &str); 2] = [("implementation", "lio-t"), ("iqn", IQN)];
const LIO_UNIT: [(&str, &str); 4] =
    [("implementation", "lio-t"), ("target_iqn", IQN), ("lun", "1"), ("path", "/dev/lab/one")];

fn code(guest: &Guest, agent: &str, action: &str, parameters: &[(&str, &str)]) -> i32 {
    guest.agent(agent, action, parameters).unwrap().code
}

fn good(guest: &Guest, agent: &str, action: &str, parameters: &[(&str, &str)]) {
    guest.agent(agent, action, parameters).unwrap().ok().unwrap();
}

/// The kernel's target goes, and cannot come back.
const NO_MODULE: &str = "set -e
for m in target_core_mod iscsi_target_mod; do echo install $m /bin/false; done >/etc/modprobe.d/none.conf
for m in tcm_loop iscsi_target_mod target_core_iblock target_core_file target_core_mod; do
    ! grep -q \"^$m \" /proc/modules || rmmod $m
done
! grep -q ^target_core_mod /proc/modules";

#[test]
fn a_kernel_without_its_target_fails_a_start_and_nothing_else() {
    let test = "a_kernel_without_its_target_fails_a_start_and_nothing_else";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 32)).unwrap();
    guest.run(NO_MODULE).unwrap().ok().unwrap();
    for (agent, parameters) in [(TARGET, &LIO_TARGET[..]), (UNIT, &LIO_UNIT[..])] {
        assert_eq!(code(&guest, agent, "monitor", parameters), 7, "{agent}");
        let start = guest.agent(agent, "start", parameters).unwrap();
        assert!(
            start.code == 5 && start.stderr.contains("the kernel has no iSCSI target")
                || agent == UNIT && start.code == 1 && start.stderr.contains("start it first"),
            "{start:?}"
        );
        assert_eq!(code(&guest, agent, "stop", parameters), 0, "{agent}");
        assert_eq!(code(&guest, agent, "monitor", parameters), 7, "{agent}");
    }
    // And a daemon that does not run.
    let tgt = [("implementation", "tgt"), ("iqn", IQN), ("tid", "1")];
    assert_eq!((code(&guest, TARGET, "monitor", &tgt), code(&guest, TARGET, "stop", &tgt)), (7, 0));
}

#[test]
fn a_portal_that_cannot_be_is_told_and_leaves_nothing() {
    let test = "a_portal_that_cannot_be_is_told_and_leaves_nothing";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    // What an administrator forgets: the other implementation's daemon has the port.
    guest.run("tgtd && for i in $(seq 50); do tgtadm --op show --mode sys >/dev/null && exit 0; sleep 0.1; done; exit 1").unwrap().ok().unwrap();
    for (portal, reason) in [
        ("0.0.0.0:3260", "another program listens on it"),
        ("198.51.100.7:3260", "does not have the address"),
    ] {
        let parameters = [("implementation", "lio-t"), ("iqn", IQN), ("portals", portal)];
        let start = guest.agent(TARGET, "start", &parameters).unwrap();
        assert!(start.code == 1 && start.stderr.contains(reason), "{start:?}");
        good(&guest, TARGET, "stop", &parameters);
        assert_eq!(
            guest.run("ls /sys/kernel/config/target/iscsi 2>/dev/null | grep -c iqn").unwrap().stdout.trim(),
            "0"
        );
    }
}

#[test]
fn a_saved_configuration_that_cannot_be_written_is_no_outage() {
    let test = "a_saved_configuration_that_cannot_be_written_is_no_outage";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 32)).unwrap();
    let saved = "{\"theirs\": true}";
    for options in ["size=64k", "ro"] {
        let folder = format!(
            "set -e; mkdir -p /etc/target; mount -t tmpfs -o size=64k none /etc/target; printf '%s' '{saved}' >/etc/target/saveconfig.json
             dd if=/dev/zero of=/etc/target/full bs=4k status=none 2>/dev/null || :; mount -o remount,{options} /etc/target"
        );
        guest.run(&folder).unwrap().ok().unwrap();
        for (agent, parameters) in [(TARGET, &LIO_TARGET[..]), (UNIT, &LIO_UNIT[..])] {
            good(&guest, agent, "start", parameters);
            good(&guest, agent, "monitor", parameters);
        }
        for (agent, parameters) in [(UNIT, &LIO_UNIT[..]), (TARGET, &LIO_TARGET[..])] {
            good(&guest, agent, "stop", parameters);
            assert_eq!(code(&guest, agent, "monitor", parameters), 7);
        }
        // What targetcli has saved is the administrator's.
        assert_eq!(guest.read("/etc/target/saveconfig.json").unwrap(), saved);
        guest.run("umount /etc/target").unwrap().ok().unwrap();
    }
}

/// Kills each action at its first, second ... word to tgtd, and has it repaired each time.
const KILLED: &str = r#"
tgtd; for i in $(seq 100); do tgtadm --op show --mode target >/dev/null 2>&1 && break; sleep 0.1; done
truncate -s 16M /root/disk /root/other
T='tgtadm --lld iscsi'; $T --op new --mode target --tid 9 -T iqn.2026-01.org.lab:theirs
$T --op new --mode logicalunit --tid 9 --lun 1 -b /root/other; $T --op bind --mode target --tid 9 -I 192.0.2.0/24
export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_timeout=60000 OCF_RESKEY_implementation=tgt
export OCF_RESKEY_iqn=iqn.2026-01.org.lab:t OCF_RESKEY_tid=1
export OCF_RESKEY_target_iqn=iqn.2026-01.org.lab:t OCF_RESKEY_lun=1 OCF_RESKEY_path=/root/disk
export OCF_RESKEY_allowed_initiators="192.0.2.1 192.0.2.2" OCF_RESKEY_incoming_username=u OCF_RESKEY_incoming_password=correct-horse-1
A=/usr/lib/ocf/resource.d/ringfence
look() { $T --op show --mode target; }
say() { echo "$*"; exit 1; }
for agent in iSCSITarget iSCSILogicalUnit; do
    [ $agent = iSCSITarget ] || $A/iSCSITarget start || say "the target does not start"
    look >/tmp/before; $A/$agent start || say "$agent does not start"
    look >/tmp/whole
    strace -f -o /tmp/trace -e trace=execve,fork,vfork,clone,clone3 $A/$agent monitor || say "$agent: monitor fails"
    echo "$agent monitor: $(grep -c 'execve\|fork\|clone' /tmp/trace) programs"
    for action in start stop; do
        kills=0
        for call in connect write; do
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
fn with_tgtd_a_kill_anywhere_is_mended_and_a_monitor_runs_nothing() {
    let test = "with_tgtd_a_kill_anywhere_is_mended_and_a_monitor_runs_nothing";
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none()).unwrap();
    let ran = guest.run_within(Duration::from_secs(500), KILLED).unwrap().ok().unwrap();
    let kills: Vec<u32> = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_suffix(" kills")?.split(' ').next_back()?.parse().ok())
        .collect();
    assert!(kills.len() == 4 && kills.iter().all(|kills| *kills > 2), "{ran:?}");
    // strace's own start of the agent is the one.
    assert_eq!(ran.stdout.matches(" monitor: 1 programs").count(), 2, "{ran:?}");
}
