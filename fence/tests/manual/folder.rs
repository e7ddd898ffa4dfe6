//! CVE-2008-4580: where the request waits belongs to nobody else.

use super::world::{PROGRAM, World};

const OFF: &str = "plug=node1\naction=off\nconfirm_timeout=2\n";

#[test]
fn the_folder_is_private() {
    let world = World::new();
    let waiting = world.waits(OFF);
    assert_eq!(world.sh("stat -c '%a %u' /run/fence_manual"), "700 0\n");
    let stranger = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    // The program may lie where a stranger cannot go.
    world.sh(&format!("cp {PROGRAM} /run/program && chmod 755 /run/program"));
    let tried = world.run(&[&stranger[..], &["/run/program", "ack", "node1"]].concat(), "absolutely\n");
    assert!(tried.code == Some(4) && !tried.stdout.contains("confirmed"), "{tried:?}");
    let run = waiting.ends();
    run.is(1, "", "nobody has confirmed");
}

#[test]
fn a_folder_that_somebody_else_can_write_to_is_not_used() {
    for prepared in [
        "mkdir -m 777 /run/fence_manual",
        "mkdir -m 701 /run/fence_manual",
        "mkdir -m 700 /run/fence_manual && chown 65534 /run/fence_manual",
        "mkdir -m 700 /run/elsewhere && ln -s elsewhere /run/fence_manual",
        ": > /run/fence_manual",
        "mkfifo /run/fence_manual",
    ] {
        let world = World::new();
        world.sh(prepared);
        let before = world.sh("ls -lR /run");
        for action in ["off", "reboot", "monitor"] {
            let run = world.run(&[PROGRAM], &format!("plug=node1\naction={action}\n"));
            run.is(1, "", "/run/fence_manual");
        }
        assert_eq!(world.ack(&["node1"], "absolutely\n").code, Some(4), "{prepared}");
        assert_eq!(world.sh("ls -lR /run"), before, "{prepared}: nothing was touched");
    }
}

/// What a killed agent leaves is swept away by the next one.
#[test]
fn nothing_piles_up() {
    let world = World::new();
    for _ in 0..3 {
        let mut waiting = world.waits(OFF);
        waiting.kill("-KILL");
        assert_eq!(waiting.ends().signal, Some(9));
    }
    let waiting = world.waits(OFF);
    assert_eq!(world.sh("ls /run/fence_manual | wc -l").trim(), "1");
    drop(waiting);
}

/// Between two system calls a new request looks like what a killed process has left: it keeps its hidden name so long.
#[test]
fn a_request_that_is_being_made_is_not_swept_away() {
    let world = World::new();
    let _made = world.pending();
    world.sh(
        "cd /run/fence_manual && python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('.new')\"",
    );
    assert!(world.pending().is_empty());
    assert_eq!(world.sh("ls -A /run/fence_manual"), ".new\n");
    world.sh("touch -d '2 minutes ago' /run/fence_manual/.new");
    assert!(world.pending().is_empty());
    assert_eq!(world.sh("ls -A /run/fence_manual"), "");
}
