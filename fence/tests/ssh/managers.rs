//! The program in the hands of those who call it in a cluster: Heartbeat's `stonith`, Pacemaker's `fence_legacy`, `stonith_admin` and
//! `pacemaker-fenced`, fenced's standard input. Needs root, `cluster-glue` and `pacemaker`.
//!
//! Everything runs in namespaces of its own, in which our program lies where upstream's lies; with the namespaces all of it ends.

use std::path::Path;
use std::time::Instant;

use super::agent::{Run, command, ended, started};
use super::node::{Node, PROGRAM};

/// Our program in place of the installed one, root's keys, and directories that a fencer writes to.
const PRELUDE: &str = r#"
set -u
mount --bind "$PROGRAM" /usr/lib/stonith/plugins/external/ssh || exit 90
mount -t tmpfs -o mode=700 tmpfs /root || exit 91
mkdir -m 700 ~root/.ssh && cp "$NODE/id" ~root/.ssh/id_ed25519 && cp "$NODE/known_hosts" ~root/.ssh/ || exit 92
for d in /run /var/lib/pacemaker /var/log; do mount -t tmpfs tmpfs $d || exit 93; done
mkdir /run/sbin && mount --bind /usr/sbin /run/sbin && mount -t tmpfs -o mode=755 tmpfs /usr/sbin && ln -s /run/sbin/* /usr/sbin/ || exit 97
rm -f /usr/sbin/fence_ssh; cp "$PROGRAM" /usr/sbin/fence_ssh || exit 98
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 94
mkdir -p /run/crm /run/lock /var/log/pacemaker /var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/pacemaker/cores /var/lib/pacemaker/blackbox
chown -R hacluster:haclient /run/crm /var/lib/pacemaker
printf '127.0.0.1 node1 localhost\n127.0.0.9 node9\n' >/run/hosts && mount --bind /run/hosts /etc/hosts || exit 95
hostname solo
export PCMK_logfile="$NODE/fenced.log"
up() { n=0; until [ "$(cat "$NODE/power")" = on ] && fence_ssh -n node1 -o status >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || { fence_ssh -v -n node1 -o status; exit 96; }; sleep 0.1; done; }
# runs it and says how it ended, what the node was ordered since, and lets it come up again
step() { name=$1; shift; : >"$NODE/orders"; "$@"; echo "== $name: $? $(tr -d '\n' <"$NODE/orders")"; [ "$(cat "$NODE/orders")" != o ] || echo p >"$NODE/trigger"; up; }
"#;

fn inside(node: &Node, script: &str) -> Run {
    let mut command = command(Path::new("/usr/bin/timeout"));
    command
        .args(["-k", "2", "110", "nsenter"])
        .arg(format!("--net={}", node.network()))
        .args(["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"])
        .args(["--kill-child", "--propagation", "private", "sh", "-c"])
        .arg(format!("{PRELUDE}{script}"))
        .env("PROGRAM", PROGRAM)
        .env("NODE", node.path(""));
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
    let node = Node::apart();
    node.boots_in("3");
    let run = inside(
        &node,
        r#"
        S="stonith -t external/ssh hostlist=node1"
        step types sh -c 'stonith -L | grep -x external/ssh'
        step names stonith -t external/ssh -n
        step meta stonith -t external/ssh -m
        step list $S -l
        step status $S -S
        step reset $S -T reset NODE1
        step off $S -T off node1
        step on $S -T on node1
        step stranger $S -T reset node
        step gone stonith -t external/ssh "hostlist=node1 node9" -T reset node9
        touch "$NODE/lies"
        step liar $S -T reset node1
        rm "$NODE/lies"
        legacy() { printf 'plugin=external/ssh\nhostlist=node1\naction=%s\nnodename=node1\n' $1 | fence_legacy; }
        step legacy-monitor legacy monitor
        step legacy-list legacy list
        step legacy-reboot legacy reboot
        "#,
    );
    for (name, want) in [
        ("types", "0 "),
        ("names", "0 "),
        ("meta", "0 "),
        ("list", "0 "),
        ("status", "0 "),
        ("reset", "0 b"),
        ("off", "0 o"),
        // It is on: nothing is to be done.
        ("on", "0 "),
        ("legacy-monitor", "0 "),
        ("legacy-list", "0 "),
        ("legacy-reboot", "0 b"),
    ] {
        assert_eq!(said(&run, name), want, "{name} {run:?}");
    }
    for (name, orders) in [("stranger", " "), ("gone", " "), ("liar", " b")] {
        let said = said(&run, name);
        assert!(!said.starts_with("0 ") && said.ends_with(orders), "{name} {run:?}");
    }
    for words in ["hostlist", "\nnode1\n", "<parameter name=\"hostlist\"", "NOT FOR PRODUCTION"] {
        assert!(run.stdout.contains(words), "{words}: {run:?}");
    }
}

#[test]
fn pacemakers_fencer_and_fenced() {
    let node = Node::apart();
    node.boots_in("3");
    let run = inside(
        &node,
        r#"
        step metadata stonith_admin --metadata -a fence_ssh
        step validate stonith_admin --validate --agent fence_ssh -o hostlist=node1
        step invalid stonith_admin --validate --agent fence_ssh -o livedangerously=perhaps
        /usr/lib/pacemaker/pacemaker-fenced -s >/dev/null 2>&1 &
        n=0; until stonith_admin -L >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || exit 99; sleep 0.1; done
        step register stonith_admin -R dev1 -a fence_ssh -o hostlist=node1
        step query stonith_admin -Q dev1
        step hosts stonith_admin -l node1
        step reboot stonith_admin -B node1 -t 30
        step off stonith_admin -F node1 -t 30
        touch "$NODE/lies"
        step liar stonith_admin -B node1 -t 8
        rm "$NODE/lies"
        # as fenced of the older clusters does it: the device's lines, then the node's
        step fenced sh -c 'printf "agent=fence_ssh\nname=ssh\nhostlist=node1\nport=node1\noption=reboot\nnodename=node1\n" | fence_ssh'
        "#,
    );
    let log = std::fs::read_to_string(node.path("fenced.log")).unwrap_or_default();
    for (name, want) in [
        ("metadata", "0 "),
        ("validate", "0 "),
        ("register", "0 "),
        ("query", "0 "),
        ("hosts", "0 "),
        ("reboot", "0 b"),
        ("off", "0 o"),
        ("fenced", "0 b"),
    ] {
        assert_eq!(said(&run, name), want, "{name} {run:?}\n{log}");
    }
    for (name, orders) in [("invalid", " "), ("liar", "b")] {
        let said = said(&run, name);
        assert!(!said.starts_with("0 ") && said.ends_with(orders), "{name} {run:?}\n{log}");
    }
}
