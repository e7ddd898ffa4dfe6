//! Answers as real devices send them, and worse: understood where they are clear, never guessed where they are not.

use std::time::Duration;

use ringfence_tests::sim::ribcl::Shape;
use ringfence_tests::sim::ribcl::{Generation, Quirks};

use super::agent::with;

fn shapes() -> Vec<Shape> {
    let base = Shape::default;
    vec![
        Shape { self_closed: true, ..base() },
        Shape { control_byte: true, ..base() },
        Shape { not_utf8: true, ..base() },
        Shape { msg: true, ..base() },
        Shape { dense: true, ..base() },
        Shape { lower_case: true, ..base() },
        Shape { informs: true, ..base() },
        Shape { short: true, ..base() },
        Shape { unchunked: true, ..base() },
        Shape { chunk: 7, ..base() },
        Shape { self_closed: true, control_byte: true, not_utf8: true, msg: true, informs: true, ..base() },
    ]
}

#[test]
fn malformed_answers_are_understood() {
    for generation in [Generation::Riloe, Generation::Ilo2, Generation::Ilo4] {
        for shape in shapes() {
            let bed = with(generation, true, Quirks { shape: shape.clone(), ..Quirks::default() });
            for (action, code) in [("status", 0), ("off", 0), ("off", 0), ("status", 2), ("on", 0)] {
                let run = bed.given(&format!("action={action}"));
                assert_eq!(run.code, Some(code), "{generation:?} {action} {shape:?} {run:?}");
            }
            let run = bed.given("action=status\npassword=Wr0ng");
            run.is(1, "", "refuses user or password");
        }
    }
}

#[test]
fn a_power_that_is_not_clear_is_neither_on_nor_off() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        for word in ["", "UNKNOWN", "OFFLINE", "OFF ON", "0"] {
            let shape = Shape { power_word: Some(word), ..Shape::default() };
            let bed = with(generation, true, Quirks { shape, ..Quirks::default() });
            for action in ["status", "off", "reboot", "on"] {
                bed.given(&format!("action={action}\npower_timeout=1")).is(1, "", "");
            }
            assert!(bed.sim.is_on() && bed.sim.orders().is_empty(), "{word}");
        }
    }
}

#[test]
fn half_an_answer_is_none() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        let shape = Shape { unfinished: true, ..Shape::default() };
        let bed = with(generation, false, Quirks { shape, ..Quirks::default() });
        // It says OFF, in a document that does not end.
        bed.given("action=off\npower_timeout=1").is(1, "", "");
        bed.given("action=status").is(1, "", "");
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_is_no_false_success() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        for at in (0..900).step_by(60) {
            let bed = with(generation, true, Quirks { cut_after: Some(at), ..Quirks::default() });
            let run = bed.given("action=off\npower_timeout=1\nlogin_timeout=2");
            if run.code == Some(0) {
                assert!(!bed.sim.is_on(), "{generation:?} {at} {run:?}");
            } else {
                run.is(1, "", "");
            }
        }
    }
}

#[test]
fn pieces_of_any_size_make_the_same_answer() {
    for generation in [Generation::Ilo1, Generation::Ilo3] {
        for piece in [1, 2, 3, 17, 100] {
            let bed = with(generation, true, Quirks { piece, ..Quirks::default() });
            bed.given("action=off").is(0, "Success: Powered OFF\n", "");
        }
    }
}

#[test]
fn a_device_that_keeps_the_connection_or_ends_it_rudely_is_no_trouble() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        for quirks in [
            Quirks { stays_open: true, ..Quirks::default() },
            Quirks { no_close_notify: true, ..Quirks::default() },
            Quirks {
                stays_open: true,
                shape: Shape { short: true, ..Shape::default() },
                ..Quirks::default()
            },
        ] {
            let bed = with(generation, true, quirks);
            let run = bed.given("action=reboot\nlogin_timeout=5");
            run.is(0, "Success: Rebooted\n", "");
            assert!(run.took < Duration::from_secs(4), "{generation:?} {run:?}");
        }
    }
}

#[test]
fn a_mute_device_is_a_time_out_and_says_so() {
    let bed = with(Generation::Ilo2, true, Quirks { mute: true, ..Quirks::default() });
    let run = bed.given("action=off\nlogin_timeout=1");
    run.is(1, "", "timed out");
    assert!(run.took < Duration::from_secs(4), "{run:?}");
}

#[test]
fn a_syntax_error_that_quotes_the_password_does_not_show_it() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        let bed = with(generation, true, Quirks { quotes_login: true, ..Quirks::default() });
        for password in ["s3cret1", "Hunter\"2&<3>", "two  blanks  inside", "x'y'z"] {
            let run = bed.given(&format!("action=off\npassword={password}\nverbose_level=9"));
            run.is(1, "", "Syntax error").is(1, "", "USER_LOGIN");
            let escaped = password.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let escaped = escaped.replace('"', "&quot;").replace('\'', "&apos;");
            let collapsed = password.split_whitespace().collect::<Vec<_>>().join(" ");
            for secret in [password, &escaped, &collapsed] {
                assert!(!run.stderr.contains(secret), "{run:?}");
            }
        }
    }
}
