//! The situations in which both agents are compared, see `upstream.rs`.

/// One situation: what is there before, the resource, and what is asked of it.
#[derive(Clone, Copy)]
pub struct Situation {
    pub name: &'static str,
    /// Shell lines, run before.
    pub given: &'static str,
    pub parameters: &'static [(&'static str, &'static str)],
    /// Actions in turn, `probe` being a monitor with interval 0; `!line` is a shell line in between.
    pub actions: &'static [&'static str],
    /// Entry of the divergences, when it is known that they differ.
    pub differs: Option<&'static str>,
}

const LIFE: &[&str] = &["probe", "start", "monitor", "start", "status", "stop", "stop", "probe", "status"];
const AROUND: &[&str] = &["probe", "start", "monitor", "stop"];
const REFUSED: &[&str] = &["start", "stop", "probe"];
const NONE: &str = "true";

const fn same(
    name: &'static str,
    given: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    actions: &'static [&'static str],
) -> Situation {
    Situation { name, given, parameters, actions, differs: None }
}

const fn differs(id: &'static str, situation: Situation) -> Situation {
    Situation { differs: Some(id), ..situation }
}

pub const SITUATIONS: &[Situation] = &[
    same("ipv4", NONE, &[("ip", "10.0.0.50")], LIFE),
    same("ipv6", NONE, &[("ip", "fd00::50"), ("nodad", "true")], LIFE),
    same("ipv6 in another spelling", NONE, &[("ip", "FD00:0::50"), ("nodad", "true")], AROUND),
    same("nic", NONE, &[("ip", "10.0.0.50"), ("nic", "v0")], LIFE),
    same(
        "nic and prefix without a route",
        NONE,
        &[("ip", "10.5.0.50"), ("nic", "v0"), ("cidr_netmask", "24")],
        LIFE,
    ),
    same("prefix alone", NONE, &[("ip", "10.0.0.50"), ("cidr_netmask", "32")], LIFE),
    same(
        "longer prefix of ipv6",
        NONE,
        &[("ip", "fd00::50"), ("nic", "v0"), ("cidr_netmask", "128"), ("nodad", "1")],
        LIFE,
    ),
    same(
        "dotted mask",
        NONE,
        &[("ip", "10.0.0.50"), ("nic", "v0"), ("cidr_netmask", "255.255.255.0")],
        AROUND,
    ),
    same("netmask alias", NONE, &[("ip", "10.0.0.50"), ("nic", "v0"), ("netmask", "28")], AROUND),
    same("broadcast", NONE, &[("ip", "10.0.0.50"), ("broadcast", "10.0.0.127")], AROUND),
    same("broadcast plus", NONE, &[("ip", "10.0.0.50"), ("broadcast", "+")], AROUND),
    same("broadcast minus", NONE, &[("ip", "10.0.0.50"), ("broadcast", "-")], AROUND),
    same("label", NONE, &[("ip", "10.0.0.50"), ("iflabel", "ha")], LIFE),
    same("label behind nic", NONE, &[("ip", "10.0.0.50"), ("nic", "v0:ha")], LIFE),
    same(
        "label too long",
        NONE,
        &[("ip", "10.0.0.50"), ("nic", "v0"), ("iflabel", "thirteenchars")],
        &["start"],
    ),
    same(
        "no prefix route",
        NONE,
        &[("ip", "10.5.0.50"), ("nic", "v0"), ("cidr_netmask", "24"), ("noprefixroute", "1")],
        AROUND,
    ),
    same("deprecated", NONE, &[("ip", "fd00::50"), ("nodad", "1"), ("preferred_lft", "0")], AROUND),
    same(
        "link down while running",
        NONE,
        &[("ip", "10.0.0.50"), ("check_link_status", "1")],
        &["start", "!ip -n peer link set v1 down; sleep 0.1", "stop", "probe"],
    ),
    same(
        "link not checked",
        "ip -n peer link set v1 down; sleep 0.1",
        &[("ip", "10.0.0.50"), ("check_link_status", "0")],
        AROUND,
    ),
    same(
        "removed by hand",
        NONE,
        &[("ip", "10.0.0.50")],
        &["start", "!ip addr del 10.0.0.50/24 dev v0", "monitor", "stop", "start", "stop"],
    ),
    same(
        "already there",
        "ip addr add 10.0.0.50/24 brd + dev v0",
        &[("ip", "10.0.0.50")],
        &["probe", "monitor", "start", "stop"],
    ),
    same(
        "another prefix is there",
        "ip addr add 10.0.0.50/32 dev v0",
        &[("ip", "10.0.0.50"), ("nic", "v0"), ("cidr_netmask", "24")],
        AROUND,
    ),
    same("a similar address is there", "ip addr add 10.0.0.150/24 dev v0", &[("ip", "10.0.0.15")], AROUND),
    same("the interface is gone", NONE, &[("ip", "10.0.0.50"), ("nic", "gone0")], &["probe", "stop"]),
    same(
        "duplicate",
        "ip -n peer addr add 10.0.0.50/24 dev v1",
        &[("ip", "10.0.0.50"), ("run_arping", "1")],
        &["start", "stop"],
    ),
    same(
        "duplicate of ipv6",
        "ip -n peer addr add fd00::50/64 nodad dev v1",
        &[("ip", "fd00::50")],
        &["start", "stop", "probe"],
    ),
    same(
        "lvs",
        "ip addr add 10.0.0.50/32 brd 255.255.255.255 dev lo",
        &[("ip", "10.0.0.50"), ("nic", "v0"), ("lvs_support", "1")],
        AROUND,
    ),
    same("lvs and ipv6", NONE, &[("ip", "fd00::50"), ("lvs_support", "1")], &["start"]),
    same(
        "longest prefix",
        "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up && ip addr add 10.0.0.49/28 dev d0",
        &[("ip", "10.0.0.50")],
        LIFE,
    ),
    same(
        "two equal routes",
        "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up && ip addr add 10.6.0.1/24 dev d0 && ip addr add 10.6.0.2/24 dev v0",
        &[("ip", "10.6.0.50")],
        AROUND,
    ),
    same("bad arp_interval on start", NONE, &[("ip", "10.0.0.50"), ("arp_interval", "0")], &["start"]),
    same("bad arp_count on start", NONE, &[("ip", "10.0.0.50"), ("arp_count", "0")], &["start"]),
    same("bad lifetime on start", NONE, &[("ip", "fd00::50"), ("preferred_lft", "")], &["start"]),
    same("bad mask on start", NONE, &[("ip", "10.0.0.50"), ("cidr_netmask", "33")], &["start"]),
    same("bad address on start", NONE, &[("ip", "10.0.0.500")], &["start"]),
    same("link-local without nic on start", NONE, &[("ip", "fe80::50")], &["start"]),
    same("unknown action", NONE, &[("ip", "10.0.0.50")], &["dance"]),
    same(
        "unique clone",
        NONE,
        &[
            ("ip", "10.0.0.50"),
            ("unique_clone_address", "1"),
            ("CRM_meta_clone", "2"),
            ("CRM_meta_clone_max", "3"),
            ("CRM_meta_globally_unique", "true"),
        ],
        LIFE,
    ),
    same(
        "unique clone that is not",
        NONE,
        &[
            ("ip", "10.0.0.50"),
            ("unique_clone_address", "1"),
            ("CRM_meta_clone", "0"),
            ("CRM_meta_clone_max", "3"),
        ],
        &["start"],
    ),
    same("validate-all", NONE, &[("ip", "10.0.0.50")], &["validate-all"]),
    // ---- intended differences
    differs(
        "missing-label-repaired",
        same(
            "label missing",
            "ip addr add 10.0.0.50/24 brd + dev v0",
            &[("ip", "10.0.0.50"), ("iflabel", "ha")],
            &["monitor", "start", "monitor", "stop"],
        ),
    ),
    differs(
        "no-failure-over-parameters",
        same("bad sender", NONE, &[("ip", "10.0.0.50"), ("arp_sender", "pigeon")], REFUSED),
    ),
    differs(
        "no-failure-over-parameters",
        same("bad count", NONE, &[("ip", "10.0.0.50"), ("arp_count", "x")], REFUSED),
    ),
    differs(
        "no-failure-over-parameters",
        same(
            "lvs and clones",
            NONE,
            &[
                ("ip", "10.0.0.50"),
                ("lvs_support", "1"),
                ("CRM_meta_clone", "0"),
                ("CRM_meta_clone_max", "2"),
            ],
            REFUSED,
        ),
    ),
    differs(
        "missing-namespace",
        same("no such namespace", NONE, &[("ip", "10.0.0.50"), ("network_namespace", "none")], REFUSED),
    ),
    differs(
        "address-without-nic",
        same(
            "the route went elsewhere",
            "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up",
            &[("ip", "10.0.0.50")],
            &["start", "!ip route add 10.0.0.48/28 dev d0", "monitor", "stop", "probe"],
        ),
    ),
    differs(
        "address-without-nic",
        same(
            "another prefix, none given",
            "ip addr add 10.0.0.50/32 dev v0",
            &[("ip", "10.0.0.50")],
            &["probe", "start", "stop"],
        ),
    ),
    differs(
        "loopback-clone-is-no-cluster-ip",
        same(
            "clone on lo",
            NONE,
            &[
                ("ip", "10.9.9.9"),
                ("nic", "lo"),
                ("cidr_netmask", "32"),
                ("CRM_meta_clone", "0"),
                ("CRM_meta_clone_max", "2"),
            ],
            AROUND,
        ),
    ),
    differs(
        "not-installed-here",
        same("no route", NONE, &[("ip", "203.0.113.7")], &["start", "validate-all"]),
    ),
    differs(
        "not-installed-here",
        same("no interface", NONE, &[("ip", "10.0.0.50"), ("nic", "gone0")], &["start", "validate-all"]),
    ),
    differs(
        "link-status-default",
        same(
            "link lost",
            NONE,
            &[("ip", "10.0.0.50")],
            &["start", "!ip -n peer link set v1 down; sleep 0.1", "monitor", "stop"],
        ),
    ),
    differs(
        "failed-start-taken-back",
        same(
            "start below a dead link",
            "ip -n peer link set v1 down; sleep 0.1",
            &[("ip", "10.0.0.50"), ("check_link_status", "1")],
            &["start"],
        ),
    ),
    differs(
        "lowest-metric",
        same(
            "lowest metric",
            "ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up && ip addr add 10.6.0.1/24 metric 50 dev d0 && ip addr add 10.6.0.2/24 metric 40 dev v0",
            &[("ip", "10.6.0.50")],
            AROUND,
        ),
    ),
    differs(
        "lvs-copy-as-it-was",
        same(
            "lvs without broadcast",
            "ip addr add 10.0.0.50/32 dev lo",
            &[("ip", "10.0.0.50"), ("nic", "v0"), ("lvs_support", "1")],
            AROUND,
        ),
    ),
    differs(
        "secondaries-kept",
        same(
            "secondaries",
            "sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.v0.promote_secondaries=0",
            &[("ip", "10.7.0.50"), ("nic", "v0"), ("cidr_netmask", "24")],
            &["start", "!ip addr add 10.7.0.51/24 dev v0", "stop"],
        ),
    ),
    differs(
        "other-prefix-of-ipv6",
        same(
            "ipv6 with another prefix",
            "ip addr add fd00::50/128 nodad dev v0",
            &[("ip", "fd00::50"), ("nic", "v0"), ("cidr_netmask", "64"), ("nodad", "1")],
            &["probe", "start", "monitor", "stop"],
        ),
    ),
    differs(
        "no-such-host",
        same("multicast", NONE, &[("ip", "239.1.1.1"), ("nic", "v0"), ("cidr_netmask", "24")], &["start"]),
    ),
    differs("reload-agent", same("reload-agent", NONE, &[("ip", "10.0.0.50")], &["reload-agent"])),
];
