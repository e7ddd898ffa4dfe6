//! `cts-fencing` in style: `stonith_admin` against a `pacemaker-fenced` that stands alone, with `fence_ipmilan` and two
//! real BMCs (`ipmi_sim`). What a node's power is, its file says.

use super::agents_for;
use super::place::{Ran, ran};
use ringfence_tests::sim::ipmi_sim::IpmiSim;

const NEEDS: [(&str, &str); 5] = [
    ("corosync", "corosync"),
    ("/usr/lib/pacemaker/pacemaker-fenced", "pacemaker"),
    ("stonith_admin", "pacemaker-cli-utils"),
    ("ipmi_sim", "openipmi"),
    ("ipmitool", "ipmitool"),
];

/// Two BMCs, the fencer, and the devices `a` and `b` for node `n1`, each with its own BMC.
const BED: &str = r#"
bmc() {
    mkdir -p "$1/inside"
    ipmi_sim -n -d -c "$1/lan.conf" -f "$1/bmc.emu" -s "$1/inside" </dev/null >/dev/null 2>&1 &
    echo $! >"/run/pid-of-$2"
    n=0; until ipmitool -I lan -H 127.0.0.1 -p $2 -U admin -P s3cret1 -N 1 -R 1 power status >/dev/null 2>&1; do
        n=$((n+1)); [ $n -lt 50 ] || exit 96; done
}
bmc "$A" $A_PORT; bmc "$B" $B_PORT
export PCMK_logfile=/run/fenced.log
if [ $HOW = -c ]; then
    for d in /etc/corosync /var/lib/corosync; do mount -t tmpfs tmpfs $d || exit 98; done
    printf '%s\n' 'totem {' 'version: 2' 'cluster_name: solo' 'transport: udpu' 'crypto_cipher: none' 'crypto_hash: none' '}' \
        'nodelist {' 'node {' 'ring0_addr: 127.0.0.1' 'name: solo' 'nodeid: 1' '}' '}' \
        'quorum {' 'provider: corosync_votequorum' '}' \
        'logging {' 'to_syslog: no' 'to_logfile: yes' 'logfile: /run/corosync.log' '}' >/etc/corosync/corosync.conf
    corosync -f >/dev/null 2>&1 &
    n=0; until corosync-cpgtool >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || exit 99; sleep 0.1; done
fi
/usr/lib/pacemaker/pacemaker-fenced $HOW >/dev/null 2>&1 &
n=0; until stonith_admin -L >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || exit 97; sleep 0.1; done
device() { id=$1; port=$2; shift 2
    stonith_admin -R $id -a fence_ipmilan --option ip=127.0.0.1 --option ipport=$port --option username=admin \
        --option password=s3cret1 --option lanplus=1 --option power_wait=0 --option power_timeout=4 \
        --option ipmitool_timeout=0.5 --option pcmk_off_retries=1 \
        --option pcmk_host_list=n1 "$@"; }
power() { echo "== $1: $(cat "$A/power") $(cat "$B/power")"; }
asked() { echo "== $1: a=$(tr '\n' ';' <"$A/log") b=$(tr '\n' ';' <"$B/log")"; : >"$A/log"; : >"$B/log"; }
"#;

/// How the fencer stands alone: without anybody, or with corosync. Only with that it knows levels; so upstream's own
/// test starts it, too.
const ALONE: &str = "-s";
const WITH_COROSYNC: &str = "-c";

fn fenced(test: &str, how: &str, script: &str) -> Option<Ran> {
    let subjects = agents_for(test, &NEEDS)?;
    let (a, b) = (IpmiSim::start(None).unwrap(), IpmiSim::start(None).unwrap());
    let mut variables = vec![("HOW", how.to_owned())];
    for (name, port, sim) in [("A", "A_PORT", &a), ("B", "B_PORT", &b)] {
        variables.push((name, sim.directory().display().to_string()));
        variables.push((port, sim.address().port().to_string()));
    }
    Some(ran(&subjects, &variables, &format!("{BED}{script}")))
}

/// Level 1 before level 2; the next level when the one before fails, lies or is dead.
#[test]
fn levels_are_tried_in_order() {
    let script = r#"
        step register-a device a $A_PORT
        step register-b device b $B_PORT
        step level-1 stonith_admin -r n1 -i 1 -v a
        step level-2 stonith_admin -r n1 -i 2 -v b
        step off stonith_admin -F n1 -t 20
        power after-off; asked off-asked
        step on stonith_admin -U n1 -t 20
        power after-on; asked on-asked
        touch "$A/lies"
        step liar stonith_admin -F n1 -t 40
        power after-liar; asked liar-asked
        rm "$A/lies"; echo 1 >"$A/power"; echo 1 >"$B/power"
        kill -9 $(cat /run/pid-of-$A_PORT)
        step dead stonith_admin -F n1 -t 60
        power after-dead; asked dead-asked
        step history stonith_admin --history n1
    "#;
    let Some(ran) = fenced("levels_are_tried_in_order", WITH_COROSYNC, script) else { return };
    for step in ["register-a", "register-b", "level-1", "level-2", "off", "on", "liar", "dead", "history"] {
        ran.is(step, "0");
    }
    ran.is("after-off", "0 1");
    ran.is("off-asked", "a=power 0; b=");
    ran.is("after-on", "1 1");
    ran.is("on-asked", "a=power 1; b=");
    ran.is("after-liar", "1 0");
    ran.is("after-dead", "1 0");
    ran.is("dead-asked", "a= b=power 0;");
}

/// Two devices in one level: both must have succeeded. A reboot is off of both before on of any.
#[test]
fn all_devices_of_a_level_are_needed() {
    let script = r#"
        step register-a device a $A_PORT
        step register-b device b $B_PORT
        step level stonith_admin -r n1 -i 1 -v a -v b
        step off stonith_admin -F n1 -t 30
        power after-off; asked off-asked
        step on stonith_admin -U n1 -t 30
        asked on-asked
        step reboot stonith_admin -B n1 -t 30
        power after-reboot; asked reboot-asked
        touch "$B/lies"
        step liar stonith_admin -F n1 -t 20
        power after-liar
    "#;
    let Some(ran) = fenced("all_devices_of_a_level_are_needed", WITH_COROSYNC, script) else { return };
    for step in ["register-a", "register-b", "level", "off", "on", "reboot"] {
        ran.is(step, "0");
    }
    ran.is("after-off", "0 0");
    ran.is("off-asked", "a=power 0; b=power 0;");
    ran.is("on-asked", "a=power 1; b=power 1;");
    ran.is("after-reboot", "1 1");
    ran.is("reboot-asked", "a=power 0;power 1; b=power 0;power 1;");
    ran.fails("liar");
    ran.is("after-liar", "0 1");
}

/// Registering, asking, and what the caller is told of a device that fails.
#[test]
fn devices_are_asked_and_their_failures_told() {
    let script = r#"
        step register device a $A_PORT
        step listed stonith_admin -L
        step monitor stonith_admin -Q a
        step hosts stonith_admin -l n1
        step none-for-n2 stonith_admin -F n2 -t 5
        step again device a $A_PORT
        step register-slow device b $B_PORT --option pcmk_delay_base=3s
        step delete stonith_admin -D a
        begun=$(date +%s%N)
        step delayed stonith_admin -F n1 -t 30
        echo "== delay: $(( ($(date +%s%N) - begun) / 1000000000 ))"
        power after-delayed
        step on stonith_admin -U n1 -t 30
        kill -9 $(cat /run/pid-of-$B_PORT)
        step dead-monitor stonith_admin -Q b
        step dead stonith_admin -F n1 -t 15
        power after-dead
        step log grep -c s3cret1 /run/fenced.log
        step reason grep -E "fence_ipmilan.*(refused|unreachable|not answer|timed out|Timed out|no answer)" /run/fenced.log
    "#;
    let Some(ran) = fenced("devices_are_asked_and_their_failures_told", ALONE, script) else { return };
    for step in
        ["register", "listed", "monitor", "hosts", "again", "register-slow", "delete", "delayed", "on"]
    {
        ran.is(step, "0");
    }
    assert!(ran.step("listed").1.iter().any(|line| line.contains('a')), "{}", ran.text);
    ran.fails("none-for-n2");
    // The fencer counts whole seconds on a clock of its own, and may begin within one.
    let waited: u32 = ran.step("delay").0.parse().unwrap();
    assert!((2..15).contains(&waited), "{}", ran.text);
    ran.is("after-delayed", "1 0");
    ran.fails("dead-monitor");
    ran.fails("dead");
    ran.is("after-dead", "1 1");
    // grep found nothing
    ran.is("log", "1");
    ran.is("reason", "0");
}

/// Reboot as one action (`method=cycle`) and as two, and a device that dies between off and on: the node was seen off,
/// so it is fenced.
#[test]
fn a_device_that_dies_in_the_middle() {
    let script = r#"
        step register device a $A_PORT
        step reboot stonith_admin -B n1 -t 30
        asked reboot-asked
        echo 3 >"$A/slow"
        ( until [ "$(cat "$A/power")" = 0 ]; do sleep 0.05; done; kill -9 $(cat /run/pid-of-$A_PORT) ) &
        step killed stonith_admin -F n1 -t 30
        power after-killed
        bmc "$A" $A_PORT
        rm "$A/slow"
        step status-off stonith_admin -F n1 -t 30
        power at-the-end
    "#;
    let Some(ran) = fenced("a_device_that_dies_in_the_middle", ALONE, script) else { return };
    for step in ["register", "reboot", "status-off"] {
        ran.is(step, "0");
    }
    ran.is("reboot-asked", "a=power 0;power 1; b=");
    // The power went, and nobody could see it: doubt is no success. (Where the last poll came before the death, it is one.)
    let (ended, _) = ran.step("killed");
    assert_eq!(ran.step("after-killed").0, "0 1", "{}", ran.text);
    assert_ne!(ended, "137", "{}", ran.text);
    ran.is("at-the-end", "0 1");
}
