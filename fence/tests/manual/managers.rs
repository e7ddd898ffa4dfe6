//! The program in the hands of Heartbeat's `stonith` and Pacemaker's `fence_legacy`, as `external/meatware`. Needs `cluster-glue`.

use super::agent;
use super::world::{PROGRAM, World};
use std::time::{Duration, Instant};

fn plugged() -> World {
    let world = World::new();
    // The namespace is private: what is bound there ends with it.
    world.sh(&format!(
        "mount -t tmpfs -o mode=755 tmpfs /usr/lib/stonith/plugins/external && cp {PROGRAM} /usr/lib/stonith/plugins/external/meatware"
    ));
    world
}

#[test]
fn stonith_lists_and_describes_it() {
    let world = plugged();
    assert_eq!(world.sh("stonith -L | grep -x external/meatware"), "external/meatware\n");
    assert_eq!(world.sh("stonith -t external/meatware -n").trim(), "hostlist");
    assert!(world.sh("stonith -t external/meatware -m").contains("<parameter name=\"hostlist\""));
    assert_eq!(world.sh("stonith -t external/meatware hostlist='node1 node2' -l"), "node1\nnode2\n");
    world.sh("stonith -t external/meatware hostlist=node1 -S");
}

#[test]
fn stonith_and_fence_legacy_wait_for_the_operator() {
    let world = plugged();
    let legacy = "printf 'plugin=external/meatware\\nhostlist=Node1 node2\\naction=off\\nnodename=node2\\n' | fence_legacy";
    for (line, node) in [
        ("stonith -t external/meatware hostlist='Node1 node2' -T reset node1", "Node1"),
        ("stonith -t external/meatware hostlist='Node1 node2' -T off node2", "node2"),
        (legacy, "node2"),
    ] {
        let begun = Instant::now();
        let caller = agent::started(world.command(&["sh", "-c", line]), "");
        while world.pending().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{line}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(world.ack(&["node"], "absolutely\n").code, Some(4));
        let ack = world.ack(&[node], "absolutely\n");
        assert_eq!(ack.code, Some(0), "{line} {ack:?}");
        let run = agent::ended(caller, begun);
        assert_eq!(run.code, Some(0), "{line} {run:?}");
    }
    let run = world.run(&["sh", "-c", "stonith -t external/meatware hostlist='node1' -T off node"], "");
    assert_ne!(run.code, Some(0), "{run:?}");
}

/// Heartbeat's own plugin, which is no program of ours: whoever has our `meatclient` in the place of its own is not left alone.
#[test]
fn our_meatclient_confirms_to_heartbeats_own_plugin() {
    let world = World::new();
    world.sh(&format!("cp {PROGRAM} /run/meatclient"));
    for (typed, client, plugin) in [("y\n", Some(0), Some(0)), ("n\n", Some(3), Some(5))] {
        let begun = Instant::now();
        let caller = agent::started(
            world.command(&["stonith", "-t", "meatware", "hostlist=node1", "-T", "reset", "node1"]),
            "",
        );
        while world.sh("ls /run").lines().all(|name| name != "meatware.node1") {
            assert!(begun.elapsed() < Duration::from_secs(10), "the plugin does not wait");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(world.run(&["/run/meatclient", "-c", "node"], "y\n").code, Some(4));
        let run = world.run(&["/run/meatclient", "-c", "node1", "-w"], typed);
        assert_eq!(run.code, client, "{run:?}");
        let run = agent::ended(caller, begun);
        assert_eq!(run.code, plugin, "{run:?}");
    }
    // What a killed plugin has left, and what is no pipe.
    world.sh("mkfifo /run/meatware.node2; : >/run/meatware.node3");
    for node in ["node2", "node3", "../run/meatware.node2"] {
        assert_eq!(world.run(&["/run/meatclient", "-c", node], "y\n").code, Some(4), "{node}");
    }
}
