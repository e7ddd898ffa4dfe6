//! `ringfence-sim` as others use it: started as a program, looked at through its folder and its control socket, spoken to by real
//! clients. Needs `ipmitool` and `fence-agents`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too"
)]

use ringfence_tests::sim::control::ask;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringfence-sim");

struct Sim {
    child: Child,
    ready: Value,
    folder: PathBuf,
}

impl Sim {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .args(["--json", "--with-parent", "--folder"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready, folder: folder.to_owned() }
    }

    fn ask(&self, request: impl std::borrow::Borrow<Value>) -> Value {
        ask(&self.folder.join("control"), request.borrow()).unwrap()
    }

    fn port(&self) -> String {
        self.ready["address"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }

    fn power(&self) -> String {
        std::fs::read_to_string(self.folder.join("power")).unwrap().trim().to_owned()
    }

    fn quit(mut self) {
        assert_eq!(self.ask(json!({"do": "quit"})), json!({"ok": true}));
        assert!(self.child.wait().unwrap().success());
        assert!(!self.folder.join("control").exists());
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ran(program: &str, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(args)
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// `ipmitool`, options of the session first.
fn ipmitool(sim: &Sim, options: &[&str], command: &str) -> (Option<i32>, String) {
    let port = sim.port();
    let mut args = vec!["-H", "127.0.0.1", "-p", &port, "-N", "1", "-R", "2"];
    args.extend(options);
    args.extend(["power", command]);
    ran("ipmitool", &args)
}

const SUITE17: &[&str] = &["-I", "lanplus", "-C", "17", "-U", "admin", "-P", "s3cret1"];

#[test]
fn a_bmc() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("bmc");
    let sim = Sim::start(&folder, &["ipmi"]);
    assert_eq!((sim.ready["device"].as_str(), sim.power().as_str()), (Some("ipmi"), "on"));
    let said = ipmitool(&sim, SUITE17, "status");
    assert_eq!((said.0, said.1.trim()), (Some(0), "Chassis Power is on"));
    assert_eq!(ipmitool(&sim, SUITE17, "off").0, Some(0));
    assert_eq!(sim.power(), "off");
    assert_eq!(sim.ask(json!({"do": "state"}))["controls"], json!([0]));
    // Somebody at the machine: by the socket, and by the file.
    assert_eq!(sim.ask(json!({"do": "set", "power": "on"}))["power"], "on");
    assert_eq!(sim.power(), "on");
    std::fs::write(folder.join("power"), "off\n").unwrap();
    assert!(ipmitool(&sim, SUITE17, "status").1.contains("is off"));
    assert!(
        ipmitool(&sim, &["-I", "lan", "-U", "user", "-P", "s3cret1", "-L", "user"], "status")
            .1
            .contains("is off")
    );
    let sessions = sim.ask(json!({"do": "sessions"}));
    assert_eq!((&sessions["open"], &sessions["opened"]), (&json!(0), &json!(4)), "{sessions}");
    sim.quit();
    // The power is on disk: the next one begins with it.
    let sim = Sim::start(&folder, &["ipmi"]);
    assert_eq!(sim.ask(json!({"do": "state"}))["power"], "off");
}

#[test]
fn a_bmc_with_a_key_and_accounts_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Sim::start(
        dir.path(),
        &[
            "ipmi",
            "--kg",
            "topsecret",
            "--suite",
            "17",
            "--user",
            "root:calvin:operator",
            "--slots",
            "2",
            "--off",
        ],
    );
    let account = ["-I", "lanplus", "-C", "17", "-U", "root", "-P", "calvin", "-L", "operator"];
    assert!(ipmitool(&sim, &[&account[..], &["-k", "topsecret"]].concat(), "status").1.contains("is off"));
    assert_ne!(ipmitool(&sim, &account, "status").0, Some(0), "without the key");
    assert_ne!(ipmitool(&sim, &[&account[..], &["-k", "topsecreT"]].concat(), "status").0, Some(0));
    assert_ne!(
        ipmitool(
            &sim,
            &["-I", "lanplus", "-C", "3", "-U", "root", "-P", "calvin", "-k", "topsecret"],
            "status"
        )
        .0,
        Some(0)
    );
    assert_ne!(ipmitool(&sim, &[SUITE17, &["-k", "topsecret"]].concat(), "status").0, Some(0));
}

#[test]
fn a_bmc_misbehaves_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Sim::start(dir.path(), &["ipmi", "--quirk", "lies", "--quirk", "no-control=0"]);
    assert_eq!(ipmitool(&sim, SUITE17, "off").0, Some(0));
    assert_eq!(sim.power(), "on", "it lies");
    assert_eq!(sim.ask(json!({"do": "fault", "no-control": true})), json!({"ok": true}));
    assert_ne!(ipmitool(&sim, SUITE17, "off").0, Some(0));
    let refused = sim.ask(json!({"do": "fault", "clear": true, "no-such": 1}));
    assert_eq!(refused["ok"], false);
    assert_ne!(ipmitool(&sim, SUITE17, "off").0, Some(0), "a request that is wrong changes nothing");
    sim.ask(json!({"do": "fault", "clear": true}));
    assert_eq!(ipmitool(&sim, SUITE17, "off").0, Some(0));
    assert_eq!(sim.power(), "off");
    // A path in front that loses datagrams by its seed, until it is healed.
    let other = dir.path().join("seeded");
    let sim = Sim::start(&other, &["ipmi", "--seed", "5"]);
    sim.ask(json!({"do": "fault", "clear": true}));
    assert_eq!(ipmitool(&sim, SUITE17, "off").0, Some(0));
    assert_eq!(sim.power(), "off");
}

#[test]
fn a_lights_out_processor() {
    let dir = tempfile::tempdir().unwrap();
    for (generation, agent) in [("ilo2", "/usr/sbin/fence_ilo2"), ("ilo1", "/usr/sbin/fence_ilo")] {
        let folder = dir.path().join(generation);
        let sim = Sim::start(&folder, &["ribcl", "--generation", generation]);
        let certificate = std::fs::read_to_string(sim.ready["certificate"].as_str().unwrap()).unwrap();
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        let act = |action: &str, password: &str| {
            ran(
                agent,
                &[
                    "-a",
                    "127.0.0.1",
                    "-u",
                    &sim.port(),
                    "-l",
                    "admin",
                    "-p",
                    password,
                    "--ssl-insecure",
                    "-o",
                    action,
                ],
            )
        };
        assert!(act("status", "s3cret1").1.contains("Status: ON"));
        assert_eq!(act("off", "s3cret1").0, Some(0));
        assert_eq!((sim.power().as_str(), &sim.ask(json!({"do": "state"}))["power"]), ("off", &json!("off")));
        assert_ne!(act("on", "wrong").0, Some(0));
        assert_eq!(sim.power(), "off");
        assert_eq!(sim.ask(json!({"do": "set", "power": "on"}))["power"], "on");
        assert_eq!(sim.power(), "on");
        sim.quit();
    }
}

#[test]
fn a_pool() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Sim::start(
        dir.path(),
        &["xenapi", "--hosts", "2", "--vm", "n1", "--vm", "n2=Suspended", "--user", "root:pw"],
    );
    let url = sim.ready["urls"][0].as_str().unwrap().to_owned();
    let act = |action: &str| {
        ran("/usr/sbin/fence_xenapi", &["-s", &url, "-l", "root", "-p", "pw", "-n", "n1", "-o", action])
    };
    assert!(act("status").1.contains("Status: ON"));
    assert_eq!(act("off").0, Some(0));
    let state = sim.ask(json!({"do": "state"}));
    assert_eq!(state["vms"]["n1"], json!({"power": "Halted", "runs": false}), "{state}");
    assert_eq!(state["vms"]["n2"]["power"], "Suspended");
    assert_eq!(sim.ask(json!({"do": "sessions"}))["opened"], 2);
    let state = sim.ask(json!({"do": "set", "vm": "n1", "power": "Running"}));
    assert_eq!(state["vms"]["n1"]["power"], "Running");
    assert!(act("status").1.contains("Status: ON"));
    for wrong in
        [json!({"vm": "n3", "power": "Running"}), json!({"vm": "n1", "power": "on"}), json!({"master": 2})]
    {
        let mut request = wrong.clone();
        request["do"] = json!("set");
        assert_eq!(sim.ask(request)["ok"], false, "{wrong}");
    }
    assert_eq!(sim.ask(json!({"do": "set", "master": 1}))["ok"], true);
    assert_ne!(act("status").0, Some(0), "the first host is a slave now");
    assert_eq!(sim.ask(json!({"do": "set", "host": 1, "life": "down"}))["ok"], true);
}

#[test]
fn what_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for (args, words) in [
        (&["ipmi"][..], "--folder"),
        (&["ipmi", "--folder", folder, "--listen", "0.0.0.0:0"], "not on loopback"),
        (&["ipmi", "--folder", folder, "--quirk", "charming"], "no quirk 'charming'"),
        (&["ipmi", "--folder", folder, "--user", "me"], "NAME:PASSWORD"),
        (&["ipmi", "--folder", "/proc/nowhere"], "/proc/nowhere"),
        (&["ribcl", "--folder", folder, "--generation", "ilo9"], "ilo9"),
        (&["xenapi", "--folder", folder, "--vm", "n1=Sleeping"], "'Sleeping' is none of"),
        (&["toaster"], "toaster"),
    ] {
        let (code, said) = ran(PROGRAM, args);
        assert!(code != Some(0) && said.contains(words), "{args:?} {code:?} {said}");
    }
    let sim = Sim::start(dir.path(), &["ipmi"]);
    let (code, said) = ran(PROGRAM, &["ipmi", "--folder", folder]);
    assert!(code == Some(1) && said.contains("another simulator has this folder"), "{said}");
    let (code, said) = ran(PROGRAM, &["ask", folder, r#"{"do":"state"}"#]);
    assert!(code == Some(0) && said.contains(r#""power":"on""#), "{said}");
    drop(sim);
    // The socket that a killed one leaves is no obstacle.
    let begun = Instant::now();
    Sim::start(dir.path(), &["ipmi"]).quit();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Bytes of the standard (SPC-4 6.15, 6.16): register, reserve, read, preempt.
#[test]
fn a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Sim::start(dir.path(), &["pr"]);
    let scsi = |node: &str, cdb: &str, out: &str| {
        sim.ask(json!({"do": "scsi", "initiator": format!("iqn.2026-01.org.lab:{node}"), "port": 1, "cdb": cdb, "out": out}))
    };
    let list = |old: u64, new: u64| format!("{old:016x}{new:016x}{}", "00".repeat(8));
    let out = |action: u8, kind: u8| format!("5f{action:02x}{kind:02x}00000000001800");
    // A disk's first word to a nexus may be that it was switched on.
    for node in ["n1", "n2"] {
        let first = scsi(node, "000000000000", "");
        assert!(first["ok"] == true, "{first}");
        assert_eq!(scsi(node, &out(0, 0), &list(0, if node == "n1" { 0xa } else { 0xb }))["status"], 0);
    }
    assert_eq!(
        scsi("n1", &out(1, 5), &list(0xa, 0))["status"],
        0,
        "reserve, write exclusive for registrants"
    );
    let keys = scsi("n2", "5e000000000000010000", "");
    assert!(keys["data"].as_str().unwrap().ends_with("000000000000000a000000000000000b"), "{keys}");
    let state = sim.ask(json!({"do": "state"}));
    assert_eq!(
        (state["registered"].as_array().unwrap().len(), &state["held"]["type"]),
        (2, &json!(5)),
        "{state}"
    );
    assert_eq!(scsi("n3", &out(1, 5), &list(0xc, 0))["status"], 0x18, "a stranger is refused");
    assert_eq!(scsi("n1", &out(4, 5), &list(0xa, 0xb))["status"], 0, "n2 is preempted");
    let state = sim.ask(json!({"do": "state"}));
    assert_eq!(state["registered"].as_array().unwrap().len(), 1, "{state}");
    for wrong in [
        json!({"do": "scsi"}),
        json!({"do": "scsi", "initiator": "a", "port": 1, "cdb": "5"}),
        json!({"do": "set"}),
    ] {
        assert_eq!(sim.ask(&wrong)["ok"], false, "{wrong}");
    }
    assert_eq!(sim.ask(json!({"do": "restart"}))["ok"], true);
}
