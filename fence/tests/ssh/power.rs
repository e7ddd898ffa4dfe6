//! What happens to a node, and what is said of it.

use super::agent::run;
use super::node::{Node, PROGRAM, given, until};
use std::path::Path;
use std::time::Duration;

#[test]
fn a_node_is_rebooted_and_powered_off() {
    let node = Node::start("");
    node.act("action=status").is(0, "Status: ON\n", "");
    node.act("action=on").is(0, "Success: Already ON\n", "");
    assert_eq!(node.orders(), "");
    let before = node.boot_id();
    node.boots_in("3");
    node.act("action=reboot").is(0, "Success: Rebooted\n", "");
    assert_eq!(node.orders(), "b");
    until("the node is back", || node.is_up());
    assert_ne!(node.boot_id(), before);
    node.act("action=off").is(0, "Success: Powered OFF\n", "");
    assert!(!node.is_on());
    assert_eq!(node.orders(), "bo");
    // Off is not "already off": whether it is, nobody can see from here.
    for action in ["off", "reboot", "status", "monitor", "on"] {
        node.act(&format!("action={action}")).is(1, "", "refused; dead or cut off, ssh cannot tell");
    }
    assert_eq!(node.orders(), "bo");
}

/// The commands that are used without any option about them. Where the machine has no sysrq the second one of each counts.
#[test]
fn the_usual_commands() {
    let node = Node::start("");
    let options = |action: &str| {
        let all = node.options(&format!("action={action}"));
        all.split_inclusive('\n').filter(|line| !line.contains("_command=")).collect::<String>()
    };
    node.boots_in("4");
    given(&options("reboot")).is(0, "Success: Rebooted\n", "");
    until("the node is back", || node.is_up());
    given(&options("off")).is(0, "Success: Powered OFF\n", "");
    assert_eq!(node.orders(), "bo");
}

#[test]
fn a_node_that_takes_the_order_and_stays_is_no_success() {
    let node = Node::start("");
    node.be("lies", true);
    node.act("action=off\npower_timeout=2").is(1, "", "Timed out waiting to power OFF");
    node.act("action=reboot\npower_timeout=2").is(1, "", "still answers");
    assert_eq!(node.orders(), "ob");
    assert!(node.is_on());
}

/// An orderly shutdown ends the listening sshd first: the node lives on, and its disks with it.
#[test]
fn an_sshd_that_no_longer_listens_is_not_a_node_that_is_gone() {
    let node = Node::start("");
    let stops = "kill $(pgrep -o -x sshd); sleep 30";
    node.act(&format!("action=reboot\npower_timeout=4\nreboot_command={stops}")).is(1, "", "still answers");
    assert!(node.is_on());
}

#[test]
fn a_command_that_fails_is_told_with_its_words() {
    let node = Node::start("");
    for (action, option) in [("reboot", "reboot_command"), ("off", "off_command")] {
        let run =
            node.act(&format!("action={action}\npower_timeout=3\n{option}=echo no such machine >&2; exit 7"));
        run.is(1, "", "ended with 7: no such machine");
    }
    assert_eq!(node.orders(), "");
}

#[test]
fn a_rebooted_node_is_back_with_another_boot_id() {
    let node = Node::start("");
    for boots_in in ["0.1", "3"] {
        let before = node.boot_id();
        node.boots_in(boots_in);
        node.act("action=reboot\nboot_wait=20").is(0, "Success: Rebooted\n", "");
        assert!(node.is_on());
        assert_ne!(node.boot_id(), before);
    }
    // Over between two looks: the boot id tells, also where nobody asked for it.
    node.boots_in("0");
    node.act("action=reboot").is(0, "Success: Rebooted\n", "");
    assert_eq!(node.orders(), "bbb");
}

#[test]
fn a_node_that_is_back_with_the_same_boot_id_has_not_rebooted() {
    let node = Node::start("");
    node.be("same_boot", true);
    node.boots_in("3");
    let run = node.act("action=reboot\nboot_wait=20");
    run.is(1, "", "the same boot id: it has not rebooted");
}

#[test]
fn a_node_that_does_not_come_back_is_a_failure_where_it_is_waited_for() {
    let node = Node::start("");
    node.be("stays_down", true);
    node.act("action=reboot\nboot_wait=2").is(1, "", "not back within boot_wait");
    node.power_on();
    node.act("action=reboot").is(0, "Success: Rebooted\n", "");
}

/// users-want-fencing A11: with the original, a network that is down was a fenced node.
#[test]
fn a11_network_loss_is_not_fencing() {
    // TEST-NET-1: no route answers, or the kernel has none.
    let options = |lines: &str| {
        format!("plug=192.0.2.77\npassword=x\nlogin_timeout=1\nknown_hosts=/dev/null\n{lines}\n")
    };
    for action in ["off", "reboot", "status", "monitor"] {
        let run = given(&options(&format!("action={action}")));
        assert!(run.code == Some(1) && run.stdout.is_empty(), "{run:?}");
    }
    // A node that refuses connections has a living kernel: not even dangerously is it fenced.
    let node = Node::start("");
    node.press("k\n");
    until("it is off", || !node.is_on());
    for action in ["off", "reboot"] {
        let run = node.act(&format!("action={action}\nlivedangerously=yes"));
        run.is(1, "", "its kernel answers");
    }
    // A name that does not exist is a typing error.
    let run = given(&options("plug=no-such-node.invalid\nlivedangerously=yes\naction=off"));
    assert!(run.code == Some(1) && run.stdout.is_empty(), "{run:?}");
}

/// In a network of its own, with a neighbour that nobody is.
fn alone(action: &str, daring: &str) -> super::agent::Run {
    let script = "ip link set lo up && ip link add d0 type veth peer name d1 && ip addr add 192.0.2.1/24 dev d0 && ip link set d0 up && \
                  ip link set d1 up && exec \"$0\"";
    let stdin = format!(
        "plug=192.0.2.77\npassword=x\nlogin_timeout=1\nknown_hosts=/dev/null\naction={action}\nlivedangerously={daring}\n"
    );
    run(Path::new("/usr/bin/unshare"), &["--net", "sh", "-c", script, PROGRAM], &stdin)
}

#[test]
fn living_dangerously_is_said_loudly() {
    for (action, success) in [("off", "Success: Already OFF\n"), ("reboot", "Success: Rebooted\n")] {
        let run = alone(action, "yes");
        run.is(0, success, "DANGER: 192.0.2.77 DOES NOT ANSWER AND IS TAKEN AS FENCED");
        assert!(run.took > Duration::from_millis(1500), "{run:?}");
        let run = alone(action, "no");
        assert!(run.code == Some(1) && run.stdout.is_empty() && !run.stderr.contains("DANGER"), "{run:?}");
    }
    // Never in a mere look.
    for action in ["status", "monitor"] {
        let run = alone(action, "yes");
        assert!(run.code == Some(1) && run.stdout.is_empty(), "{run:?}");
    }
}

#[test]
fn several_nodes_all_or_none() {
    let (a, b) = (Node::start(""), Node::start(""));
    // Two plugs on one port: the second one is another address of loopback, where only a listens.
    let run = a.act("plug=127.0.0.1,127.0.0.9\naction=reboot\nlogin_timeout=2");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        (a.orders().as_str(), b.orders().as_str()),
        ("", ""),
        "the first is not cut off when the second cannot be"
    );
}

#[test]
fn hostlist_is_what_may_be_fenced() {
    let node = Node::start("");
    let host = "hostlist=other, 127.0.0.1";
    node.act(&format!("{host}\naction=list")).is(0, "other,\n127.0.0.1,\n", "");
    node.act(&format!("{host}\naction=status")).is(0, "Status: ON\n", "");
    for plug in ["127.0.0.10", "127.0.0", "localhost"] {
        node.act(&format!("{host}\nplug={plug}\naction=reboot")).is(1, "", "is not in hostlist");
    }
    assert_eq!(node.orders(), "");
    node.act("hostlist=127.0.0.1\nplug=\naction=monitor").is(0, "", "");
}

#[test]
fn a_signal_ends_the_wait() {
    let node = Node::start("");
    node.be("lies", true);
    let child = super::agent::started(
        super::agent::command(Path::new(PROGRAM)),
        &node.options("action=reboot\npower_timeout=50"),
    );
    let begun = std::time::Instant::now();
    until("the order", || node.orders() == "b");
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let run = super::agent::ended(child, begun);
    assert_eq!((run.code, run.signal), (None, Some(15)), "{run:?}");
    assert!(run.took < Duration::from_secs(5), "{run:?}");
}

#[test]
fn it_says_that_it_is_not_for_production() {
    let metadata = run(Path::new(PROGRAM), &["-o", "metadata"], "").stdout;
    assert!(metadata.contains("NOT FOR PRODUCTION ALONE"), "{metadata}");
    assert!(metadata.contains("DANGEROUS"), "{metadata}");
}
