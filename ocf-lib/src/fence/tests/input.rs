//! Sections 1 and 2 of the contract: what is read, checked and refused, in which words.

use super::super::Power;
use super::fake::*;

const USAGE: &str = "ERROR: Please use '-h' for usage\n";

fn complaint(lines: &str) -> String {
    let ran = run::<true>(lab(&[("1", outlet(Power::On))]), stdin(lines));
    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.calls.is_empty(), "the device was asked");
    ran.err
}

#[test]
fn what_is_missing_is_told_in_the_known_words() {
    for (lines, words) in [
        ("ip=h\npasswd=p\nplug=1", "Failed: You have to set login name"),
        ("login=u\npasswd=p\nplug=1", "Failed: You have to enter fence address"),
        ("ip=h\nlogin=u\nplug=1", "Failed: You have to enter password, password script or identity file"),
        ("ip=h\nlogin=u\npasswd=p", "Failed: You have to enter plug number or machine identification"),
        (
            "ip=h\nlogin=u\nplug=1\nidentity_file=/dev/null/x",
            "Failed: You have to use identity file together with ssh connection (-x)",
        ),
        ("ip=h\nlogin=u\nplug=1\nssh=1\nidentity_file=/no/x", "Failed: Identity file /no/x does not exist"),
        ("action=bogus", "Failed: Unrecognised action 'bogus'"),
        ("action=", "Failed: Unrecognised action ''"),
        ("action=enable", "Failed: Unrecognised action 'enable'"),
    ] {
        assert_eq!(complaint(lines), format!("ERROR: {words}\n{USAGE}"), "{lines}");
    }
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    let with = |line: &str| complaint(&format!("ip=h\nlogin=u\npasswd=p\nplug=1\naction=status\n{line}"));
    for value in ["1.5", "2s", "-1", "", "x"] {
        assert_eq!(
            with(&format!("power_timeout={value}")),
            format!(
                "ERROR: Failed: The value you have entered for --power-timeout is not a valid time in seconds\n{USAGE}"
            )
        );
        assert_eq!(
            with(&format!("retry_on={value}")),
            format!(
                "ERROR: Failed: The value you have entered for --retry-on is not a valid integer\n{USAGE}"
            )
        );
    }
    assert_eq!(
        with("auth=xx"),
        format!(
            "ERROR: Failed: You have to enter a valid choice for --auth from the valid values: ['md5', 'password', 'none']\n{USAGE}"
        )
    );
    assert!(with("ipport=70000").contains("--ipport is not a valid integer"));
    assert!(with("patience=99999999999").contains("--patience is not valid"));
}

#[test]
fn validate_all_reports_everything_and_asks_nobody() {
    let ran = run::<true>(lab(&[]), stdin("action=validate-all\nauth=xx\ndelay=x"));
    assert_eq!(ran.status, 1);
    for words in [
        "set login name",
        "fence address",
        "or identity file",
        "plug number",
        "--auth",
        "--delay",
        "validate-all failed",
    ] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    assert!(ran.err.ends_with(USAGE));
    let ran = on_plugs(lab(&[]), "action=validate-all\nplug=1\npasswd_script=exit 1");
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert!(ran.calls.is_empty());
}

#[test]
fn actions_ignore_case_and_option_is_action() {
    assert_eq!(on_node(node(Power::On), "action=STATUS").out, "Status: ON\n");
    let ran = on_node(node(Power::On), "option=status");
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("Status: ON\n", "WARNING: option 'option' is deprecated: use 'action'\n")
    );
    assert_eq!(run::<false>(node(Power::On), args(&["-a", "h", "-o", "Status"])).out, "Status: ON\n");
}

#[test]
fn false_is_false() {
    let tls = |lines: &str| {
        on_plugs(lab(&[("1", outlet(Power::On))]), &format!("plug=1\naction=status\n{lines}")).said
    };
    for (lines, expected) in [
        ("ssl=0", "tls=Off"),
        ("ssl_insecure=0", "tls=Off"),
        ("ssl=1\nssl_insecure=0", "tls=Verified"),
        ("ssl=1", "tls=Verified"),
        ("ssl_secure=1", "tls=Verified"),
        ("ssl_insecure=1", "tls=Insecure"),
        ("ssl-insecure=true", "tls=Insecure"),
        ("ssl=1\nssl_insecure=1\nssl_secure=1", "tls=Verified"),
    ] {
        assert!(tls(lines).contains(&expected.to_owned()), "{lines}");
    }
    assert!(!on_node(node(Power::On), "action=bogus\nquiet=0").err.is_empty());
    assert!(on_node(node(Power::On), "action=bogus\nquiet=1").err.is_empty());
    let device = lab(&[]);
    let ran = run::<false>(device, stdin("ip=h\nplug=x\nport_as_ip=0\naction=list"));
    assert!(ran.said("ip=h"));
}

#[test]
fn plug_is_the_address_only_when_asked() {
    let said = |lines: &str| run::<false>(node(Power::On), stdin(lines)).said;
    assert!(said("action=status\nport_as_ip=1\nplug=bmc\nip=other").contains(&"ip=bmc".into()));
    // Pacemaker sends plug to every agent that has it in its metadata.
    assert!(said("action=status\nplug=node1\nnodename=node1\nip=bmc").contains(&"ip=bmc".into()));
    let ran = run::<false>(node(Power::On), args(&["-n", "3", "-o", "status", "-a", "h"]));
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (1, format!("ERROR: Parser error: option -n/--plug is not recognized\n{USAGE}").as_str())
    );
}

#[test]
fn ports_follow_option_agent_and_connection() {
    let plugs = |lines: &str| {
        on_plugs(lab(&[("1", outlet(Power::On))]), &format!("plug=1\naction=status\n{lines}")).said
    };
    assert!(plugs("").contains(&"ipport=23".into()));
    assert!(plugs("ssh=1").contains(&"ipport=22".into()));
    assert!(plugs("ssh=0").contains(&"ipport=23".into()));
    assert!(plugs("ssl=1").contains(&"ipport=443".into()));
    assert!(plugs("ssl=1\nipport=99").contains(&"ipport=99".into()));
    assert!(on_node(node(Power::On), "action=status").said("ipport=623"));
}

#[test]
fn a_symlink_brings_its_defaults() {
    let mut caller = stdin("ip=h\naction=status");
    caller.argv = vec!["/usr/sbin/fence_fake3"];
    let ran = run::<false>(node(Power::On), caller);
    assert!(ran.said("lanplus=true") && ran.said("wait=4s"), "{:?}", ran.said);
    assert!(on_node(node(Power::On), "action=status").said("lanplus=false"));
}

#[test]
fn the_password_script_overrides_and_its_failure_is_one() {
    let with = |lines: &str| on_node(node(Power::On), &format!("action=status\n{lines}"));
    assert!(with("passwd=given\npasswd_script=printf 'a b\\n\\n'").said("password=a b"));
    assert!(with("").said("password unset"));
    assert!(with("passwd=").said("password="));
    let ran = with("passwd=given\npasswd_script=echo half; echo no vault >&2; exit 3");
    assert_eq!(ran.status, 1);
    assert!(ran.calls.is_empty(), "the device was asked with a wrong password");
    assert!(ran.err.contains("exited 3: no vault"), "{}", ran.err);
}

#[test]
fn verbosity_and_secrets() {
    let ran = run::<false>(node(Power::On), args(&["-a", "h", "-o", "status", "-vvv", "-p", "hunter2"]));
    assert!(ran.said("verbose=3"));
    assert!(ran.err.contains("DEBUG: asking [set]\n") && !ran.err.contains("hunter2"), "{}", ran.err);
    assert_eq!(ran.out, "Status: ON\n", "standard output carries results only");
    assert!(on_node(node(Power::On), "action=status\nverbose=1").said("verbose=1"));
    assert!(on_node(node(Power::On), "action=status\nverbose=0").said("verbose=0"));
    assert!(on_node(node(Power::On), "action=status\nverbose_level=4").said("verbose=4"));
    let ran = on_node(node(Power::On), "action=status\nverbose_level=-2");
    assert_eq!(ran.status, 0, "logging must not decide whether a node is fenced");
    assert!(ran.err.contains("WARNING"), "{}", ran.err);
}

#[test]
fn command_line_errors_end_with_usage() {
    let ran = run::<false>(node(Power::On), args(&["--foo"]));
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (1, format!("ERROR: Parse error: option --foo not recognized\n{USAGE}").as_str())
    );
    let ran = run::<false>(node(Power::On), args(&["-o", "status", "-a", "h", "more"]));
    assert_eq!((ran.status, ran.err.as_str()), (0, "WARNING: Unused arguments on command line: ['more']\n"));
}

#[test]
fn an_argument_means_that_stdin_is_not_read() {
    let mut caller = args(&["-o", "status"]);
    caller.stdin = b"ip=h\n".to_vec();
    assert!(run::<false>(node(Power::On), caller).err.contains("fence address"));
}

#[test]
fn halo_and_cman_are_understood() {
    let caller = stdin("ipaddr=H\naction=off\nusername=U\npassword=P w\nssl-insecure=true");
    let ran = run::<false>(node(Power::On), caller);
    assert_eq!(ran.out, "Success: Powered OFF\n");
    assert!(ran.said("password=P w"));
    let ran = on_plugs(
        lab(&[("7", outlet(Power::On))]),
        "agent=fence_fake\nname=f\nport=7\nnodename=n\noption=off",
    );
    assert_eq!(ran.out, "Success: Powered OFF\n");
}

#[test]
fn a_debug_file_that_cannot_be_opened_is_an_error() {
    let ran = on_node(node(Power::On), "action=off\ndebug_file=/nonexistent/dir/file");
    assert_eq!(ran.status, 1);
    assert!(ran.calls.is_empty());
    assert!(ran.err.contains("Unable to open debug file /nonexistent/dir/file"), "{}", ran.err);
}

#[test]
fn an_empty_plug_is_none() {
    let device = lab(&[("1", outlet(Power::On)), ("2", outlet(Power::On))]);
    assert_eq!(on_plugs(device, "action=status\nplug=1,,2,").out, "Status: ON\n");
    let ran = on_plugs(lab(&[]), "action=off\nplug=,");
    assert_eq!(ran.status, 1, "off of nothing is no success: {}", ran.out);
}
