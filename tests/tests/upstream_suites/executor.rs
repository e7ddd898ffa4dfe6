//! `cts-exec` in style: the real `pacemaker-execd` with our resource agents, asked by a client that speaks through
//! Pacemaker's own library: register, start, recurring monitors, cancel, timeouts, stop.

use super::agents_for;
use super::place::ran;

const NEEDS: [(&str, &str); 2] = [
    ("/usr/lib/pacemaker/pacemaker-execd", "pacemaker"),
    ("/usr/lib/x86_64-linux-gnu/liblrmd.so.28", "pacemaker"),
];

/// Orders for the executor; answers its lines, events among them.
fn executed(test: &str, orders: &str) -> Option<Vec<String>> {
    let subjects = agents_for(test, &NEEDS)?;
    let client = env!("CARGO_BIN_EXE_rf-executor").to_owned();
    let script = r#"
        ip link add judge0 type veth peer name judge1 && ip link set judge1 up && ip link set judge0 up && ip address add 192.0.2.1/24 dev judge0
        export PCMK_logfile=/run/execd.log HA_RSCTMP=/run/resource-agents
        /usr/lib/pacemaker/pacemaker-execd >/dev/null 2>&1 &
        printf '%s\n' "$ORDERS" | "$CLIENT" | sed 's/^/answer /'
        echo "left: $(ls /run/resource-agents) $(ip -o address show dev judge0 | grep -c 192.0.2.77)"
    "#;
    let ran = ran(&subjects, &[("CLIENT", client), ("ORDERS", orders.to_owned())], script);
    let lines: Vec<String> =
        ran.text.lines().map(|line| line.strip_prefix("answer ").unwrap_or(line).to_owned()).collect();
    assert!(lines.iter().all(|line| !line.starts_with("rf-executor:")), "{}", ran.text);
    println!("{}", ran.text);
    Some(lines)
}

fn events<'a>(lines: &'a [String], what: &str) -> Vec<&'a str> {
    let mark = format!("event {what} ");
    lines.iter().filter_map(|line| line.strip_prefix(&mark)).map(str::trim).collect()
}

/// The life of each agent, as the controller leads it. 0 in `status` is "complete", 1 "cancelled", 2 "timed out".
#[test]
fn the_life_of_a_resource() {
    let life = |id: &str, kind: &str, parameters: &str| {
        format!(
            "register {id} ringfence {kind}\n\
             exec {id} monitor 0 20000 {parameters}\nevents 1\n\
             exec {id} start 0 20000 {parameters}\nevents 1\n\
             exec {id} monitor 1000 20000 {parameters}\nevents 2.5\n\
             cancel {id} monitor 1000\nevents 1\n\
             exec {id} stop 0 20000 {parameters}\nevents 1\n\
             exec {id} stop 0 20000 {parameters}\nevents 1\n\
             exec {id} monitor 0 20000 {parameters}\nevents 1\n\
             unregister {id}\n"
        )
    };
    let orders = life("dummy", "Dummy", "") + &life("ip", "IPaddr2", "ip=192.0.2.77 nic=judge0");
    let Some(lines) = executed("the_life_of_a_resource", &orders) else { return };
    for id in ["dummy", "ip"] {
        assert_eq!(events(&lines, &format!("{id} start 0")), ["rc 0 status 0"], "{lines:?}");
        assert_eq!(events(&lines, &format!("{id} stop 0")), ["rc 0 status 0"; 2], "{lines:?}");
        let probes = events(&lines, &format!("{id} monitor 0"));
        assert!(
            probes.len() == 2 && probes.iter().all(|probe| probe.starts_with("rc 7 status 0")),
            "{lines:?}"
        );
        let recurring = events(&lines, &format!("{id} monitor 1000"));
        let (last, first) = recurring.split_last().unwrap();
        assert!(first.iter().all(|event| *event == "rc 0 status 0") && first.len() >= 2, "{lines:?}");
        assert!(last.contains("status 1"), "the cancelled one is told: {lines:?}");
    }
    assert!(lines.iter().any(|line| line == "left:  0"), "{lines:?}");
}

/// A failure is told with its reason; a monitor that begins to fail says so once more; what is unknown is told.
#[test]
fn failures_are_told_with_their_reasons() {
    let orders = "register bad ringfence IPaddr2\n\
        exec bad start 0 20000 ip=192.0.2.500\nevents 1\n\
        exec bad start 0 20000 ip=192.0.2.77 nic=gone0\nevents 1\n\
        exec bad monitor 0 20000 ip=192.0.2.500\nevents 1\n\
        exec bad stop 0 20000 ip=192.0.2.500\nevents 1\n\
        exec bad dance 0 20000 ip=192.0.2.77\nevents 1\n\
        register s ringfence Stateful\n\
        exec s start 0 20000\nevents 2\n\
        exec s promote 0 20000\nevents 2\n\
        exec s monitor 1100 20000\nevents 2\n\
        exec s demote 0 20000\nevents 2\n\
        exec s stop 0 20000\nevents 2\n";
    let Some(lines) = executed("failures_are_told_with_their_reasons", orders) else { return };
    let starts = events(&lines, "bad start 0");
    assert!(starts[0].starts_with("rc 6 ") && starts[0].contains("192.0.2.500"), "{lines:?}");
    assert!(starts[1].starts_with("rc 5 ") && starts[1].contains("gone0"), "{lines:?}");
    assert!(events(&lines, "bad monitor 0")[0].starts_with("rc 7 "), "{lines:?}");
    assert!(events(&lines, "bad stop 0")[0].starts_with("rc 0 "), "{lines:?}");
    assert!(events(&lines, "bad dance 0")[0].starts_with("rc 3 "), "{lines:?}");
    for action in ["start", "promote", "demote", "stop"] {
        assert!(
            events(&lines, &format!("s {action} 0"))[0].starts_with("rc 0 status 0"),
            "{action}: {lines:?}"
        );
    }
    assert!(events(&lines, "s monitor 1100").iter().any(|event| event.starts_with("rc 8 ")), "{lines:?}");
}

/// The agent ends and says why before the executor would kill it: no action is ever "timed out" (status 2).
#[test]
fn no_action_is_cut_off() {
    let orders = "register d ringfence Delay\n\
        exec d start 0 1500 startdelay=30 mondelay=0\nevents 2\n\
        exec d monitor 0 1500 mondelay=30\nevents 2\n\
        exec d stop 0 1500 stopdelay=30 mondelay=0\nevents 2\n";
    let Some(lines) = executed("no_action_is_cut_off", orders) else { return };
    for action in ["start", "monitor", "stop"] {
        let told = events(&lines, &format!("d {action} 0"));
        assert!(told.len() == 1 && told[0].contains("rc 0 status 0"), "{action}: {lines:?}");
    }
}
