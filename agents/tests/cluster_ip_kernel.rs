//! Cluster-IP mode with the real nft, iptables and kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

mod namespace;

use namespace::{fresh, sh, wire};
use ringfence_agents::net::cluster_ip::{ClusterIp, Command, Iptables};
use ringfence_agents::net::multicast_mac;
use ringfence_agents::net::netlink::Change;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

fn run(command: &Command) -> String {
    let mut child = std::process::Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    child.stdin.take().unwrap().write_all(command.stdin.clone().unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn cluster(address: &str) -> ClusterIp {
    let mangle_mac = address.contains('.').then_some([1, 0, 0x5e, 0, 0, 0x20]);
    ClusterIp { address: address.parse().unwrap(), buckets: 3, seed: 0x0012_3456, mangle_mac }
}

#[test]
fn nft_holds_exactly_the_wanted_buckets() {
    fresh(|| {
        sh("nft add table ip mine");
        for address in ["10.0.0.1", "fd00::1"] {
            let cluster = cluster(address);
            assert!(!cluster.nft_has_table(&run(&cluster.nft_list_tables())), "{address}");
            for wanted in [BTreeSet::from([2]), BTreeSet::from([1, 3]), BTreeSet::from([1, 2, 3])] {
                // twice: the second changes nothing
                for _ in 0..2 {
                    run(&cluster.nft_set(&wanted));
                    assert!(cluster.nft_has_table(&run(&cluster.nft_list_tables())), "{address}");
                    let text = run(&cluster.nft_list());
                    assert!(cluster.nft_parse(&text).is_exactly(&wanted), "{address} {wanted:?}: {text}");
                }
            }
            let text = run(&cluster.nft_list());
            for (buckets, seed) in [(1, 0), (2, u32::MAX)] {
                let edge = ClusterIp { buckets, seed, ..cluster.clone() };
                run(&edge.nft_set(&BTreeSet::from([1])));
                let text = run(&edge.nft_list());
                assert!(edge.nft_parse(&text).is_exactly(&BTreeSet::from([1])), "{text}");
            }
            let other = ClusterIp { buckets: 4, ..cluster.clone() };
            assert_eq!(other.nft_parse(&text).buckets, BTreeSet::new());
            run(&cluster.nft_set(&BTreeSet::new()));
            run(&cluster.nft_set(&BTreeSet::new()));
        }
        assert_eq!(sh("nft list tables"), "table ip mine\n");
    });
}

#[test]
fn each_source_is_answered_by_exactly_one_bucket() {
    fresh(|| {
        sh("ip addr add 10.0.0.1/32 dev lo; for n in $(seq 1 12); do ip addr add 127.0.1.$n/32 dev lo; done");
        let cluster = cluster("10.0.0.1");
        let answered = |bucket| {
            run(&cluster.nft_set(&BTreeSet::from([bucket])));
            sh("for n in $(seq 1 12); do ping -q -c1 -W1 -I 127.0.1.$n 10.0.0.1 >/dev/null 2>&1 && echo $n & done; wait")
                .lines()
                .map(|line| line.parse::<u32>().unwrap())
                .collect::<BTreeSet<_>>()
        };
        let parts = [answered(1), answered(2), answered(3)];
        assert_eq!(parts.iter().map(BTreeSet::len).sum::<usize>(), 12, "{parts:?}");
        assert_eq!(parts.iter().flatten().count(), parts.iter().flatten().collect::<BTreeSet<_>>().len());
        assert!(parts.iter().all(|part| part.len() < 12));
    });
}

#[test]
fn iptables_holds_exactly_the_wanted_buckets() {
    fresh(|| {
        for (address, program) in [("10.0.0.1", "iptables"), ("fd00::1", "ip6tables")] {
            let cluster = cluster(address);
            let back = Iptables { cluster: &cluster, nic: "eth0", table: "mangle", chain: "PREROUTING" };
            sh(&format!("{program} -t mangle -A PREROUTING -i eth7 -j DROP"));
            for wanted in [BTreeSet::from([2]), BTreeSet::from([1, 3]), BTreeSet::from([1, 3])] {
                run(&back.set(&run(&back.list()), &wanted));
                let text = run(&back.list());
                assert!(back.parse(&text).is_exactly(&wanted), "{text}");
                let rules: Vec<&str> = text.lines().filter(|line| line.contains("eth0")).collect();
                assert!(rules.last().unwrap().ends_with("DROP") && rules.len() == wanted.len() + 1, "{text}");
            }
            run(&back.set(&run(&back.list()), &BTreeSet::new()));
            let left = sh(&format!("{program} -t mangle -S PREROUTING"));
            assert_eq!(left, "-P PREROUTING ACCEPT\n-A PREROUTING -i eth7 -j DROP\n");
        }
    });
}

#[test]
fn the_interface_listens_until_told_otherwise() {
    fresh(|| {
        wire();
        let mac = [1, 0, 0x5e, 0x12, 0x34, 0x56];
        let listens = || sh("ip maddr show dev v0").contains("01:00:5e:12:34:56");
        assert_eq!(multicast_mac::remove("v0", mac), Ok(Change::AlreadySo));
        assert_eq!(multicast_mac::add("v0", mac), Ok(()));
        assert!(listens());
        // not counted: added twice and removed once it is gone
        assert_eq!(multicast_mac::add("v0", mac), Ok(()));
        assert_eq!(multicast_mac::remove("v0", mac), Ok(Change::Done));
        assert!(!listens());
        assert_eq!(multicast_mac::remove("nosuch", mac), Ok(Change::AlreadySo));
        assert_eq!(multicast_mac::add("nosuch", mac), Err(nix::errno::Errno::ENODEV));
    });
}
