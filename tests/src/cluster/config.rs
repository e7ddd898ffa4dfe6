//! The text files of a cluster: corosync.conf, the first CIB, the simulated BMCs.

use super::address_plan::{
    BMC_USER, SERVICE_ADDRESS, SERVICE_RESOURCE, bmc_address, bmc_password, node_address, node_name,
};
use super::spec::Spec;
use std::fmt::Write as _;

/// corosync.conf(5): knet, no crypto, a token of one second.
pub(crate) fn corosync(nodes: u8) -> String {
    let mut text = String::from(
        "totem {\n  version: 2\n  cluster_name: ringfence\n  transport: knet\n  crypto_cipher: none\n  crypto_hash: none\n  token: 1000\n}\nnodelist {\n",
    );
    for node in 1..=nodes {
        let _ = write!(
            text,
            "  node {{\n    ring0_addr: {}\n    name: {}\n    nodeid: {node}\n  }}\n",
            node_address(node),
            node_name(node)
        );
    }
    let two_node = if nodes == 2 { "  two_node: 1\n" } else { "" };
    let _ = write!(
        text,
        "}}\nquorum {{\n  provider: corosync_votequorum\n{two_node}}}\nlogging {{\n  to_stderr: no\n  to_logfile: yes\n  logfile: /var/log/corosync/corosync.log\n  to_syslog: no\n  timestamp: hires\n}}\n"
    );
    text
}

/// /etc/hosts of every node.
pub(crate) fn hosts(nodes: u8) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for node in 1..=nodes {
        let _ = writeln!(text, "{} {}", node_address(node), node_name(node));
    }
    text
}

/// The CIB that every node finds at its first boot.
///
/// Seeded rather than loaded later: the resources are there at once, and `dc-deadtime` takes effect for the very first
/// election, which otherwise waits its default 20 s. `crm_feature_set` must not be newer than the oldest Pacemaker.
pub(crate) fn cib(spec: &Spec) -> String {
    let mut nodes = String::new();
    let mut fencing = String::new();
    let mut constraints = String::new();
    for node in 1..=spec.nodes {
        let name = node_name(node);
        let _ = writeln!(nodes, r#"<node id="{node}" uname="{name}"/>"#);
        let _ = writeln!(
            constraints,
            r#"<rsc_location id="l-f{node}" rsc="fence-{name}" node="{name}" score="-INFINITY"/>"#
        );
        fencing.push_str(&fence_device(node, spec.nodes));
    }
    let provider = spec.agents.provider();
    let Spec { extra_resources, extra_constraints, .. } = spec;
    format!(
        r#"<cib crm_feature_set="3.10.0" validate-with="pacemaker-3.8" epoch="10" num_updates="0" admin_epoch="0">
<configuration>
<crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o-stonith" name="stonith-enabled" value="true"/>
<nvpair id="o-dc" name="dc-deadtime" value="2s"/>
<nvpair id="o-batch" name="batch-limit" value="8"/>
<nvpair id="o-action" name="stonith-action" value="off"/>
</cluster_property_set></crm_config>
<nodes>
{nodes}</nodes>
<resources>
<primitive id="{SERVICE_RESOURCE}" class="ocf" provider="{provider}" type="IPaddr2">
<instance_attributes id="vip-ia">
<nvpair id="vip-ip" name="ip" value="{SERVICE_ADDRESS}"/>
<nvpair id="vip-mask" name="cidr_netmask" value="24"/>
<nvpair id="vip-nic" name="nic" value="eth0"/>
</instance_attributes>
<operations><op id="vip-mon" name="monitor" interval="5s" timeout="20s"/></operations>
</primitive>
{fencing}{extra_resources}</resources>
<constraints>
{constraints}<rsc_location id="l-vip" rsc="{SERVICE_RESOURCE}" node="n1" score="50"/>
{extra_constraints}</constraints>
<rsc_defaults><meta_attributes id="rsc-opt"><nvpair id="rsc-stick" name="resource-stickiness" value="100"/></meta_attributes></rsc_defaults>
</configuration>
<status/>
</cib>
"#
    )
}

/// One node's fence device. `cipher=3` for every implementation: without it ipmitool asks the simulator for its suites,
/// gets no answer and loses ten seconds, which would be no fair comparison.
fn fence_device(node: u8, nodes: u8) -> String {
    let name = node_name(node);
    let mut parameters = vec![
        ("ip", bmc_address(node).to_string()),
        ("username", BMC_USER.to_owned()),
        ("password", bmc_password(node)),
        ("lanplus", "1".to_owned()),
        ("cipher", "3".to_owned()),
        ("pcmk_host_list", name.clone()),
        ("pcmk_host_check", "static-list".to_owned()),
    ];
    if nodes == 2 && node == 2 {
        // Two halves that lost each other shoot at once and either may win. The preferred holder of the address is to lose
        // here, so that a cut link always shows a failover; a production cluster would hold the other one back.
        parameters.push(("pcmk_delay_base", "5s".to_owned()));
    }
    let mut text = format!(
        "<primitive id=\"fence-{name}\" class=\"stonith\" type=\"fence_ipmilan\"><instance_attributes id=\"f{node}-ia\">\n"
    );
    for (key, value) in parameters {
        let _ = writeln!(text, r#"<nvpair id="f{node}-{key}" name="{key}" value="{value}"/>"#);
    }
    let _ = writeln!(
        text,
        r#"</instance_attributes><operations><op id="f{node}-mon" name="monitor" interval="60s" timeout="20s"/></operations></primitive>"#
    );
    text
}

/// `ipmi_lan(5)` for one node's BMC. `hook` is what the simulator runs to read and set the chassis power.
pub(crate) fn bmc_lan(node: u8, hook: &str) -> String {
    let mut text = format!(
        "name \"bmc{node}\"\nset_working_mc 0x20\n  startlan 1\n    addr {} 623\n    priv_limit admin\n",
        bmc_address(node)
    );
    for level in ["callback", "user", "operator", "admin"] {
        let _ = writeln!(text, "    allowed_auths_{level} none md2 md5 straight");
    }
    let password = bmc_password(node);
    let _ = write!(
        text,
        "    guid a123456789abcdefa123456789abcde{node}\n  endlan\n  chassis_control \"{hook}\"\n  startnow false\n  user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  user 2 true \"{BMC_USER}\" \"{password}\" admin 10 none md2 md5 straight\n"
    );
    text
}

/// `ipmi_sim_cmd(5)`: one management controller with an event log, no sensors.
pub(crate) const BMC_COMMANDS: &str = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";

#[cfg(test)]
mod tests {
    use super::super::spec::Agents;
    use super::*;

    fn spec(nodes: u8) -> Spec {
        Spec {
            nodes,
            agents: Agents::Upstream,
            extra_resources: String::new(),
            extra_constraints: String::new(),
            dir: "/nowhere".into(),
            helper_args: Vec::new(),
        }
    }

    #[test]
    fn two_nodes_have_the_two_node_rule_and_three_do_not() {
        assert!(corosync(2).contains("two_node: 1"));
        assert!(!corosync(3).contains("two_node"));
        assert_eq!(corosync(3).matches("ring0_addr").count(), 3);
    }

    #[test]
    fn every_node_has_a_fence_device_that_does_not_run_on_it() {
        let cib = cib(&spec(3));
        for node in 1..=3 {
            assert!(cib.contains(&format!(r#"<primitive id="fence-n{node}""#)));
            assert!(cib.contains(&format!(r#"rsc="fence-n{node}" node="n{node}" score="-INFINITY""#)));
        }
    }

    #[test]
    fn the_two_node_cluster_holds_one_shooter_back() {
        assert_eq!(cib(&spec(2)).matches("pcmk_delay_base").count(), 2, "name and id of one nvpair");
        assert!(!cib(&spec(3)).contains("pcmk_delay_base"));
    }
}
