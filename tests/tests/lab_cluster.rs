//! A Pacemaker cluster of two guests with kernels of their own.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Lab, Needs};

const ADDRESS: &str = "<primitive id='ip' class='ocf' provider='heartbeat' type='IPaddr2'><instance_attributes id='ip-a'>\
    <nvpair id='ip-i' name='ip' value='10.55.0.50'/><nvpair id='ip-m' name='cidr_netmask' value='24'/></instance_attributes>\
    <operations><op id='ip-o' name='monitor' interval='10s' timeout='60s'/></operations></primitive>";

/// Waits until a guest's own view of the cluster has this line.
fn until(seen: &str) -> String {
    format!("for i in $(seq 60); do {seen} && exit 0; sleep 1.5; done; crm_mon -1; exit 1")
}

#[test]
fn a_live_pair_starts_a_resource_and_moves_it_off_a_dead_node() {
    let test = "a_live_pair_starts_a_resource_and_moves_it_off_a_dead_node";
    let lab = Lab::open(&Needs::of(test).cluster()).unwrap();
    let [a, b] = lab.guests(["n1", "n2"], &Disks::none()).unwrap();
    a.run(&until("crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'")).unwrap().ok().unwrap();
    a.run(&format!("cibadmin -C -o resources -X \"{ADDRESS}\" && crm_resource -M -r ip -N n2 -Q"))
        .unwrap()
        .ok()
        .unwrap();
    a.run(&until("crm_resource -W -r ip 2>&1 | grep -q 'running on: n2'")).unwrap().ok().unwrap();
    lab.host(&["ping", "-c", "1", "-w", "20", "10.55.0.50"]).unwrap();
    assert!(b.run("ip -br address show eth0").unwrap().stdout.contains("10.55.0.50/24"));

    b.cut_power();
    let minutes = std::time::Duration::from_secs(180);
    a.run_within(minutes, &until("crm_resource -W -r ip 2>&1 | grep -q 'running on: n1'"))
        .unwrap()
        .ok()
        .unwrap();
    lab.host(&["ping", "-c", "1", "-w", "20", "10.55.0.50"]).unwrap();

    // It boots, starts its daemons and joins.
    b.power_on().unwrap();
    a.run(&until("crm_mon -1 | grep -q 'Online: \\[ n1 n2 \\]'")).unwrap().ok().unwrap();
}
