//! The Lights-Out simulator before the client that it stands for: upstream's `fence_ilo` and `fence_ilo2` (packages `fence-agents` and
//! `gnutls-bin`). What they report and do is held against the simulator's own power and log.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
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
        "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=s3cret1\nssl_insecure=1\n{lines}\n",
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
