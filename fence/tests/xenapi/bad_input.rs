//! Whatever is malformed ends with status 1 and one line that says why, and no connection is made.

use std::net::TcpListener;

use super::agent::{called, given};

/// A port where somebody listens who must hear nothing.
struct Ear(TcpListener);

impl Ear {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    #[track_caller]
    fn heard_nothing(&self, about: &str) {
        // the program has ended: a connection over loopback has arrived
        assert!(self.0.accept().is_err(), "a connection was made for {about}");
    }
}

/// Lines that are wrong, and what the reason has to say. `EAR` is the url of somebody who listens.
const WRONG: &[(&str, &str)] = &[
    ("action=", "Unrecognised action ''"),
    ("action=explode", "Unrecognised action 'explode'"),
    ("action=poweroff", "Unrecognised action 'poweroff'"),
    ("session_url=", "You have to enter session_url"),
    ("session_url= , ", "You have to enter session_url"),
    ("session_url=ftp://127.0.0.1", "must begin with https:// or http://"),
    ("session_url=EAR,ftp://127.0.0.1", "must begin with https:// or http://"),
    ("session_url=http://root:S3cr3tW0rd@127.0.0.1", "belong into username and password"),
    ("session_url=http://127.0.0.1:0", "port"),
    ("session_url=http://127.0.0.1:x", "port"),
    ("session_url=http://127.0.0.1:99999", "port"),
    ("session_url=http://", "has no host"),
    ("session_url=http://-oProxy=x", "has no host"),
    ("session_url=http://[::1", "has no ']'"),
    ("session_url=EAR/\u{e4}", "%XX"),
    ("username=", "You have to set login name"),
    ("plug=", "You have to enter plug number or machine identification"),
    ("ssl_ca_file=/etc/ssl/certs/ca-certificates.crt", "protect nothing"),
    ("ssl_secure=1", "protect nothing"),
    ("ssl_fingerprint=zz", "is not a sha-256"),
    ("power_timeout=1.5", "--power-timeout is not a valid time in seconds"),
    ("power_wait=2s", "--power-wait is not a valid time in seconds"),
    ("login_timeout=-1", "--login-timeout is not a valid time in seconds"),
    ("shell_timeout=x", "--shell-timeout is not a valid time in seconds"),
    ("delay=soon", "--delay is not a valid time in seconds"),
    ("stonith_status_sleep=", "--stonith-status-sleep is not a valid time in seconds"),
    ("retry_on=many", "--retry-on is not a valid integer"),
    ("debug_file=/nowhere/at/all", "Unable to open debug file"),
    ("password_script=exit 7", "password script"),
];

#[test]
fn malformed_options_on_standard_input() {
    let ear = Ear::new();
    for (lines, words) in WRONG {
        let text =
            format!("session_url=EAR\nlogin=root\npasswd=S3cr3tW0rd\nplug=node1\naction=off\n{lines}\n")
                .replace("EAR", &ear.url());
        let run = given(&text);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{lines}: {run:?}");
        let reasons: Vec<_> =
            run.stderr.lines().filter(|line| !line.contains("Please use '-h' for usage")).collect();
        assert_eq!(reasons.len(), 1, "{lines}: {run:?}");
        assert!(reasons[0].contains(words), "{lines}: {run:?}");
        assert!(!run.stderr.contains("S3cr3tW0rd"), "{lines}: {run:?}");
        ear.heard_nothing(lines);
    }
    let none = given(&format!("session_url={}\nlogin=root\nplug=node1\naction=off\n", ear.url()));
    none.is(1, "", "You have to enter password or password script");
    given(&format!("session_url={}\npasswd=x\nplug=node1\naction=off\n", ear.url())).is(
        1,
        "",
        "set login name",
    );
    given("login=root\npasswd=x\nplug=node1\naction=off\n").is(1, "", "You have to enter session_url");
    ear.heard_nothing("what is missing");
}

#[test]
fn malformed_options_on_the_command_line() {
    let ear = Ear::new();
    let url = ear.url();
    for (args, words) in [
        (&["--nonsense"][..], "option --nonsense not recognized"),
        (&["-Z"], "option -Z not recognized"),
        (&["-U", "x"], "option -U not recognized"),
        (&["--uuid=x"], "option --uuid not recognized"),
        (&["--pass", "S3cr3tW0rd"], "not a unique prefix"),
        (&["-s"], "requires argument"),
        (&["--ssl-insecure=maybe"], "must be true or false"),
        (&["-s", "gopher://x"], "must begin with"),
    ] {
        let base = ["-s", &url, "-l", "root", "-p", "S3cr3tW0rd", "-n", "node1", "-o", "off"];
        let run = called(&[&base[..], args].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{args:?}: {run:?}");
        assert!(run.stderr.contains(words), "{args:?}: {run:?}");
        assert!(!run.stderr.contains("S3cr3tW0rd"), "{args:?}: {run:?}");
        ear.heard_nothing(&format!("{args:?}"));
    }
}

#[test]
fn validate_all_needs_what_the_actions_need_and_asks_nobody() {
    let ear = Ear::new();
    let options = |lines: &str| format!("session_url={}\naction=validate-all\n{lines}\n", ear.url());
    given(&options("login=root\npasswd=x\nplug=a")).is(0, "", "");
    given(&options("login=root\npasswd_script=exit 7\nplug=a")).is(0, "", "");
    given(&options("login=root\nplug=a")).is(1, "", "You have to enter password");
    given(&options("passwd=x\nplug=a")).is(1, "", "set login name");
    given(&options("login=root\npasswd=x\nplug=a\nssl_fingerprint=1")).is(1, "", "sha-256");
    given("action=validate-all\nlogin=root\npasswd=x\nplug=a\n").is(1, "", "session_url");
    given(&options("login=root\npasswd=x\ndelay=x")).is(1, "", "--delay").is(1, "", "You have to enter plug");
    ear.heard_nothing("validate-all");
}

#[test]
fn any_bytes_end_in_status_1_and_nothing_sent() {
    let ear = Ear::new();
    let mut random = ringfence_tests::sim::SplitMix64::new(3);
    for _ in 0..40 {
        let noise: String = (0..60)
            .map(|_| char::from_u32(u32::try_from(random.below(0x2FF)).unwrap()).unwrap_or('\n'))
            .collect();
        // no user, so that no noise can make it right
        let run = given(&format!("{noise}\nsession_url={}\nlogin=\nplug=a\naction=off\n", ear.url()));
        assert_eq!((run.code, run.signal), (Some(1), None), "{noise:?} {run:?}");
        assert!(!run.stderr.contains("internal error"), "{noise:?} {run:?}");
        ear.heard_nothing("noise");
    }
}
