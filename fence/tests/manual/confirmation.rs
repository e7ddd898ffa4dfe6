//! What counts as a confirmation, and what does not.

use super::agent::run;
use super::world::{Asked, PROGRAM, World};
use std::path::Path;
use std::time::Duration;

#[test]
fn a_confirmed_node_is_fenced() {
    let world = World::new();
    for (action, said) in [("off", "Powered OFF"), ("on", "Powered ON"), ("reboot", "Rebooted")] {
        let waiting = world.waits(&format!("plug=node1\naction={action}\n"));
        assert_eq!(world.pending(), [format!("node1\t{action}")]);
        let ack = world.ack(&["node1"], "absolutely\n");
        assert!(ack.code == Some(0) && ack.stdout.ends_with("confirmed\n"), "{ack:?}");
        assert!(ack.stdout.contains(&format!("waits for: {action} of node1")), "{ack:?}");
        let run = waiting.ends();
        run.is(0, &format!("Success: {said}\n"), "OPERATOR INTERVENTION REQUIRED for node1");
        assert!(
            run.stderr.contains("fence_manual ack node1") && run.stderr.contains("was confirmed by user 0"),
            "{run:?}"
        );
        assert!(world.pending().is_empty());
        assert_eq!(world.sh("ls /run/fence_manual"), "");
    }
}

/// users-want-fencing A11: "n" confirmed "node1".
#[test]
fn a11_a_beginning_of_the_name_is_not_the_name() {
    let world = World::new();
    let mut waiting = world.waits("plug=node1\naction=off\n");
    for name in ["n", "node", "node11", "NODE1", "node1 ", " node1", "*", "node1\n"] {
        let ack = world.ack(&[name], "absolutely\n");
        assert_eq!(ack.code, Some(4), "{name:?} {ack:?}");
        assert!(ack.stderr.contains("what waits: node1"), "{ack:?}");
        assert!(waiting.still());
    }
    assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(0));
    assert_eq!(waiting.ends().code, Some(0));
}

#[test]
fn a_word_less_than_absolutely_is_no_confirmation() {
    let world = World::new();
    let mut waiting = world.waits("plug=node1\naction=off\n");
    for typed in ["", "\n", "y\n", "yes\n", "Absolutely\n", "absolutely not\n"] {
        let ack = world.ack(&["node1"], typed);
        assert!(ack.code == Some(3) && ack.stderr.contains("not confirmed"), "{typed:?} {ack:?}");
        assert!(waiting.still(), "{typed:?}");
    }
    waiting.kill("-TERM");
    let run = waiting.ends();
    assert_eq!((run.code, run.signal, run.stdout.as_str()), (None, Some(15), ""), "{run:?}");
    assert!(world.pending().is_empty());
}

#[test]
fn a_confirmation_is_of_one_request_and_one_node() {
    let world = World::new();
    let mut one = world.waits("plug=node1\naction=off\n");
    let two = world.waits("plug=node2\naction=reboot\n");
    assert_eq!(world.ack(&["node2"], "absolutely\n").code, Some(0));
    assert_eq!(two.ends().code, Some(0));
    assert!(one.still());
    assert_eq!(world.pending(), ["node1\toff"]);
    one.kill("-KILL");
    assert_eq!(one.ends().signal, Some(9));
}

/// Confirmed before there was a request, or for one that is over: neither counts for the next one.
#[test]
fn a_stale_confirmation_never_counts() {
    let world = World::new();
    let early = world.ack(&["node1"], "absolutely\n");
    assert!(early.code == Some(4) && early.stderr.contains("nothing waits at all"), "{early:?}");
    for (end, signal) in [("-KILL", 9), ("-TERM", 15)] {
        let mut first = world.waits("plug=node1\naction=off\n");
        let asked = Asked::new(&world, "node1");
        first.kill(end);
        assert_eq!(first.ends().signal, Some(signal));
        // The operator still looks at the question about the first request.
        let mut second = world.waits("plug=node1\naction=off\n");
        let late = asked.types("absolutely\n");
        assert!(late.code == Some(8) && late.stderr.contains("was over before it was confirmed"), "{late:?}");
        std::thread::sleep(Duration::from_millis(300));
        assert!(second.still(), "confirmed by a word about another request");
        assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(0));
        assert_eq!(second.ends().code, Some(0));
    }
}

#[test]
fn patience_ends() {
    let world = World::new();
    let run = world.waits("plug=node1\naction=off\nconfirm_timeout=1\n").ends();
    run.is(1, "", "nobody has confirmed the off of node1 within 1 s");
    assert!(run.took > Duration::from_millis(950) && run.took < Duration::from_secs(4), "{run:?}");
    assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(4));
}

#[test]
fn several_nodes_are_confirmed_each() {
    let world = World::new();
    let mut waiting = world.waits("plug=node1,node2\naction=off\n");
    assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(0));
    assert!(waiting.still());
    assert_eq!(world.ack(&["node2", "-w", "5"], "absolutely\n").code, Some(0));
    assert_eq!(waiting.ends().code, Some(0));
}

#[test]
fn an_operator_may_be_there_first() {
    let world = World::new();
    let begun = std::time::Instant::now();
    let operator =
        super::agent::started(world.command(&[PROGRAM, "ack", "node1", "-w", "10"]), "absolutely\n");
    std::thread::sleep(Duration::from_millis(300));
    let run = world.run(&[PROGRAM], "plug=node1\naction=off\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(super::agent::ended(operator, begun).code, Some(0));
}

/// Whoever connects and says something else is no confirmation, and does not stop the wait.
#[test]
fn nonsense_does_not_count() {
    let world = World::new();
    let mut waiting = world.waits("plug=node1\naction=off\n");
    let script = r"
import os, socket
d = '/run/fence_manual/'
def say(text, read=True):
    s = socket.socket(socket.AF_UNIX); s.connect(d + os.listdir(d)[0]); line = s.makefile().readline(); s.sendall(text(line.split()))
    s.settimeout(3); print(s.recv(100) if read else b'')
say(lambda w: b'confirm %s node\n' % w[1].encode())
say(lambda w: b'confirm %s node1x\n' % w[1].encode())
say(lambda w: b'confirm 00000000000000000000000000000000 node1\n')
say(lambda w: b'confirm  node1\n')
say(lambda w: b'taken\n')
say(lambda w: b'x' * 5000)
say(lambda w: b'confirm %s node1' % w[1].encode(), False)
";
    let said = world.run(&["python3", "-c", script], "");
    assert_eq!(said.stdout.matches(r"b'refused\n'").count(), 6, "{said:?}");
    std::thread::sleep(Duration::from_millis(200));
    assert!(waiting.still());
    assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(0));
    let run = waiting.ends();
    run.is(0, "Success: Powered OFF\n", "that is no confirmation");
}

#[test]
fn the_older_names_of_the_operators_side() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let called = |line: &str, typed: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let link = dir.path().join(words[0]);
        let _ = std::os::unix::fs::symlink(PROGRAM, &link);
        words[0] = link.to_str().unwrap();
        world.run(&words, typed)
    };
    // Nothing waits: the statuses of the originals.
    assert_eq!(called("fence_ack_manual -n node1", "absolutely\n").code, Some(1));
    assert_eq!(called("meatclient -c node1", "y\n").code, Some(4));
    for (line, typed) in [
        ("fence_ack_manual -n node1", "absolutely\n"),
        ("fence_ack_manual node1", "absolutely\n"),
        ("meatclient -c node1", "y\n"),
        ("meatclient -c node1 -w", "yes\n"),
    ] {
        let mut waiting = world.waits("plug=node1\naction=off\n");
        for (wrong, typed, code) in [
            ("fence_ack_manual -n node1", "y\n", 1),
            ("fence_ack_manual -n node", "absolutely\n", 1),
            ("fence_ack_manual -h", "", 1),
            ("fence_ack_manual -O -n node1", "absolutely\n", 1),
            ("fence_ack_manual -c node1", "absolutely\n", 1),
            ("meatclient -c node1", "n\n", 3),
            ("meatclient -c node1", "", 3),
            ("meatclient node1", "y\n", 3),
            ("meatclient -c node", "y\n", 4),
        ] {
            let run = called(wrong, typed);
            assert!(run.code == Some(code) && waiting.still(), "{wrong}: {run:?}");
        }
        let run = called(line, typed);
        assert!(run.code == Some(0) && run.stdout.ends_with("confirmed\n"), "{line}: {run:?}");
        assert_eq!(waiting.ends().code, Some(0));
    }
    assert_eq!(run(Path::new(PROGRAM), &["ack"], "").code, Some(3));
    assert_eq!(run(Path::new(PROGRAM), &["ack", "--yes", "node1"], "").code, Some(3));
}

/// Whoever installs it asks for the names; only then.
#[test]
fn the_older_names_are_told() {
    use std::os::unix::process::CommandExt as _;
    let told = |name: &str| {
        let begun = std::time::Instant::now();
        let mut command = super::agent::command(Path::new(PROGRAM));
        command.arg0(name).arg("getinfo-name");
        super::agent::ended(super::agent::started(command, ""), begun)
    };
    told("/usr/sbin/ask").is(0, "fence_ack_manual meatclient\n", "");
    told("/usr/sbin/fence_manual").is(1, "", "plug");
}

#[test]
fn hostlist_and_the_other_actions() {
    let world = World::new();
    let act = |lines: &str| world.run(&[PROGRAM], &format!("hostlist=node1 node2\n{lines}\n"));
    act("action=list").is(0, "node1,\nnode2,\n", "");
    act("action=monitor").is(0, "", "");
    act("action=off\nplug=node3").is(1, "", "'node3' is not in hostlist");
    act("action=off\nplug=node").is(1, "", "'node' is not in hostlist");
    act("action=off").is(1, "", "You have to enter plug number");
    assert_eq!(act("action=status\nplug=node1").code, Some(1), "nobody knows");
    act("action=validate-all\nplug=node1").is(0, "", "");
}
