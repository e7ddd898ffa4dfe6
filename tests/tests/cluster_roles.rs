//! Our example agents in a real cluster: a promotable clone with its scores, a reload without restart, a migration.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::cluster::{Agents, Cluster, NodeProgram, needs};
use ringfence_tests::subjects::subjects;
use std::path::Path;
use std::time::Duration;

const RESOURCES: &str = r#"
<clone id="roles"><meta_attributes id="roles-m">
  <nvpair id="roles-p" name="promotable" value="true"/><nvpair id="roles-i" name="interleave" value="true"/>
</meta_attributes>
<primitive id="st" class="ocf" provider="ringfence" type="Stateful"><operations>
  <op id="st-u" name="monitor" interval="5s" timeout="20s" role="Slave"/>
  <op id="st-p" name="monitor" interval="4s" timeout="20s" role="Master"/>
</operations></primitive></clone>
<primitive id="dummy" class="ocf" provider="ringfence" type="Dummy">
  <meta_attributes id="dummy-m"><nvpair id="dummy-am" name="allow-migrate" value="true"/></meta_attributes>
  <operations><op id="dummy-mon" name="monitor" interval="5s" timeout="20s"/></operations>
</primitive>"#;

const LIMIT: Duration = Duration::from_secs(30);

fn said(cluster: &Cluster, node: u8, argv: &[&str]) -> String {
    let output = cluster.exec(node, argv).unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The transient promotion score of a node, as the attribute daemon holds it.
fn score(cluster: &Cluster, node: &str) -> Option<i32> {
    let words = said(cluster, 1, &["attrd_updater", "-Q", "-n", "master-st", "-N", node]);
    words.rsplit_once("value=\"")?.1.split('"').next()?.parse().ok()
}

/// Waits until `wanted` holds of the scores of the three nodes: the daemon passes them on in its own time.
fn scores(cluster: &Cluster, wanted: impl Fn(&[Option<i32>; 3]) -> bool) {
    let mut seen = [None; 3];
    for _ in 0..150 {
        seen = ["n1", "n2", "n3"].map(|node| score(cluster, node));
        if wanted(&seen) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(wanted(&seen), "scores of n1, n2, n3: {seen:?}");
}

/// How often `action` of `resource` was carried out, by all nodes' logs.
fn count(cluster: &Cluster, action: &str, resource: &str) -> usize {
    let result = format!("Result of {action} operation for {resource} on");
    let logs = (1..=3).map(|node| cluster.log(node, "pacemaker/pacemaker.log"));
    logs.map(|log| log.lines().filter(|line| line.contains(&result) && line.contains("ok")).count()).sum()
}

#[test]
fn roles_reload_and_migration_with_our_agents() {
    let tree = subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap().tree;
    let agents = Agents::Ours { dir: tree };
    if !needs::met_or_blocked("roles_reload_and_migration_with_our_agents", &needs::missing(&agents)) {
        return;
    }
    let helper = NodeProgram::new(env!("CARGO_BIN_EXE_rf-node"));
    let cluster = Cluster::builder(helper).nodes(3).agents(agents).resources(RESOURCES).up().unwrap();
    cluster.wait_until_started(Duration::from_secs(40)).unwrap();

    let promoted = |role: &str| role == "Promoted" || role == "Master";
    let status = cluster
        .wait_for("one of three promoted", LIMIT, |status| {
            status.running_on("st").len() == 3
                && status.resources.iter().filter(|r| r.id == "st" && promoted(&r.role)).count() == 1
                && status.is_started("dummy")
        })
        .unwrap();
    let first = status.resources.iter().find(|r| r.id == "st" && promoted(&r.role)).unwrap().on.concat();
    scores(&cluster, |all| all.iter().flatten().sum::<i32>() == 20 && all.contains(&Some(10)));

    // The promoted node stands by: another one takes over, and nothing is left here that could be promoted.
    assert_eq!(said(&cluster, 1, &["crm_standby", "-N", &first, "-v", "on"]), "");
    cluster
        .wait_for("another one promoted", LIMIT, |status| {
            status.running_on("st").len() == 2
                && status
                    .resources
                    .iter()
                    .any(|r| r.id == "st" && promoted(&r.role) && r.on.concat() != first)
        })
        .unwrap();
    let at = first.trim_start_matches('n').parse::<usize>().unwrap() - 1;
    scores(&cluster, |all| all.get(at) == Some(&None) && all.iter().flatten().sum::<i32>() == 15);
    assert_eq!(said(&cluster, 1, &["crm_standby", "-N", &first, "-D"]).lines().count(), 1);
    cluster.wait_for("three again", LIMIT, |status| status.running_on("st").len() == 3).unwrap();

    // A reloadable parameter: reloaded, not restarted.
    let (starts, reloads) = (count(&cluster, "start", "dummy"), count(&cluster, "reload-agent", "dummy"));
    said(&cluster, 1, &["crm_resource", "-r", "dummy", "-p", "fake", "-v", "other"]);
    cluster.wait_for("the reload", LIMIT, |_| count(&cluster, "reload-agent", "dummy") > reloads).unwrap();
    assert_eq!(count(&cluster, "start", "dummy"), starts, "a reloadable parameter restarted the resource");

    // A migration: over there without a stop and start.
    let status = cluster.status(1).unwrap();
    let from = status.running_on("dummy").concat();
    let to = ["n1", "n2", "n3"].into_iter().find(|node| *node != from).unwrap();
    let moves = || (count(&cluster, "migrate_to", "dummy"), count(&cluster, "migrate_from", "dummy"));
    let before = moves();
    said(&cluster, 1, &["crm_resource", "-r", "dummy", "--move", "-N", to]);
    cluster
        .wait_for("the move", LIMIT, |status| {
            status.running_on("dummy") == [to] && status.is_started("dummy")
        })
        .unwrap();
    assert_eq!(moves(), (before.0 + 1, before.1 + 1));
    assert_eq!(count(&cluster, "start", "dummy"), starts, "moved by stop and start");

    let failed: Vec<_> = cluster.status(1).unwrap().resources.into_iter().filter(|r| r.failed).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
