//! Every generation, every action: what the program says is what the device's own power and log say.

use std::time::Duration;

use ringfence_tests::sim::ribcl::{Generation, Quirks};

use super::agent::{bed, with};

#[test]
fn status_off_on_and_reboot_of_every_generation() {
    for generation in Generation::ALL {
        let bed = bed(generation);
        let sim = &bed.sim;
        bed.given("action=status").is(0, "Status: ON\n", "");
        bed.given("action=monitor").is(0, "", "");
        assert!(sim.orders().is_empty(), "{:?}", sim.log());
        bed.given("action=off").is(0, "Success: Powered OFF\n", "");
        assert!(!sim.is_on());
        bed.given("action=status").is(2, "Status: OFF\n", "");
        bed.given("action=off").is(0, "Success: Already OFF\n", "");
        bed.given("action=on").is(0, "Success: Powered ON\n", "");
        assert!(sim.is_on());
        assert_eq!(sim.orders().len(), 2, "{generation:?} {:?}", sim.log());
        sim.forget();
        bed.given("action=reboot").is(0, "Success: Rebooted\n", "");
        assert!(sim.is_on());
        let log = sim.log();
        let at = |line: &str| log.iter().position(|l| l == line);
        assert!(at("power off") < at("power on") && at("power off").is_some(), "{generation:?} {log:?}");
        // The default action without any.
        bed.given("").is(0, "Success: Rebooted\n", "");
    }
}

#[test]
fn off_holds_the_button_where_that_is_harmless_and_never_toggles() {
    for (generation, order) in [
        (Generation::Riloe, "SET_HOST_POWER HOST_POWER=No"),
        (Generation::Ilo1, "SET_HOST_POWER HOST_POWER=No"),
        (Generation::Ilo2, "HOLD_PWR_BTN"),
        (Generation::Ilo4, "HOLD_PWR_BTN"),
    ] {
        let bed = bed(generation);
        bed.given("action=off").is(0, "Success: Powered OFF\n", "");
        assert_eq!(bed.sim.orders(), [order], "{generation:?}");
    }
}

#[test]
fn the_way_of_switching_off_can_be_chosen() {
    for (word, generation, order) in [
        ("button", Generation::Ilo1, "HOLD_PWR_BTN"),
        ("power", Generation::Ilo2, "SET_HOST_POWER HOST_POWER=No"),
        ("button", Generation::Ilo5, "HOLD_PWR_BTN"),
        ("Pull", Generation::Ilo5, "SET_HOST_POWER HOST_POWER=No"),
    ] {
        let bed = bed(generation);
        let run = bed.given(&format!("action=off\nilo_powerdown_method={word}"));
        run.is(0, "Success: Powered OFF\n", if word == "Pull" { "neither button nor power" } else { "" });
        assert_eq!(bed.sim.orders(), [order], "{generation:?}");
    }
}

/// The race of upstream's TOGGLE: between the status and the order the machine goes off (or on) by itself.
#[test]
fn a_machine_that_goes_off_just_before_the_order_is_not_started_by_it() {
    for generation in Generation::ALL {
        for method in ["", "ilo_powerdown_method=button", "ilo_powerdown_method=power"] {
            // The button of the first ones is held only right after they said "on": the rest of that race is the device's own.
            if generation < Generation::Ilo2 && method.ends_with("button") {
                continue;
            }
            let bed = with(generation, true, Quirks { flips_before_order: true, ..Quirks::default() });
            let run = bed.given(&format!("action=off\n{method}"));
            assert_eq!(run.code, Some(0), "{generation:?} {method} {run:?} {:?}", bed.sim.log());
            assert!(!bed.sim.is_on(), "{generation:?} {method} {:?}", bed.sim.log());
            assert!(!bed.sim.log().contains(&"power on".to_owned()), "{:?}", bed.sim.log());
        }
    }
}

#[test]
fn a_machine_that_comes_on_just_before_the_order_is_not_shut_down_by_it() {
    for generation in Generation::ALL {
        let bed = with(generation, false, Quirks { flips_before_order: true, ..Quirks::default() });
        bed.given("action=on").is(0, "Success: Powered ON\n", "");
        assert!(bed.sim.is_on() && !bed.sim.log().contains(&"power off".to_owned()), "{:?}", bed.sim.log());
    }
}

/// The first generations, whose held button would start the machine: asked again right before, and not held.
#[test]
fn a_button_that_would_start_the_machine_is_not_held_when_it_is_off() {
    let bed = with(Generation::Ilo1, true, Quirks { no_set_host_power: true, ..Quirks::default() });
    bed.given("action=off").is(0, "Success: Powered OFF\n", "");
    assert_eq!(bed.sim.orders(), ["SET_HOST_POWER HOST_POWER=No", "HOLD_PWR_BTN"]);
    let log = bed.sim.log();
    let hold = log.iter().position(|line| line == "order HOLD_PWR_BTN").unwrap();
    // Logins are status questions where no order follows: one lies between the refusal and the hold.
    let refused = log.iter().position(|line| line.starts_with("order SET_HOST_POWER")).unwrap();
    assert_eq!(log[refused + 1..hold].iter().filter(|line| *line == "login admin").count(), 2, "{log:?}");
}

#[test]
fn what_the_device_lacks_is_done_in_the_other_way() {
    for generation in Generation::ALL {
        let bed = with(generation, true, Quirks { no_hold: true, ..Quirks::default() });
        bed.given("action=off").is(0, "Success: Powered OFF\n", "");
        let bed = with(generation, false, Quirks { no_set_host_power: true, ..Quirks::default() });
        bed.given("action=on").is(0, "Success: Powered ON\n", "");
        assert!(bed.sim.orders().contains(&"PRESS_PWR_BTN".to_owned()), "{:?}", bed.sim.log());
    }
}

#[test]
fn a_device_that_takes_orders_and_does_nothing_is_not_believed() {
    for generation in [Generation::Ilo2, Generation::Ilo5] {
        for action in ["off", "reboot", "reboot\nmethod=cycle"] {
            let bed = with(generation, true, Quirks { lies: true, ..Quirks::default() });
            let run = bed.given(&format!("action={action}\npower_timeout=1"));
            run.is(1, "", "");
            assert!(bed.sim.is_on() && !bed.sim.orders().is_empty());
        }
    }
}

#[test]
fn a_slow_device_is_waited_for_and_not_longer_than_asked() {
    let slow = Quirks { slow_power: Duration::from_millis(700), ..Quirks::default() };
    let bed = with(Generation::Ilo2, true, slow.clone());
    bed.given("action=off").is(0, "Success: Powered OFF\n", "");
    assert_eq!(bed.sim.orders().len(), 1);
    let bed = with(Generation::Ilo4, true, Quirks { slow_power: Duration::from_secs(30), ..slow });
    let run = bed.given("action=off\npower_timeout=1");
    run.is(1, "", "Timed out waiting to power OFF");
    assert!(run.took < Duration::from_secs(5), "{run:?}");
}

#[test]
fn a_busy_device_is_asked_in_another_way_or_told() {
    let bed = with(Generation::Ilo4, true, Quirks { busy: 1, ..Quirks::default() });
    bed.given("action=off").is(0, "Success: Powered OFF\n", "");
    let bed = with(Generation::Ilo4, true, Quirks { busy: 9, ..Quirks::default() });
    bed.given("action=off\npower_timeout=1").is(1, "", "The management processor is busy");
    assert!(bed.sim.is_on());
}

#[test]
fn a_cycle_is_seen_off_or_is_no_success() {
    let bed = bed(Generation::Ilo4);
    bed.given("action=reboot\nmethod=cycle").is(0, "Success: Rebooted\n", "");
    assert_eq!(bed.sim.orders(), ["COLD_BOOT_SERVER"]);
    assert!(bed.sim.is_on());
    let bed = with(Generation::Ilo4, true, Quirks { warm_cold_boot: true, ..Quirks::default() });
    bed.given("action=reboot\nmethod=cycle\npower_timeout=1").is(1, "", "was not seen off");
    let bed = with(Generation::Ilo4, false, Quirks::default());
    bed.given("action=reboot\nmethod=cycle").is(0, "Success: Rebooted\n", "");
    assert!(bed.sim.is_on());
}

#[test]
fn wrong_password_and_missing_privilege_are_told_apart() {
    for generation in Generation::ALL {
        let bed = bed(generation);
        let run = bed.given("action=off\npassword=Wr0ng#1");
        run.is(1, "", "Unable to connect/login to fencing device").is(1, "", "refuses user or password");
        // Once: a second attempt would help to lock the account.
        assert_eq!(bed.sim.log(), ["login refused"], "{generation:?}");
        let run = bed.given("action=off\nusername=looker");
        run.is(1, "", "does not have the correct privileges").is(1, "", "RESET_SERVER_PRIV");
        assert!(!run.stderr.contains("Unable to connect"), "{run:?}");
        assert!(bed.sim.is_on());
        bed.given("action=status\nusername=looker").is(0, "Status: ON\n", "");
        for run in [bed.given("action=off\npassword=Wr0ng#1"), bed.given("action=off\nusername=looker")] {
            assert!(!run.stderr.to_lowercase().contains("timed out"), "{run:?}");
        }
    }
}

#[test]
fn a_refused_login_takes_no_time_out() {
    let bed = bed(Generation::Ilo2);
    let run = bed.given("action=status\npassword=wrong\nlogin_timeout=30");
    assert!(run.took < Duration::from_secs(3), "{run:?}");
}

#[test]
fn every_password_arrives() {
    use ringfence_tests::sim::ribcl::{Ribcl, Settings, User};
    let password = "a\"b'c<d>e&f g/#;$(x)é";
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(generation, folder.path());
        settings.users = vec![User { name: "o'neil&co".into(), password: password.into(), may_reset: true }];
        let bed = super::agent::Bed { sim: Ribcl::start(settings).unwrap(), folder };
        bed.given(&format!("username=o'neil&co\npassword={password}\naction=off")).is(
            0,
            "Success: Powered OFF\n",
            "",
        );
        assert!(!bed.sim.is_on());
    }
}

#[test]
fn a_device_without_ribcl_says_what_to_use_instead() {
    let bed = with(Generation::Ilo5, true, Quirks { ribcl_disabled: true, ..Quirks::default() });
    bed.given("action=off").is(1, "", "404").is(1, "", "fence_redfish");
    assert!(bed.sim.is_on());
}

#[test]
fn the_transport_and_the_version_can_be_given() {
    for (generation, lines) in [
        (Generation::Ilo2, "ribcl_transport=raw"),
        (Generation::Ilo3, "ribcl_transport=http"),
        (Generation::Riloe, "ribcl_version=1.2"),
        (Generation::Riloe, "ribcl=1.2"),
        (Generation::Ilo2, "ribcl=2.0"),
    ] {
        let bed = bed(generation);
        bed.given(&format!("action=status\n{lines}")).is(0, "Status: ON\n", "");
        assert_eq!(bed.sim.connections(), 1, "{lines}");
    }
    let bed = bed(Generation::Ilo3);
    bed.given("action=status").is(0, "Status: ON\n", "");
    assert_eq!(bed.sim.connections(), 2, "the first connection finds out");
    bed.given("action=status\nribcl_transport=raw").is(1, "", "");
}

#[test]
fn somebody_at_the_button_is_seen() {
    let bed = bed(Generation::Ilo2);
    std::fs::write(bed.folder.path().join("power"), "off\n").unwrap();
    bed.given("action=status").is(2, "Status: OFF\n", "");
}

/// False success: `option=off` was ignored and the default action carried out.
#[test]
fn option_is_another_name_of_action() {
    let bed = bed(Generation::Ilo2);
    bed.given("option=status").is(0, "Status: ON\n", "");
    assert!(bed.sim.orders().is_empty());
    bed.given("option=off").is(0, "Success: Powered OFF\n", "");
    assert!(!bed.sim.is_on());
}

/// False success: a monitor that checks nothing.
#[test]
fn monitor_exercises_the_real_path() {
    let bed = bed(Generation::Ilo4);
    bed.given("action=monitor\npassword=wrong").is(1, "", "refuses user or password");
    bed.sim.set_quirks(Quirks { ribcl_disabled: true, ..Quirks::default() });
    bed.given("action=monitor").is(1, "", "404");
}

#[test]
fn a_node_that_hangs_and_ignores_the_button_is_switched_off_by_holding_it() {
    for generation in Generation::ALL {
        let bed = with(generation, true, Quirks { hangs: true, ..Quirks::default() });
        let run = bed.given("action=off\nilo_powerdown_method=power\npower_timeout=2");
        run.is(0, "Success: Powered OFF\n", "holding the power button");
        assert_eq!(bed.sim.orders(), ["SET_HOST_POWER HOST_POWER=No", "HOLD_PWR_BTN"], "{generation:?}");
        assert!(!bed.sim.is_on());
    }
}

#[test]
fn a_first_connection_that_breaks_is_not_a_device_without_ribcl() {
    let bed = with(Generation::Ilo2, true, Quirks { refuses: 1, ..Quirks::default() });
    // gnutls-cli would be tried next, and succeed.
    let run = bed.given("action=status\ngnutlscli_path=/nowhere/gnutls-cli");
    run.is(1, "", "handshake");
    let bed = with(Generation::Ilo2, true, Quirks { cut_after: Some(0), ..Quirks::default() });
    let run = bed.given("action=status");
    run.is(1, "", "Connection lost");
    assert!(!run.stderr.contains("fence_redfish"), "{run:?}");
}
