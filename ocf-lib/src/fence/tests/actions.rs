//! Section 3 of the contract: what each action does, says and answers.

use super::super::{ErrorKind, Outlet, Power};
use super::fake::*;
use std::time::Duration;

fn check(ran: &Ran, status: u8, out: &str) {
    assert_eq!((ran.status, ran.out.as_str()), (status, out), "{}", ran.err);
}

#[test]
fn status_is_0_2_or_1() {
    check(&on_node(node(Power::On), "action=status"), 0, "Status: ON\n");
    check(&on_node(node(Power::Off), "action=status"), 2, "Status: OFF\n");
    for odd in [Power::Unknown, Power::Transitional] {
        let ran = on_node(node(odd), "action=status");
        check(&ran, 1, "");
        assert!(
            ran.err
                .starts_with("ERROR: Failed: Unable to obtain correct plug status or plug is not available"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn monitor_is_0_for_on_and_off_and_silent() {
    check(&on_node(node(Power::On), "action=monitor"), 0, "");
    check(&on_node(node(Power::Off), "action=monitor"), 0, "");
    check(&on_node(node(Power::Unknown), "action=monitor"), 1, "");
    let mut broken = node(Power::On);
    broken.connect = Some(ErrorKind::Unreachable);
    check(&on_node(broken, "action=monitor"), 1, "");
}

#[test]
fn monitor_of_an_agent_with_plugs_lists() {
    let mut device = lab(&[]);
    device.list = Some(vec![]);
    let ran = on_plugs(device, "action=monitor");
    check(&ran, 0, "");
    assert_eq!(ran.calls, ["connect", "list"]);
}

#[test]
fn off_and_on_say_what_upstream_says() {
    check(&on_node(node(Power::On), "action=off"), 0, "Success: Powered OFF\n");
    check(&on_node(node(Power::Off), "action=off"), 0, "Success: Already OFF\n");
    check(&on_node(node(Power::Off), "action=on"), 0, "Success: Powered ON\n");
    let ran = on_node(node(Power::On), "action=on");
    check(&ran, 0, "Success: Already ON\n");
    assert!(!ran.calls.iter().any(|c| c.starts_with("set")));
}

#[test]
fn reboot_is_the_default_and_is_off_then_on() {
    let ran = on_node(node(Power::On), "");
    check(&ran, 0, "Success: Rebooted\n");
    assert_eq!(ran.calls, ["connect", "status ", "set  OFF", "status ", "set  ON", "status "]);
    let ran = on_node(node(Power::Off), "action=reboot");
    check(&ran, 0, "Success: Rebooted\n");
    assert!(!ran.calls.contains(&"set  OFF".to_owned()));
}

#[test]
fn a_reboot_that_is_not_seen_off_fails_and_leaves_the_node_on() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().stuck = true;
    let ran = on_node(device, "action=reboot\npower_timeout=3");
    check(&ran, 1, "");
    assert_eq!(ran.err, "ERROR: Failed: Timed out waiting to power OFF\n");
    assert!(!ran.calls.contains(&"set  ON".to_owned()));
}

#[test]
fn a_reboot_that_does_not_come_back_is_still_a_success() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().never_on = true;
    let ran = on_node(device, "action=reboot\npower_timeout=3\nretry_on=2");
    check(&ran, 0, "Success: Rebooted\n");
    assert!(ran.err.contains("Timed out waiting to power ON"));
    assert_eq!(ran.calls.iter().filter(|c| *c == "set  ON").count(), 3);
}

#[test]
fn on_is_tried_again_and_off_is_not() {
    let mut device = node(Power::Off);
    device.plugs.get_mut("").unwrap().stuck = true;
    let ran = on_node(device, "action=on\npower_timeout=2");
    assert_eq!(ran.calls.iter().filter(|c| *c == "set  ON").count(), 2);
    assert_eq!(ran.err, "ERROR: Failed: Timed out waiting to power ON\n");
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().stuck = true;
    let ran = on_node(device, "action=off\npower_timeout=2");
    assert_eq!(ran.calls.iter().filter(|c| *c == "set  OFF").count(), 1);
}

#[test]
fn waiting_lasts_power_wait_and_power_timeout_with_at_least_that_many_queries() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().stuck = true;
    let ran = on_node(device, "action=off\npower_timeout=20\npower_wait=2");
    assert!(ran.took >= Duration::from_secs(22) && ran.took < Duration::from_secs(24));
    assert!(ran.calls.iter().filter(|c| *c == "status ").count() > 20);
    // Sleeping longer between queries makes the wait longer, not the queries fewer.
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().stuck = true;
    let ran = on_node(device, "action=off\npower_timeout=4\nstonith_status_sleep=10");
    assert!(ran.calls.iter().filter(|c| *c == "status ").count() > 4);
    assert!(ran.took > Duration::from_secs(12), "{:?}", ran.took);
}

#[test]
fn the_grace_period_ends_with_the_confirmation() {
    let ran = on_node(node(Power::On), "action=off\npower_wait=30");
    check(&ran, 0, "Success: Powered OFF\n");
    assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
}

#[test]
fn delay_is_one_second_more_before_login_and_for_off_and_reboot_only() {
    let took = |lines: &str| on_node(node(Power::On), lines).took;
    assert!(took("action=off\ndelay=2") >= Duration::from_secs(3));
    assert!(took("action=reboot\ndelay=2") >= Duration::from_secs(3));
    for action in ["on", "status", "monitor", "list"] {
        assert_eq!(took(&format!("action={action}\ndelay=5")), Duration::ZERO, "{action}");
    }
    assert_eq!(took("action=off\ndelay=0"), Duration::ZERO);
}

#[test]
fn power_timeout_0_waits_until_it_happens() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().lag = 300;
    check(&on_node(device, "action=off\npower_timeout=0"), 0, "Success: Powered OFF\n");
}

#[test]
fn pacemaker_minds_the_time_itself() {
    let power = |caller: Caller| run::<false>(node(Power::On), caller).said;
    let pacemaker = |lines: &str| Caller { env: vec![("PCMK_service", "pacemaker-fenced")], ..stdin(lines) };
    let has = |said: Vec<String>, what: &str| said.iter().any(|s| s == what);
    assert!(has(power(pacemaker("ip=h\naction=status")), "power=None"));
    assert!(has(power(pacemaker("ip=h\naction=status\ndisable_timeout=false")), "power=Some(20s)"));
    assert!(has(power(stdin("ip=h\naction=status")), "power=Some(20s)"));
    assert!(has(power(stdin("ip=h\naction=status\ndisable_timeout=1")), "power=None"));
}

#[test]
fn errors_while_waiting_are_not_the_end_unless_they_are_final() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().answers =
        [Ok(Power::On), Err(ErrorKind::TimedOut), Err(ErrorKind::Protocol), Ok(Power::Unknown)].into();
    check(&on_node(device, "action=off"), 0, "Success: Powered OFF\n");
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().answers = [Ok(Power::On), Err(ErrorKind::LoginDenied)].into();
    let ran = on_node(device, "action=off");
    check(&ran, 1, "");
    assert_eq!(ran.calls.iter().filter(|c| *c == "status ").count(), 2, "a login that locks accounts");
}

#[test]
fn a_lost_answer_to_a_request_is_settled_by_the_state() {
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().set_answers = [Err(ErrorKind::TimedOut)].into();
    device.plugs.get_mut("").unwrap().answers = [Ok(Power::On), Ok(Power::On), Ok(Power::Off)].into();
    check(&on_node(device, "action=off"), 0, "Success: Powered OFF\n");
}

#[test]
fn a_refused_request_is_told_as_such_and_soon() {
    for timeouts in ["power_timeout=20", "disable_timeout=1"] {
        let mut device = node(Power::On);
        device.plugs.get_mut("").unwrap().set_answers = [Err(ErrorKind::Refused)].into();
        let ran = on_node(device, &format!("action=off\n{timeouts}"));
        check(&ran, 1, "");
        assert!(ran.err.ends_with("ERROR: Failed: asked too much\n"), "{}", ran.err);
        assert!(!ran.err.to_lowercase().contains("timed out"), "{}", ran.err);
        assert!(ran.took < Duration::from_secs(7));
    }
    let mut device = node(Power::On);
    device.plugs.get_mut("").unwrap().set_answers = [Err(ErrorKind::Privilege)].into();
    let ran = on_node(device, "action=off");
    assert!(ran.err.contains("does not have the correct privileges"), "{}", ran.err);
    assert_eq!(ran.took, Duration::ZERO);
}

#[test]
fn connection_errors_have_their_own_words() {
    for (kind, words) in [
        (ErrorKind::LoginDenied, "Unable to connect/login to fencing device: connecting"),
        (ErrorKind::Unreachable, "Unable to connect/login to fencing device: connecting"),
        (ErrorKind::TimedOut, "Connection timed out: connecting"),
        (ErrorKind::ConnectionLost, "Connection lost: connecting"),
    ] {
        let mut device = node(Power::On);
        device.connect = Some(kind);
        let ran = on_node(device, "action=off");
        check(&ran, 1, "");
        assert_eq!(ran.err, format!("ERROR: {words}\n"));
    }
}

#[test]
fn several_plugs_are_on_or_off_together() {
    let two = |a, b| lab(&[("1", outlet(a)), ("2", outlet(b))]);
    let ran = on_plugs(two(Power::Off, Power::On), "action=on\nplug=1,2");
    check(&ran, 0, "Success: Powered ON\n");
    assert!(ran.calls.contains(&"set 1 ON".to_owned()) && !ran.calls.contains(&"set 2 ON".to_owned()));
    check(&on_plugs(two(Power::Off, Power::On), "action=off\nplug=1,2"), 0, "Success: Powered OFF\n");
    check(&on_plugs(two(Power::Off, Power::Off), "action=off\nplug=1,2"), 0, "Success: Already OFF\n");
    check(&on_plugs(two(Power::Off, Power::On), "action=status\nplug=1,2"), 0, "Status: ON\n");
    check(&on_plugs(two(Power::Off, Power::Off), "action=status\nplug=1,2"), 2, "Status: OFF\n");
    let mut half_stuck = two(Power::Off, Power::Off);
    half_stuck.plugs.get_mut("1").unwrap().stuck = true;
    check(&on_plugs(half_stuck, "action=on\nplug=1,2\npower_timeout=1"), 1, "");
    let ran = on_plugs(two(Power::Unknown, Power::Off), "action=off\nplug=1,2");
    check(&ran, 1, "");
    assert!(ran.err.contains("plug '1'"), "{}", ran.err);
}

#[test]
fn plugs_are_split_at_the_separator_and_not_trimmed() {
    let device = lab(&[("1", outlet(Power::On)), (" 2", outlet(Power::On))]);
    check(&on_plugs(device, "action=status\nplug=1, 2"), 0, "Status: ON\n");
    let device = lab(&[("a,b", outlet(Power::On)), ("c", outlet(Power::On))]);
    check(&on_plugs(device, "action=status\nplug=a,b|c\nplug_separator=|"), 0, "Status: ON\n");
}

#[test]
fn a_missing_plug_is_an_error_unless_it_counts_as_off() {
    let ran = on_plugs(lab(&[]), "action=off\nplug=x");
    check(&ran, 1, "");
    assert!(ran.err.contains("plug 'x': no such plug"), "{}", ran.err);
    check(&on_plugs(lab(&[]), "action=off\nplug=x\nmissing_as_off=0"), 1, "");
    check(&on_plugs(lab(&[]), "action=off\nplug=x\nmissing_as_off=1"), 0, "Success: Already OFF\n");
}

#[test]
fn a_cycle_succeeds_when_the_node_was_seen_off() {
    let mut device = node(Power::On);
    device.cycle_shows_off = true;
    let ran = on_node(device, "method=cycle");
    check(&ran, 0, "Success: Rebooted\n");
    assert!(!ran.calls.iter().any(|c| c.starts_with("set")));
    assert_eq!(ran.err, "");
}

#[test]
fn an_accepted_cycle_that_nobody_saw_is_a_failure_and_is_not_repeated() {
    let ran = on_node(node(Power::On), "method=cycle");
    check(&ran, 1, "");
    assert!(ran.err.contains("was not seen off; use method=onoff"), "{}", ran.err);
    assert_eq!(ran.calls.iter().filter(|c| c.starts_with("cycle")).count(), 1);
}

#[test]
fn a_cycle_of_a_node_that_is_off_powers_it_on() {
    let ran = on_node(node(Power::Off), "method=cycle");
    check(&ran, 0, "Success: Rebooted\n");
    assert!(ran.calls.contains(&"set  ON".to_owned()) && !ran.calls.contains(&"cycle ".to_owned()));
    // It went off between the query and the request.
    let mut device = node(Power::Off);
    device.plugs.get_mut("").unwrap().answers = [Ok(Power::On)].into();
    device.cycle = [Err(ErrorKind::WrongState)].into();
    check(&on_node(device, "method=cycle\npower_timeout=2"), 0, "Success: Rebooted\n");
}

#[test]
fn a_cycle_that_was_not_taken_fails() {
    for kind in [ErrorKind::Refused, ErrorKind::WrongState, ErrorKind::TimedOut, ErrorKind::Privilege] {
        let mut device = node(Power::On);
        device.cycle = [Err(kind), Err(kind)].into();
        let ran = on_node(device, "method=cycle");
        check(&ran, 1, "");
        assert!(ran.err.contains("no cycle"), "{}", ran.err);
    }
}

#[test]
fn list_and_list_status() {
    let device = || {
        let mut device = lab(&[]);
        let item = |id: &str, alias: &str, power| Outlet { id: id.into(), alias: alias.into(), power };
        device.list = Some(vec![
            item("1", "web", Some(Power::On)),
            item("2", "a\nb", Some(Power::Off)),
            item("3", "", None),
        ]);
        device
    };
    check(&on_plugs(device(), "action=list"), 0, "1,web\n2,a b\n3,\n");
    check(&on_plugs(device(), "action=list\nseparator=:"), 0, "1:web\n2:a b\n3:\n");
    check(&on_plugs(device(), "action=list-status"), 0, "1,web,ON\n2,a b,OFF\n3,,UNKNOWN\n");
    check(
        &on_plugs(device(), "action=list\noutput=json"),
        0,
        "[{\"alias\":\"web\",\"id\":\"1\"},{\"alias\":\"a\\nb\",\"id\":\"2\"},{\"alias\":\"\",\"id\":\"3\"}]\n",
    );
    let notice = "NOTICE: List option is not working on this device yet\n";
    check(&on_plugs(lab(&[]), "action=list"), 0, notice);
    check(&on_node(node(Power::On), "action=list"), 0, notice);
}

#[test]
fn diag_interrupts_a_running_node_only() {
    let ran = on_node(node(Power::On), "action=diag");
    check(&ran, 0, "Success: Diagnostic interrupt sent\n");
    assert!(ran.calls.contains(&"diag ".to_owned()));
    check(&on_node(node(Power::Off), "action=diag"), 1, "");
    assert!(on_plugs(lab(&[]), "action=diag").err.contains("Unrecognised action 'diag'"));
}

#[test]
fn status_as_json() {
    check(
        &on_node(node(Power::Off), "action=status\noutput=json"),
        2,
        "{\"plugs\":[{\"plug\":\"\",\"power\":\"off\"}],\"status\":\"off\"}\n",
    );
}

#[test]
fn a_panic_is_one_line_closes_the_session_and_shows_no_secret() {
    let mut device = node(Power::On);
    device.panic_in_set = true;
    let ran = on_node(device, "action=off\npasswd=hunter2");
    check(&ran, 1, "");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert!(ran.err.contains("internal error") && !ran.err.contains("hunter2"), "{}", ran.err);
}
