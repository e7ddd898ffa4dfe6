//! Each parameter, under each of its names, on standard input and on the command line.

use std::path::Path;

use ringfence_tests::sim::bmc::{Bmc, Config, Quirks};
use ringfence_tests::sim::ipmi_sim::IpmiSim;

use super::agent::{PROGRAM, at, called, given, linked, run};

const ON: &str = "Status: ON\n";

fn bmc(config: Config) -> Bmc {
    Bmc::start(config).unwrap()
}

#[test]
fn old_and_new_names_and_the_command_line() {
    let sim = IpmiSim::start(None).unwrap();
    let port = sim.address().port();
    for text in [
        format!("ip=127.0.0.1\nipport={port}\nusername=admin\npassword=s3cret1\naction=status\n"),
        format!("ipaddr=127.0.0.1\nudpport={port}\nlogin=admin\npasswd=s3cret1\noption=status\n"),
        format!(
            "ip=127.0.0.1\nipport={port}\nlogin=admin\npassword=s3cret1\naction=STATUS\nlanplus=1\nprivlvl=Operator"
        ),
        format!(
            "port_as_ip=1\nplug=127.0.0.1\nip=192.0.2.1\nipport={port}\nlogin=admin\npasswd=s3cret1\naction=status\n"
        ),
        format!("port-as-ip=1\nport=127.0.0.1\nipport={port}\nlogin=admin\npasswd=s3cret1\naction=status\n"),
        // what Pacemaker adds
        format!(
            "nodename=n1\nplug=n1\nip=127.0.0.1\nipport={port}\nlogin=admin\npasswd=s3cret1\naction=status\n"
        ),
        format!(
            "ip=127.0.0.1\nipport={port}\nlogin=admin\npasswd=s3cret1\naction=status\nsudo=1\nipmitool_path=/nowhere\nlanplus=1\nipmitool-timeout=1\nmethod=CYCLE\n"
        ),
    ] {
        let run = given(&text);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ON), "{text} {run:?}");
    }
    let port = port.to_string();
    for args in [
        &["-a", "127.0.0.1", "-u", &port, "-l", "admin", "-p", "s3cret1", "-o", "status"][..],
        &[
            "-P",
            "-C",
            "3",
            "-L",
            "operator",
            "-a",
            "127.0.0.1",
            "-u",
            &port,
            "-l",
            "admin",
            "-p",
            "s3cret1",
            "-o",
            "status",
        ],
        &[
            "--ip=127.0.0.1",
            "--ipport",
            &port,
            "--username=admin",
            "--password=s3cret1",
            "--action=status",
            "--lanplus",
            "--privlvl=user",
        ],
        &[
            "--ip=127.0.0.1",
            "--ipport",
            &port,
            "--user=admin",
            "--password=s3cret1",
            "--act=status",
            "-A",
            "MD5",
            "--ipmitool-timeout=1",
        ],
        &[
            "-n",
            "127.0.0.1",
            "--port-as-ip",
            "-u",
            &port,
            "-l",
            "admin",
            "-S",
            "echo s3cret1",
            "-o",
            "status",
            "-m",
            "cycle",
        ],
    ] {
        called(args).is(0, ON, "");
    }
    assert!(sim.commands().is_empty(), "{:?}", sim.commands());
    assert_eq!(sim.open_sessions().unwrap(), 0);
}

#[test]
fn cipher() {
    let sim = IpmiSim::start(None).unwrap();
    let both = bmc(Config::default());
    let status =
        |address, lines: &str| given(&at(address, &format!("action=status\nlanplus=1\nverbose=1\n{lines}")));
    status(sim.address(), "").is(0, ON, "cipher suite 3");
    status(both.address(), "").is(0, ON, "cipher suite 17");
    status(both.address(), "cipher=3").is(0, ON, "cipher suite 3");
    status(both.address(), "cipher=17").is(0, ON, "cipher suite 17");
    status(sim.address(), "cipher=17").is(1, "", "cipher suite not supported by the bmc: tried 17");
    status(both.address(), "cipher=99").is(1, "", "99");
    // a bmc that drops what it does not know costs two datagrams, not the login
    let old = bmc(Config {
        suites: vec![3],
        quirks: Quirks { drops_unknown_suites: true, mute_cipher_suites: true, ..Quirks::default() },
        ..Config::default()
    });
    let run = status(old.address(), "");
    assert!(run.is(0, ON, "cipher suite 3").took.as_millis() < 900, "{run:?}");
}

#[test]
fn auth_of_version_1_5() {
    let sim = IpmiSim::start(None).unwrap();
    for auth in ["", "auth=md5", "auth=PASSWORD", "auth=none"] {
        let run = given(&at(sim.address(), &format!("action=status\nverbose=1\n{auth}")));
        run.is(0, ON, "");
        // the first answer of a session has the number of the activation's in ipmi_sim: taken all the same
        assert_eq!((run.counted("round trips"), run.counted("retransmissions")), (6, 0), "{auth} {run:?}");
    }
    let strict = bmc(Config { auths: vec![2], ..Config::default() });
    given(&at(strict.address(), "action=status\nauth=md5")).is(0, ON, "");
    given(&at(strict.address(), "action=status\nauth=none")).is(
        1,
        "",
        "does not offer this ipmi 1.5 authentication",
    );
    assert_eq!(strict.open_sessions(), 0);
}

#[test]
fn kg_in_text_and_in_hexadecimal() {
    let sim = IpmiSim::start(Some("0123456789")).unwrap();
    let status = |lines: &str| given(&at(sim.address(), &format!("action=status\nlanplus=1\n{lines}")));
    status("kg=0123456789").is(0, ON, "");
    status("hexadecimal_kg=30313233343536373839").is(0, ON, "");
    status("hexadecimal-kg=0x30313233343536373839").is(0, ON, "");
    status("kg=n0tTheKey").is(1, "", "wrong bmc key Kg");
    status("").is(1, "", "demands a key Kg");
    let twenty = bmc(Config { kg: Some(b"0123456789abcdefghij".to_vec()), ..Config::default() });
    given(&at(twenty.address(), "action=status\nlanplus=1\nkg=0123456789abcdefghij")).is(0, ON, "");
    let args = ["-P", "-a", "127.0.0.1", "-l", "admin", "-p", "s3cret1", "-o", "status", "-u"];
    let port = twenty.address().port().to_string();
    called(&[&args[..], &[&port, "--hexadecimal-kg=303132333435363738396162636465666768696A"]].concat())
        .is(0, ON, "");
}

#[test]
fn privilege() {
    let sim = IpmiSim::start(None).unwrap();
    let bmc = bmc(Config::default());
    for version in ["lanplus=0", "lanplus=1"] {
        let as_user = |address, lines: &str| given(&at(address, &format!("{version}\n{lines}")));
        as_user(bmc.address(), "login=oper\naction=status").is(1, "", "try privlvl=operator");
        as_user(bmc.address(), "login=oper\nprivlvl=operator\naction=off").is(
            0,
            "Success: Powered OFF\n",
            "",
        );
        bmc.set_power(true);
        as_user(bmc.address(), "login=user\nprivlvl=user\naction=status").is(0, ON, "");
        as_user(sim.address(), "login=user\nprivlvl=user\naction=off").is(
            1,
            "",
            "insufficient privilege for power off",
        );
        as_user(bmc.address(), "login=user\nprivlvl=user\naction=off").is(
            1,
            "",
            "insufficient privilege for power off",
        );
    }
    assert!(bmc.is_on() && sim.is_on());
    assert_eq!((bmc.open_sessions(), sim.open_sessions().unwrap()), (0, 0));
}

#[test]
fn target_behind_the_bmc() {
    let bmc = bmc(Config { bridged: [(0x72, true)].into(), ..Config::default() });
    for (target, action, want) in [
        ("0x72", "status", ON),
        ("114", "off", "Success: Powered OFF\n"),
        ("0X72", "off", "Success: Already OFF\n"),
        ("0x72", "on", "Success: Powered ON\n"),
    ] {
        for version in ["lanplus=0", "lanplus=1"] {
            if version == "lanplus=1" || action == "status" {
                given(&at(bmc.address(), &format!("{version}\ntarget={target}\naction={action}")))
                    .is(0, want, "");
            }
        }
    }
    assert_eq!((bmc.bridged_is_on(0x72), bmc.is_on()), (Some(true), true));
    given(&at(bmc.address(), "lanplus=1\ntarget=0x74\naction=status")).is(1, "", "83h");
    let sim = IpmiSim::start(None).unwrap();
    given(&at(sim.address(), "lanplus=1\ntarget=0x30\naction=off")).is(0, "Success: Powered OFF\n", "");
}

#[test]
fn ipv6() {
    let bmc = bmc(Config { listen: "[::1]:0".parse().unwrap(), ..Config::default() });
    let port = bmc.address().port();
    for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
        for version in [0, 1] {
            given(&format!(
                "ip={host}\nipport={port}\nlogin=admin\npasswd=s3cret1\nlanplus={version}\naction=status"
            ))
            .is(0, ON, "");
        }
    }
}

#[test]
fn password_script() {
    let bmc = bmc(Config::default());
    let with = |lines: &str| {
        given(&format!(
            "ip=127.0.0.1\nipport={}\nlogin=admin\n{lines}\naction=status\nlanplus=1",
            bmc.address().port()
        ))
    };
    with("password_script=printf 's3cret1 \\n\\n'").is(0, ON, "");
    with("passwd_script=echo s3cret1\npasswd=overridden").is(0, ON, "");
    let before = bmc.requests();
    with("passwd_script=echo s3cret1; echo because >&2; exit 3").is(
        1,
        "",
        "because; nothing was sent to the device",
    );
    with("passwd_script=/nowhere/at/all").is(1, "", "nothing was sent to the device");
    assert_eq!(bmc.requests(), before);
    // an empty password is sent, as upstream does
    with("").is(1, "", "wrong password");
}

#[test]
fn other_names_and_their_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let bmc = bmc(Config { auths: vec![2, 4, 0], ..Config::default() });
    for (name, lanplus, wait) in [
        ("fence_ilo3", true, "4"),
        ("fence_ilo4", true, "2"),
        ("fence_ilo5", true, "2"),
        ("fence_ipmilanplus", true, "2"),
        ("fence_imm", false, "2"),
        ("fence_idrac", false, "2"),
        ("fence_ipmilan", false, "2"),
    ] {
        let path = if name == "fence_ipmilan" {
            Path::new(PROGRAM).to_path_buf()
        } else {
            linked(directory.path(), name)
        };
        let status = run(&path, &[], &at(bmc.address(), "action=status\nverbose=1"));
        status.is(0, ON, "session closed");
        assert_eq!(status.stderr.contains("cipher suite 17"), lanplus, "{name} {status:?}");
        let turned = run(
            &path,
            &[],
            &at(bmc.address(), &format!("action=status\nverbose=1\nlanplus={}", u8::from(!lanplus))),
        );
        assert_eq!(turned.stderr.contains("cipher suite 17"), !lanplus, "{name} {turned:?}");
        let metadata = run(&path, &[], "action=metadata").stdout;
        assert!(metadata.contains(&format!("<resource-agent name=\"{name}\"")), "{metadata}");
        let default = |parameter: &str| {
            let from = metadata.find(&format!("<parameter name=\"{parameter}\"")).unwrap();
            let rest = &metadata[from..from + metadata[from..].find("</parameter>").unwrap()];
            rest.split("default=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
        };
        assert_eq!(default("power_wait").as_deref(), Some(wait), "{name}");
        assert_eq!(default("lanplus").as_deref(), Some(if lanplus { "1" } else { "0" }), "{name}");
    }
}
