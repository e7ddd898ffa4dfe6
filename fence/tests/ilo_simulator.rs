//! The Lights-Out simulator before the client that it stands for: upstream's `fence_ilo` and `fence_ilo2` (packages `fence-agents` and
//! `gnutls-bin`). What they report and do is held against the simulator's own power and log.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test starts programs and may panic"
)]

use ringfence_tests::sim::ribcl::{Generation, Ribcl, Settings};
use std::io::Write;
use std::process::{Command, Stdio};

struct Bed {
    sim: Ribcl,
    _folder: tempfile::TempDir,
}

fn bed(generation: Generation) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    Bed { sim: Ribcl::start(Settings::new(generation, folder.path())).unwrap(), _folder: folder }
}

/// Status and standard output.
fn upstream(sim: &Ribcl, name: &str, lines: &str) -> (Option<i32>, String) {
    let mut child = Command::new(format!("/usr/sbin/{name}"))
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = format!(
        "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=s3cret1\nssl_insecure=1\nlogin_timeout=40\nshell_timeout=20\n{lines}\n",
        sim.address().port()
    );
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn upstreams_agents_switch_the_first_generations() {
    for (generation, name) in
        [(Generation::Riloe, "fence_ilo"), (Generation::Ilo1, "fence_ilo"), (Generation::Ilo2, "fence_ilo2")]
    {
        let bed = bed(generation);
        let sim = &bed.sim;
        assert_eq!(upstream(sim, name, "action=status"), (Some(0), "Status: ON\n".into()), "{generation:?}");
        assert_eq!(upstream(sim, name, "action=off").0, Some(0), "{generation:?} {:?}", sim.log());
        assert!(!sim.is_on(), "{generation:?}");
        assert_eq!(upstream(sim, name, "action=status"), (Some(2), "Status: OFF\n".into()), "{generation:?}");
        assert_eq!(upstream(sim, name, "action=on").0, Some(0), "{generation:?} {:?}", sim.log());
        assert!(sim.is_on(), "{generation:?}");
    }
}

#[test]
fn upstreams_agent_meets_a_refused_login() {
    let bed = bed(Generation::Ilo2);
    let (code, _) = upstream(&bed.sim, "fence_ilo2", "action=status\npasswd=wrong");
    assert_eq!(code, Some(1));
    assert_eq!(bed.sim.log().iter().filter(|line| *line == "login refused").count(), 1);
}

/// What `python-hpilo` is to do, and print: one line for each step.
const STEPS: &str = r#"
import sys, hpilo
def ilo(user, password):
    return hpilo.Ilo("127.0.0.1", user, password, timeout=40, port=int(sys.argv[1]))
it = ilo("admin", "s3cret1")
print(it.get_fw_version()["management_processor"], it.protocol == hpilo.ILO_HTTP)
print(it.get_host_power_status())
it.hold_pwr_btn()
print(it.get_host_power_status())
it.press_pwr_btn()
print(it.get_host_power_status())
it.set_host_power(False)
print(it.get_host_power_status())
for step, call in (
    ("off", lambda: it.set_host_power(False)),
    ("password", lambda: ilo("admin", "wrong").get_host_power_status()),
    ("privilege", lambda: ilo("looker", "s3cret1").set_host_power(True)),
):
    try:
        call()
        print(step, "nothing")
    except hpilo.IloError as why:
        print(step, type(why).__name__, why)
"#;

#[test]
#[ignore = "needs python-hpilo from PyPI: RINGFENCE_HPILO names a python that has it"]
fn python_hpilo_switches_every_generation() {
    let python = std::env::var("RINGFENCE_HPILO").expect("RINGFENCE_HPILO is not set");
    for generation in
        [Generation::Ilo1, Generation::Ilo2, Generation::Ilo3, Generation::Ilo4, Generation::Ilo5]
    {
        let bed = bed(generation);
        let output = Command::new(&python)
            .args(["-c", STEPS, &bed.sim.address().port().to_string()])
            .env("PYTHONWARNINGS", "ignore")
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<_> = stdout.lines().collect();
        println!("{generation:?} {stdout}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines.len(), 8, "{generation:?} {output:?}");
        assert!(lines[0].ends_with(if generation.speaks_http() { "True" } else { "False" }), "{lines:?}");
        assert_eq!(lines[1..5], ["ON", "OFF", "ON", "OFF"], "{generation:?}");
        assert!(lines[5].contains("already OFF"), "{lines:?}");
        assert!(lines[6].starts_with("password IloLoginFailed"), "{lines:?}");
        assert!(lines[7].contains("RESET_SERVER_PRIV"), "{lines:?}");
        assert!(!bed.sim.is_on());
    }
}
