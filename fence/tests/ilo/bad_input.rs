//! Whatever is malformed ends with status 1 and one line that says why, and no connection is made.

use std::net::TcpListener;

use super::agent::given;

/// Lines that are wrong, and what the reason has to say.
const WRONG: &[(&str, &str)] = &[
    ("action=", "Unrecognised action ''"),
    ("action=explode", "Unrecognised action 'explode'"),
    ("ip=", "You have to enter fence address"),
    ("ip=127.0.0.1 -o evil", "cannot find the address"),
    ("ipport=x", "--ipport is not a valid integer"),
    ("ipport=65536", "--ipport is not a valid integer"),
    ("ribcl=x", "--ribcl-version"),
    ("ribcl=2.0\"><HOLD_PWR_BTN TOGGLE=\"Yes\"/>", "--ribcl-version"),
    ("ribcl_version=", "--ribcl-version"),
    ("ribcl_transport=pigeon", "--ribcl-transport"),
    ("ssl_fingerprint=abc", "64 hexadecimal digits"),
    ("ilo_proxyport=99999", "--ilo-proxyport"),
    ("method=both", "valid choice for --method"),
    ("power_timeout=1.5", "--power-timeout is not a valid time in seconds"),
    ("login_timeout=-1", "--login-timeout is not a valid time in seconds"),
    ("retry_on=many", "--retry-on is not a valid integer"),
    ("username=", "You have to set login name"),
    ("password_script=exit 7", "password script"),
];

#[test]
fn malformed_options_end_before_a_connection() {
    let ear = TcpListener::bind("127.0.0.1:0").unwrap();
    ear.set_nonblocking(true).unwrap();
    for (lines, words) in WRONG {
        let text = format!(
            "ip=127.0.0.1\nipport={}\nusername=admin\npasswd=S3cr3tW0rd\naction=off\n{lines}\n",
            ear.local_addr().unwrap().port()
        );
        let run = given(&text);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{lines}: {run:?}");
        let reasons: Vec<_> =
            run.stderr.lines().filter(|line| !line.contains("Please use '-h' for usage")).collect();
        assert_eq!(reasons.len(), 1, "{lines}: {run:?}");
        assert!(reasons[0].contains(words), "{lines}: {run:?}");
        assert!(!run.stderr.contains("S3cr3tW0rd"), "{lines}: {run:?}");
        assert!(ear.accept().is_err(), "a connection was made for {lines}");
    }
}

#[test]
fn an_empty_password_is_one() {
    let text = "ip=127.0.0.1\nusername=admin\naction=validate-all\n";
    given(text).is(1, "", "password");
    given(&format!("{text}passwd=\n")).is(0, "", "");
}
