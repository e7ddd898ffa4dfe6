//! Whatever is malformed ends with status 1 and one line that says why, and no datagram leaves.

use std::net::UdpSocket;

use super::agent::{called, given};

/// A port where somebody listens who must hear nothing.
struct Ear(UdpSocket);

impl Ear {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    #[track_caller]
    fn heard_nothing(&self, about: &str) {
        // the program has ended: what it sent over loopback has arrived
        assert!(self.0.recv(&mut [0; 64]).is_err(), "something was sent for {about}");
    }
}

/// Lines that are wrong, and what the reason has to say.
const WRONG: &[(&str, &str)] = &[
    ("action=", "Unrecognised action ''"),
    ("action=explode", "Unrecognised action 'explode'"),
    ("action=list\naction=", "Unrecognised action ''"),
    ("ip=", "You have to enter fence address"),
    ("ip=\nport_as_ip=0\nplug=127.0.0.1", "You have to enter fence address"),
    ("ip=127.0.0.1 -o evil", "cannot resolve"),
    ("ip=fe80::1%nosuchif", "no such network interface"),
    ("ipport=x", "--ipport is not a valid integer"),
    ("ipport=-1", "--ipport is not a valid integer"),
    ("ipport=65536", "--ipport is not a valid integer"),
    ("ipport=1.5", "--ipport is not a valid integer"),
    ("auth=md2", "valid choice for --auth"),
    ("auth=", "valid choice for --auth"),
    ("privlvl=root", "valid choice for --privlvl"),
    ("method=both", "valid choice for --method"),
    ("lanplus=1\ncipher=x", "--cipher"),
    ("lanplus=1\ncipher=300", "--cipher"),
    ("lanplus=1\ncipher=-1", "--cipher"),
    ("lanplus=1\ncipher=3 -o evil", "--cipher"),
    ("lanplus=1\ncipher=99", "99"),
    ("hexadecimal_kg=abc", "odd number of digits"),
    ("hexadecimal_kg=zz", "no hexadecimal digit"),
    ("hexadecimal_kg=00112233445566778899aabbccddeeff0011223344", "longer than 20 bytes"),
    ("kg=123456789012345678901", "kg is longer than 20 bytes"),
    ("target=x", "target 'x' is not a slave address"),
    ("target=256", "is not a slave address"),
    ("target=0x20 -o evil", "is not a slave address"),
    ("target=-1", "is not a slave address"),
    ("ipmitool_timeout=x", "--ipmitool-timeout"),
    ("ipmitool_timeout=-1", "--ipmitool-timeout"),
    ("ipmitool_timeout=1e3", "--ipmitool-timeout"),
    ("ipmitool_timeout=inf", "--ipmitool-timeout"),
    ("ipmitool_timeout=99999999999999999999", "--ipmitool-timeout"),
    ("ipmitool_timeout=", "--ipmitool-timeout"),
    ("power_timeout=1.5", "--power-timeout is not a valid time in seconds"),
    ("power_wait=2s", "--power-wait is not a valid time in seconds"),
    ("login_timeout=-1", "--login-timeout is not a valid time in seconds"),
    ("shell_timeout=x", "--shell-timeout is not a valid time in seconds"),
    ("delay=soon", "--delay is not a valid time in seconds"),
    ("stonith_status_sleep=", "--stonith-status-sleep is not a valid time in seconds"),
    ("retry_on=many", "--retry-on is not a valid integer"),
    ("lanplus=1\npassword=123456789012345678901", "password is longer than 20 bytes"),
    ("lanplus=0\npassword=12345678901234567", "password is longer than 16 bytes"),
    ("username=12345678901234567", "username is longer than 16 bytes"),
    ("debug_file=/nowhere/at/all", "Unable to open debug file"),
    ("password_script=exit 7", "password script"),
];

#[test]
fn malformed_options_on_standard_input() {
    let ear = Ear::new();
    for (lines, words) in WRONG {
        let text = format!(
            "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=S3cr3tW0rd\naction=off\n{lines}\n",
            ear.port()
        );
        let run = given(&text);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{lines}: {run:?}");
        let reasons: Vec<_> =
            run.stderr.lines().filter(|line| !line.contains("Please use '-h' for usage")).collect();
        assert_eq!(reasons.len(), 1, "{lines}: {run:?}");
        assert!(reasons[0].contains(words), "{lines}: {run:?}");
        assert!(!run.stderr.contains("S3cr3tW0rd"), "{lines}: {run:?}");
        ear.heard_nothing(lines);
    }
}

#[test]
fn malformed_options_on_the_command_line() {
    let ear = Ear::new();
    let port = ear.port().to_string();
    for (args, words) in [
        (&["--nonsense"][..], "option --nonsense not recognized"),
        (&["-Z"], "option -Z not recognized"),
        (&["--pass", "S3cr3tW0rd"], "not a unique prefix"),
        (&["-n", "127.0.0.1"], "option -n/--plug is not recognized"),
        (&["-C"], "requires argument"),
        (&["--action"], "requires argument"),
        (&["--lanplus=maybe"], "must be true or false"),
        (&["-A", "md2"], "valid choice for --auth"),
        (&["--hexadecimal-kg=S3cr3tW0rd"], "no hexadecimal digit"),
        (&["--ipmitool-timeout=soon"], "--ipmitool-timeout"),
    ] {
        let base = ["-a", "127.0.0.1", "-u", &port, "-l", "admin", "-p", "S3cr3tW0rd", "-o", "off"];
        let run = called(&[&base[..], args].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{args:?}: {run:?}");
        assert!(run.stderr.contains(words), "{args:?}: {run:?}");
        assert!(!run.stderr.contains("S3cr3tW0rd"), "{args:?}: {run:?}");
        ear.heard_nothing(&format!("{args:?}"));
    }
}

#[test]
fn validate_all_tells_every_fault_and_sends_nothing() {
    let ear = Ear::new();
    let options =
        |lines: &str| format!("ip=127.0.0.1\nipport={}\naction=validate-all\n{lines}\n", ear.port());
    given(&options("login=admin\npasswd=x\nlanplus=1")).is(0, "", "");
    let run = given(&options("privlvl=root\nauth=md2\ndelay=x"));
    run.is(1, "", "--privlvl").is(1, "", "--auth").is(1, "", "--delay");
    given(&options("hexadecimal_kg=abc")).is(1, "", "odd number");
    given(&options("target=zz")).is(1, "", "slave address");
    given(&options("ipmitool_timeout=x")).is(1, "", "--ipmitool-timeout");
    given(&options("lanplus=1\ncipher=99")).is(1, "", "99");
    given(&options("lanplus=1\npasswd=123456789012345678901")).is(1, "", "longer than 20 bytes");
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
        // an address that is none, so that no noise can make it a right one
        let run = given(&format!("{noise}\nip=\nplug=\nport_as_ip=0\nipport={}\naction=off\n", ear.port()));
        assert_eq!((run.code, run.signal), (Some(1), None), "{noise:?} {run:?}");
        assert!(!run.stderr.contains("internal error"), "{noise:?} {run:?}");
        ear.heard_nothing("noise");
    }
}
