//! The program in the hands of those who call it in a cluster: `stonith_admin`, `pacemaker-fenced`, and cman's fenced by its words. Needs
//! root and `pacemaker`.
//!
//! The pool and the fencer share a network of their own, in which our program lies where upstream's lies.

use std::path::Path;
use std::time::Instant;

use ringfence_tests::sim::xenapi::{Pool, Settings, Vm};

use super::agent::{PROGRAM, Run, command, ended, given, run, started};

/// Our program in place of the installed one, and directories that a fencer writes to.
const PRELUDE: &str = r#"
set -u
mount --bind "$PROGRAM" /usr/sbin/fence_xenapi || exit 90
for d in /run /var/lib/pacemaker /var/log; do mount -t tmpfs tmpfs $d || exit 92; done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 93
mkdir -p /run/crm /run/lock /var/log/pacemaker /var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/pacemaker/cores /var/lib/pacemaker/blackbox
chown -R hacluster:haclient /run/crm /var/lib/pacemaker
hostname solo
export PCMK_logfile="$POOL/fenced.log"
# runs it and says how it ended and what the pool says of the machines then
step() { name=$1; shift; "$@"; echo "== $name: $? $(cat "$POOL/vms/$WEB1") $(cat "$POOL/vms/$WEB2")"; }
"#;

/// The script's words, with a pool in the same network.
fn inside(pool: &Pool, script: &str) -> Run {
    let mut command = command(Path::new("/usr/bin/timeout"));
    command
        .args(["-k", "2", "55", "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"])
        .args(["--kill-child", "--propagation", "private", "sh", "-c"])
        .arg(format!("{PRELUDE}{script}"))
        .env("PROGRAM", PROGRAM)
        .env("POOL", pool.folder())
        .env("URLS", format!("{},{}", pool.url(1), pool.url(0)))
        .env("WEB1", Vm::running("web1").uuid)
        .env("WEB2", Vm::running("web2").uuid);
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

fn pool() -> Pool {
    let vms = vec![Vm::running("web1"), Vm::running("web2")];
    Pool::start(Settings { hosts: 2, vms, ..Settings::default() }).unwrap()
}

#[test]
fn pacemakers_fencer_and_its_tool() {
    // A thread of its own, because a network of its own is a thread's; its children and threads have the same one.
    std::thread::spawn(fencer_and_tool).join().unwrap();
}

fn fencer_and_tool() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let pool = pool();
    let run = inside(
        &pool,
        r#"
        step metadata stonith_admin --metadata -a fence_xenapi
        O="--option session_url=$URLS --option username=root"
        D=$O; O="$O --option password=s3cret1"
        step validate stonith_admin --validate --agent fence_xenapi $O
        step invalid stonith_admin --validate --agent fence_xenapi $O --option ssl_fingerprint=1
        /usr/lib/pacemaker/pacemaker-fenced -s >/dev/null 2>&1 &
        n=0; until stonith_admin -L >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 100 ] || exit 96; sleep 0.1; done
        # the pool's own list says whom the device can fence
        step register stonith_admin -R dev1 -a fence_xenapi $O
        step monitor stonith_admin -Q dev1
        step hosts sh -c 'stonith_admin -l web1 | grep -x dev1'
        step stranger sh -c 'stonith_admin -l web9 | grep -x dev1'
        step off stonith_admin -F web1 -t 20
        step on stonith_admin -U web1 -t 20
        step reboot stonith_admin -B web2 -t 20
        step map stonith_admin -R dev2 -a fence_xenapi $O -o "pcmk_host_map=n1:web1,web2"
        step both-off stonith_admin -F n1 -t 20
        step both-on stonith_admin -U n1 -t 20
        step register-denied stonith_admin -R dev3 -a fence_xenapi $D -o password=Wr0ng#1 -o pcmk_host_list=n3
        step denied stonith_admin -F n3 -t 10
        "#,
    );
    let log = std::fs::read_to_string(pool.folder().join("fenced.log")).unwrap_or_default();
    for (name, want) in [
        ("metadata", "0 Running Running"),
        ("validate", "0 Running Running"),
        ("register", "0 Running Running"),
        ("monitor", "0 Running Running"),
        ("hosts", "0 Running Running"),
        ("stranger", "1 Running Running"),
        ("off", "0 Halted Running"),
        ("on", "0 Running Running"),
        ("reboot", "0 Running Running"),
        ("map", "0 Running Running"),
        ("both-off", "0 Halted Halted"),
        ("both-on", "0 Running Running"),
    ] {
        assert_eq!(said(&run, name), want, "{name} {run:?}\n{log}");
    }
    for name in ["invalid", "denied"] {
        assert!(
            !said(&run, name).starts_with("0 ") && said(&run, name).ends_with("Running Running"),
            "{name} {run:?}\n{log}"
        );
    }
    // the reason reaches the one who asked
    assert!(log.contains("SESSION_AUTHENTICATION_FAILED"), "{log}");
    assert!(!log.contains("s3cret1") && !log.contains("OpaqueRef"), "{log}");
    assert_eq!((pool.open_sessions(), pool.tasks()), (0, 0));
}

/// What rgmanager's fenced and `fence_node` write: names that are its own, the old ones of the options, a node's name.
#[test]
fn cmans_words() {
    let pool = pool();
    let url = pool.url(0);
    let base = format!(
        "agent=fence_xenapi\nname=pool\nsession_url={url}\nlogin=root\npasswd=s3cret1\nnodename=n1\n"
    );
    for (lines, orders) in [
        ("port=web1\naction=off", &["VM.hard_shutdown web1"][..]),
        ("port=web1\noption=on", &["VM.start web1"]),
        ("port=web2", &["VM.hard_shutdown web2", "VM.start web2"]),
        ("vm_name=web2\naction=off", &["VM.hard_shutdown web2"]),
    ] {
        pool.forget_orders();
        let run = given(&format!("{base}{lines}\n"));
        assert_eq!(run.code, Some(0), "{lines} {run:?}");
        assert!(!run.stderr.contains("unknown option"), "{run:?}");
        assert_eq!(pool.orders(), orders, "{lines}");
    }
    assert_eq!(pool.open_sessions(), 0);
    // And a plug that Pacemaker adds next to the configured one.
    let both = run(Path::new(PROGRAM), &[], &format!("{base}port=web1\nplug=n1\naction=off\n"));
    assert_eq!((both.code, pool.power("web1").as_str()), (Some(0), "Halted"), "{both:?}");
}
