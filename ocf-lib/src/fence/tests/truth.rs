//! The first promise, as a property: `off` and `reboot` succeed only on what the device said.

use super::super::{ErrorKind, Power};
use super::fake::*;
use proptest::prelude::*;

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![Just(Power::On), Just(Power::Off), Just(Power::Transitional), Just(Power::Unknown)]
}

fn kind() -> impl Strategy<Value = ErrorKind> {
    prop_oneof![
        Just(ErrorKind::TimedOut),
        Just(ErrorKind::Refused),
        Just(ErrorKind::Protocol),
        Just(ErrorKind::WrongState),
        Just(ErrorKind::ConnectionLost),
        Just(ErrorKind::Privilege),
    ]
}

fn any_outlet() -> impl Strategy<Value = Outlet> {
    (
        power(),
        0u32..40,
        proptest::collection::vec(prop_oneof![4 => power().prop_map(Ok), 1 => kind().prop_map(Err)], 0..8),
        proptest::collection::vec(prop_oneof![3 => Just(Ok(())), 1 => kind().prop_map(Err)], 0..2),
        any::<bool>(),
    )
        .prop_map(|(start, lag, answers, set_answers, stuck)| {
            let mut made = outlet(start);
            made.lag = lag;
            made.answers = answers.into();
            made.set_answers = set_answers.into();
            made.stuck = stuck;
            made
        })
}

/// The answers that the device gave for each plug after the last request, replayed.
fn last_words(before: &[(&str, Outlet)], calls: &[String]) -> Vec<bool> {
    // Replays the script through the same rules, independent of what the agent made of it.
    before
        .iter()
        .map(|(name, outlet)| {
            let mut device = outlet.clone();
            let mut pending: Option<(Power, u32)> = None;
            let mut off_at_end = false;
            for call in calls {
                let words: Vec<&str> = call.split(' ').collect();
                match words.as_slice() {
                    ["status", plug] if plug == name => {
                        let answer = device.answers.pop_front().unwrap_or_else(|| {
                            match &mut pending {
                                Some((power, 0)) => {
                                    device.power = *power;
                                    pending = None;
                                }
                                Some((_, left)) => *left -= 1,
                                None => {}
                            }
                            Ok(device.power)
                        });
                        off_at_end = answer == Ok(Power::Off);
                    }
                    ["set", plug, wanted] if plug == name => {
                        off_at_end = false;
                        let refused = matches!(device.set_answers.pop_front(), Some(Err(_)));
                        if !refused && !device.stuck {
                            let power = if *wanted == "ON" { Power::On } else { Power::Off };
                            pending = Some((power, device.lag));
                        }
                    }
                    _ => {}
                }
            }
            off_at_end
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn off_succeeds_only_when_every_plug_said_off_last(a in any_outlet(), b in any_outlet()) {
        let plugs = [("1", a), ("2", b)];
        let ran = on_plugs(lab(&plugs), "action=off\nplug=1,2\npower_timeout=3");
        prop_assert!(ran.status <= 1);
        let truth = last_words(&plugs, &ran.calls);
        if ran.status == 0 {
            prop_assert_eq!(truth, vec![true, true], "{:?}", ran.calls);
        }
    }

    #[test]
    fn a_reboot_succeeds_only_when_the_node_was_off(a in any_outlet()) {
        let plugs = [("1", a)];
        let ran = on_plugs(lab(&plugs), "action=reboot\nplug=1\npower_timeout=3");
        if ran.status == 0 {
            let until_on: Vec<String> =
                ran.calls.iter().take_while(|c| *c != "set 1 ON").cloned().collect();
            prop_assert_eq!(last_words(&plugs, &until_on), vec![true], "{:?}", ran.calls);
        }
    }
}
