//! A whole agent program (the example), called as cluster managers call it.

#![allow(clippy::disallowed_methods, reason = "the test is the caller")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Built by cargo beside this test.
fn lamp() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/lamp")
}

/// Nothing in the environment, as rgmanager has it; stdin is /dev/null.
fn call(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn lives_from_start_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lamp");
    let env = [("OCF_RESKEY_socket", file.to_str().unwrap())];
    let codes: Vec<i32> =
        ["monitor", "start", "start", "monitor", "status", "stop", "stop", "monitor", "validate-all"]
            .iter()
            .map(|action| code(&call(&lamp(), &[action], &env)))
            .collect();
    assert_eq!(codes, [7, 0, 0, 0, 0, 0, 0, 7, 0]);
}

#[test]
fn an_unknown_action_is_3_before_anything_else_and_none_is_2_with_usage() {
    assert_eq!(code(&call(&lamp(), &["dance"], &[])), 3);
    assert_eq!(code(&call(&lamp(), &["promote"], &[])), 3, "known to OCF, not declared by this agent");
    let none = call(&lamp(), &[], &[]);
    assert_eq!(code(&none), 2);
    assert!(text(&none.stderr).starts_with("usage: Lamp {start|stop|monitor|"), "{}", text(&none.stderr));
}

#[test]
fn a_command_is_given_by_hand_with_its_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lamp");
    let socket = format!("socket={}", file.display());
    let shown = call(&lamp(), &["show", &socket, "watts=60"], &[]);
    assert_eq!((code(&shown), text(&shown.stdout).as_str()), (0, "off, 60 watts\n"));
    std::fs::write(&file, "").unwrap();
    assert_eq!(text(&call(&lamp(), &["show", &socket], &[]).stdout), "on, 40 watts\n");

    let json = call(&lamp(), &["show", "--json", &socket], &[]);
    assert_eq!((code(&json), text(&json.stdout).as_str()), (0, "{\"state\":\"on\",\"watts\":40}\n"));

    let misspelt = call(&lamp(), &["show", &socket, "wats=60"], &[]);
    let told = "wats=60 is no parameter: NAME=VALUE is, with one of socket, watts";
    assert_eq!((code(&misspelt), text(&misspelt.stderr).starts_with(told)), (2, true));
    let missing = call(&lamp(), &["show"], &[]);
    assert_eq!((code(&missing), text(&missing.stdout).as_str()), (6, ""));
    let usage = text(&call(&lamp(), &["usage"], &[]).stdout);
    assert!(usage.contains("\nLamp show [--json] [NAME=VALUE ...]: says how bright it is\n"), "{usage}");
    assert_eq!(code(&call(&lamp(), &["command"], &[])), 3, "a word of the framework's own");
}

#[test]
fn extra_arguments_are_ignored() {
    assert_eq!(code(&call(&lamp(), &["meta-data", "more", "--words"], &[])), 0);
}

#[test]
fn a_missing_parameter_is_6_with_a_one_line_reason_for_start_and_nothing_for_stop_and_probe() {
    let start = call(&lamp(), &["start"], &[]);
    assert_eq!(code(&start), 6);
    let stderr = text(&start.stderr);
    assert!(stderr.contains("ocf-exit-reason:parameter socket: must be set\n"), "{stderr}");
    assert_eq!([code(&call(&lamp(), &["stop"], &[])), code(&call(&lamp(), &["monitor"], &[]))], [0, 7]);
    let recurring = call(&lamp(), &["monitor"], &[("OCF_RESKEY_CRM_meta_interval", "10000")]);
    assert_eq!(code(&recurring), 1);
}

#[test]
fn a_value_cannot_forge_an_exit_reason() {
    let start = call(&lamp(), &["start"], &[("OCF_RESKEY_socket", "x ocf-exit-reason:all is well")]);
    let stderr = text(&start.stderr);
    assert_eq!(stderr.matches("ocf-exit-reason:").count(), 1, "{stderr}");
}

#[test]
fn another_major_version_is_refused() {
    assert_eq!(code(&call(&lamp(), &["start"], &[("OCF_RA_VERSION_MAJOR", "2")])), 3);
}

#[test]
fn validation_speaks_json_where_a_program_reads_it() {
    let out =
        call(&lamp(), &["validate-all"], &[("OCF_OUTPUT_FORMAT", "json"), ("OCF_RESKEY_watts", "many")]);
    assert_eq!(code(&out), 6);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(value["valid"], false);
    let named: Vec<&str> =
        value["findings"].as_array().unwrap().iter().map(|f| f["parameter"].as_str().unwrap()).collect();
    assert_eq!(named, ["socket", "watts"]);
}

#[test]
fn metadata_comes_with_stdin_and_stderr_closed() {
    let mut command = Command::new(lamp());
    command.arg("meta-data").env_clear().stdout(Stdio::piped());
    // SAFETY: close is async-signal-safe and these descriptors are the child's own copies.
    unsafe {
        command.pre_exec(|| {
            libc::close(0);
            libc::close(2);
            Ok(())
        });
    }
    let out = command.output().unwrap();
    assert_eq!(code(&out), 0);
    assert!(text(&out.stdout).trim_end().ends_with("</resource-agent>"));
}

#[test]
fn output_that_nobody_takes_is_an_error_not_a_panic() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(lamp())
        .arg("meta-data")
        .env_clear()
        .stdout(full)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn the_same_binary_speaks_lsb_heartbeat_and_rgmanager_by_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let link = |folder: &str, name: &str| {
        let path = dir.path().join(folder).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(lamp(), &path).unwrap();
        path
    };
    let file = dir.path().join("lamp");
    let env = [("OCF_RESKEY_socket", file.to_str().unwrap())];

    let lsb = link("init.d", "lamp");
    assert_eq!(code(&call(&lsb, &["status"], &env)), 3);
    assert_eq!(code(&call(&lsb, &["restart"], &env)), 0);
    assert_eq!(code(&call(&lsb, &["status"], &env)), 0);

    let heartbeat = link("ha.d/resource.d", "Lamp");
    let status = call(&heartbeat, &["whatever", "status"], &env);
    assert_eq!((code(&status), text(&status.stdout).as_str()), (0, "running\n"));
    assert_eq!(code(&call(&heartbeat, &["whatever", "stop"], &env)), 0);
    assert_eq!(text(&call(&heartbeat, &["whatever", "status"], &env).stdout), "stopped\n");

    let rgmanager = link("share/cluster", "lamp.sh");
    let xml = text(&call(&rgmanager, &["meta-data"], &[]).stdout);
    assert!(
        xml.starts_with("<?xml")
            && xml.contains("version=\"rgmanager 2.0\"")
            && xml.contains("primary=\"1\""),
        "{xml}"
    );
    assert_eq!(code(&call(&rgmanager, &["recover"], &env)), 0);
    assert_eq!(code(&call(&rgmanager, &["verify-all"], &env)), 0);
    assert_eq!(code(&call(&lamp(), &["recover"], &env)), 3, "only rgmanager has it");
}

#[test]
fn a_trace_is_written_where_crm_resource_trace_looks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lamp");
    let env = [
        ("OCF_RESKEY_socket", file.to_str().unwrap()),
        ("OCF_RESKEY_trace_ra", "1"),
        ("HA_VARLIB", dir.path().to_str().unwrap()),
        ("OCF_RESOURCE_INSTANCE", "l1"),
    ];
    assert_eq!(code(&call(&lamp(), &["start"], &env)), 0);
    let entry = std::fs::read_dir(dir.path().join("trace_ra/Lamp")).unwrap().next().unwrap().unwrap();
    let content = std::fs::read_to_string(entry.path()).unwrap();
    assert!(content.contains("OCF_RESKEY_socket=") && content.contains("start ends with 0"), "{content}");
}
