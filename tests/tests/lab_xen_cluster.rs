//! A Pacemaker cluster of two Xen hosts: a guest that moves while it runs, the loss of the host that has it, and a move that fails.
//!
//! The power of each host is behind a controller that our own agent talks to. An observer that asks neither `xl` nor an agent nor
//! the cluster sees every moment of it: there is never a second running copy, and in the end there is exactly one.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::bmc::{PASSWORD, USER, port, with_bmcs};
use ringfence_tests::lab::xen::{Domain, Seen, Watch};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Running};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// For what a cluster of emulated hosts does beside other labs.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

fn guest() -> Domain {
    Domain::named("vm")
}

/// Where guests are sent: a network beside that of the nodes' names.
fn migration_address(node: &Guest) -> String {
    node.address().replace("10.55.0.", "10.66.0.")
}

/// What the administrator has enabled at boot.
fn boot(node: &Guest) -> String {
    format!(
        "#!/bin/sh\nmkdir -p /run/resource-agents\nip address replace {}/24 dev eth0\n",
        migration_address(node)
    )
}

fn attributes(kind: &str, id: &str, list: &[(&str, &str)]) -> String {
    let mut text = format!("<{kind}_attributes id='{id}-{kind}'>");
    for (name, value) in list {
        let _ = write!(text, "<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
    }
    text + &format!("</{kind}_attributes>")
}

/// The device that cuts a node's power. It runs on the other one.
fn fence(node: &Guest) -> String {
    let id = format!("fence-{}", node.name());
    let port = port(node).to_string();
    let list = [
        ("ip", "10.55.0.1"),
        ("ipport", port.as_str()),
        ("username", USER),
        ("password", PASSWORD),
        ("lanplus", "1"),
        ("cipher", "3"),
        ("pcmk_host_list", node.name()),
        ("pcmk_host_check", "static-list"),
    ];
    format!(
        "<primitive id='{id}' class='stonith' type='fence_ipmilan'>{}</primitive>",
        attributes("instance", &id, &list)
    )
}

/// The guest with the times that the agent's metadata advises.
fn resource() -> String {
    let path = guest().path();
    let parameters = [("xmfile", path.as_str()), ("node_ip_attribute", "mig")];
    let mut operations = String::new();
    for (name, interval, timeout) in [
        ("start", "0", "60s"),
        ("stop", "0", "40s"),
        ("migrate_to", "0", "120s"),
        ("migrate_from", "0", "120s"),
        ("monitor", "10s", "30s"),
    ] {
        let _ = write!(
            operations,
            "<op id='vm-{name}' name='{name}' interval='{interval}' timeout='{timeout}'/>"
        );
    }
    format!(
        "<primitive id='vm' class='ocf' provider='ringfence' type='Xen'>{}{}<operations>{operations}</operations></primitive>",
        attributes("meta", "vm-m", &[("allow-migrate", "true")]),
        attributes("instance", "vm-i", &parameters)
    )
}

/// One change of the configuration: each program costs an emulated host a third of a second.
fn configuration(nodes: [&Guest; 2]) -> String {
    let (mut own, mut away) = (String::new(), String::new());
    for (node, id) in nodes.into_iter().zip(1..) {
        let name = node.name();
        let address = migration_address(node);
        let of_node = attributes("instance", &format!("nodes-{id}"), &[("mig", &address)]);
        let _ = write!(own, "<node id='{id}' uname='{name}'>{of_node}</node>");
        let _ = write!(
            away,
            "<rsc_location id='away-{name}' rsc='fence-{name}' node='{name}' score='-INFINITY'/>"
        );
    }
    format!(
        "cibadmin -M -c -o configuration -X \"<configuration><crm_config><cluster_property_set id='o'>\
         <nvpair id='o-s' name='stonith-enabled' value='true'/><nvpair id='o-t' name='stonith-timeout' value='120s'/>\
         </cluster_property_set></crm_config><nodes>{own}</nodes><resources>{}{}{}</resources>\
         <constraints>{away}<rsc_location id='first' rsc='vm' node='{}' score='10'/></constraints>\
         <rsc_defaults>{}</rsc_defaults><op_defaults>{}</op_defaults></configuration>\"",
        fence(nodes[0]),
        fence(nodes[1]),
        resource(),
        nodes[0].name(),
        attributes("meta", "r", &[("resource-stickiness", "100")]),
        attributes("meta", "d", &[("timeout", "60s")]),
    )
}

/// Waits for the `count`th line of a node's log with these words. Who asks the cluster again and again takes the time of what it is
/// asked about.
fn told<'a>(node: &'a Guest, count: u8, words: &str) -> Running<'a> {
    let script =
        format!("tail -n +1 -F /var/log/pacemaker/pacemaker.log 2>/dev/null | grep -a -m{count} '{words}'");
    node.start_within(PATIENCE, &script).unwrap()
}

/// The last step of every way to start it: the node's `count`th first monitor.
fn monitored(node: &Guest, count: u8) -> Running<'_> {
    told(node, count, &format!("Result of monitor operation for vm on {}: ok", node.name()))
}

fn heard(running: Running<'_>) {
    running.wait().unwrap().ok().unwrap();
}

/// What an administrator says to the cluster.
fn order(here: &Guest, to: &Guest) {
    here.run(&format!("crm_resource -Q -r vm --move -N {}", to.name())).unwrap().ok().unwrap();
}

fn live_on(node: &Guest) -> impl Fn(&Seen) -> bool {
    let there = [(node.name().to_owned(), "live".to_owned())];
    move |seen| seen.there(&guest()) == there
}

fn on(node: &Guest) -> impl Fn(&Seen) -> bool {
    let name = node.name().to_owned();
    move |seen| seen.there(&guest()).iter().any(|(host, _)| *host == name)
}

/// A live migration that the cluster makes, over the network that the attribute names; `count` as in [`monitored`].
fn migrates(from: &Guest, to: &Guest, count: u8, watch: &Watch<'_>) {
    let settled = monitored(to, count);
    let began = Instant::now();
    order(from, to);
    watch.until("a guest that arrives", PATIENCE, on(to)).unwrap();
    // The kernel of the receiver: a connection to port 22 of that address.
    let connections = to.read("/proc/net/tcp").unwrap();
    let digits = migration_address(to)
        .split('.')
        .rev()
        .fold(String::new(), |text, byte| text + &format!("{:02X}", byte.parse::<u8>().unwrap()));
    assert!(connections.contains(&format!("{digits}:0016")), "{connections}");
    watch.until("the guest at the other host", PATIENCE, live_on(to)).unwrap();
    println!("figure: {} to {}: there {:.1} s after the order", from.name(), to.name(), secs(began));
    heard(settled);
    println!("figure: {} to {}: settled after {:.1} s", from.name(), to.name(), secs(began));
    watch.hears(&guest()).unwrap();
    assert!(live_on(to)(&watch.so_far()));
}

fn secs(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}

/// Two nodes, a controller for each, and the guest, which runs on the first.
fn cluster(test: &str, vm: &Domain, during: impl for<'a> FnOnce(&Lab, [&'a Guest; 2], Watch<'a>)) {
    let lab = Lab::open(&Needs::of(test).agents().cluster().xen()).unwrap();
    let nodes = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    for node in &nodes {
        vm.put(node).unwrap();
        node.put_mode("/etc/lab/boot", &boot(node), 0o755).unwrap();
        node.run("/etc/lab/boot").unwrap().ok().unwrap();
    }
    let [a, b] = [&nodes[0], &nodes[1]];
    with_bmcs(&lab, &[a, b], || {
        let watch = Watch::over(&[a, b]).unwrap();
        a.run(&configuration([a, b])).unwrap().ok().unwrap();
        heard(monitored(a, 1));
        watch.hears(&guest()).unwrap();
        assert!(live_on(a)(&watch.so_far()), "{:?}", watch.so_far().there(&guest()));
        during(&lab, [a, b], watch);
    })
    .unwrap();
}

/// The host `lost` was cut off at `since`: it lives, and so may the guest on it. The other one fences it and starts the guest, and
/// the one that was fenced joins again without a copy of its own.
/// `count` as in [`monitored`].
fn recovered<'a>(
    lab: &Lab,
    [lost, survivor]: [&'a Guest; 2],
    count: u8,
    since: Instant,
    watch: &mut Watch<'a>,
) {
    until("the fencing", || !lost.is_on());
    println!("figure: {} was fenced {:.1} s after its loss", lost.name(), secs(since));
    let beats = |seen: &Seen| {
        let heard_on = seen.lives(&guest()).last().and_then(|life| life.hosts.last().cloned());
        heard_on.as_deref() == Some(survivor.name())
    };
    watch.until("a heartbeat on the survivor", PATIENCE, beats).unwrap();
    println!("figure: first heartbeat on {} {:.1} s after the loss", survivor.name(), secs(since));
    until("the power of the lost host", || lost.is_on() && !lost.is_coming());
    watch.again(lost).unwrap();

    heard(monitored(survivor, count));
    // The cluster itself has looked at the one that came back.
    heard(told(lost, 1, &format!("Result of probe operation for vm on {}: not running", lost.name())));
    println!("figure: {} is a member again {:.1} s after its loss", lost.name(), secs(since));
    watch.hears(&guest()).unwrap();
    assert!(live_on(survivor)(&watch.so_far()), "{:?}", watch.so_far().there(&guest()));

    let number = lost.name().trim_start_matches('n');
    let chassis = std::fs::read_to_string(lab.folder().join(format!("bmc{number}/log"))).unwrap();
    assert!(chassis.contains("set power 0"), "nobody has fenced {}: {chassis}", lost.name());
    let ask = format!("stonith_admin --history {}; crm_mon -1r", lost.name());
    let said = survivor.run(&ask).unwrap().ok().unwrap().stdout;
    assert!(said.contains("reboot of") && !said.contains("failed:"), "{said}");
    assert!(said.contains("Online: [ n1 n2 ]"), "{said}");
}

fn ended(watch: Watch<'_>, on: &Guest) -> Seen {
    let seen = watch.end().unwrap();
    seen.never_two(&guest()).unwrap();
    assert!(live_on(on)(&seen), "{:?}", seen.there(&guest()));
    println!("figure: {} looks, never two", seen.looks());
    seen
}

#[test]
fn a_xen_guest_of_a_cluster_moves_live_and_survives_the_loss_of_its_host() {
    let test = "a_xen_guest_of_a_cluster_moves_live_and_survives_the_loss_of_its_host";
    cluster(test, &guest(), |lab, [a, b], mut watch| {
        migrates(a, b, 1, &watch);
        migrates(b, a, 2, &watch);
        // The order alone would bring it back to a host that was fenced.
        a.run("crm_resource -Q -r vm --clear").unwrap().ok().unwrap();
        let log =
            a.run("grep -a 'Result of .* operation for vm' /var/log/pacemaker/pacemaker.log").unwrap().stdout;
        for operation in ["migrate_to", "migrate_from"] {
            assert!(log.contains(&format!("Result of {operation} operation for vm on n1: ok")), "{log}");
        }
        let lives = watch.so_far().lives(&guest());
        assert_eq!(lives.len(), 1, "it never died: {lives:?}");
        assert_eq!(lives[0].hosts, ["n1", "n2", "n1"]);
        println!("figure: longest pause {:.2} s", lives[0].longest_pause.as_secs_f64());

        let since = Instant::now();
        a.link(false).unwrap();
        watch.hears(&guest()).unwrap();
        assert_eq!(watch.so_far().now_on(&guest()), ["n1"], "it lives on a host that nobody hears");
        recovered(lab, [a, b], 2, since, &mut watch);

        let lives = ended(watch, b).lives(&guest());
        assert_eq!(lives.len(), 2, "{lives:?}");
        assert_eq!(lives[1].hosts, ["n2"]);
    });
}

#[test]
fn a_xen_migration_that_fails_in_a_cluster_is_recovered_by_it() {
    let test = "a_xen_migration_that_fails_in_a_cluster_is_recovered_by_it";
    // What is written all the time takes longer to send.
    cluster(test, &guest().word("load=1"), |lab, [a, b], mut watch| {
        // The receiver dies in the middle: neither host is lost.
        let since = Instant::now();
        order(a, b);
        watch.until("a guest that arrives", PATIENCE, on(b)).unwrap();
        b.run("pkill -KILL -f '[m]igrate-receive'").unwrap().ok().unwrap();
        watch.until("the guest where it was to go", PATIENCE, live_on(b)).unwrap();
        println!("figure: recovered {:.1} s after the order", secs(since));
        heard(monitored(b, 1));
        watch.hears(&guest()).unwrap();
        assert!(live_on(b)(&watch.so_far()));
        let log = a
            .run("grep -a 'Result of migrate_to operation for vm' /var/log/pacemaker/pacemaker.log")
            .unwrap();
        let said = log.text();
        assert!(said.contains("on n1: error (not migrated, guest vm runs on here: "), "{said}");
        assert!(
            said.contains("migration transport process") || said.contains("ssh: connection to"),
            "{said}"
        );
        let lives = watch.so_far().lives(&guest());
        assert_eq!(lives.len(), 2, "stopped and started: {lives:?}");
        assert_eq!((lives[0].hosts.join(" "), lives[1].hosts.join(" ")), ("n1".to_owned(), "n2".to_owned()));

        // The sender is cut off in the middle: it has the guest, and the one that fences it has half of it.
        order(b, a);
        watch.until("a guest that arrives", PATIENCE, on(a)).unwrap();
        let since = Instant::now();
        b.link(false).unwrap();
        watch.hears(&guest()).unwrap();
        let there =
            [("n1", "paused"), ("n2", "live")].map(|(host, state)| (host.to_owned(), state.to_owned()));
        assert_eq!(watch.so_far().there(&guest()), there);
        recovered(lab, [b, a], 2, since, &mut watch);

        let lives = ended(watch, a).lives(&guest());
        assert_eq!(lives.len(), 3, "{lives:?}");
        assert_eq!(lives[2].hosts, ["n1"]);
    });
}
