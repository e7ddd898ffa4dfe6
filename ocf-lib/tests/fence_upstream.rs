//! The same input to upstream's agents and to ours: texts, statuses, parameter tables.
//!
//! Needs the packages `fence-agents` (upstream's agents, which are run and never read) and
//! `libxml2-utils` (xmllint). Without them the tests fail and say so.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::disallowed_methods, reason = "a test")]

use ocf_lib::cmd::System;
use ocf_lib::deadline::SystemClock;
use ocf_lib::env::Env;
use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{World, run_in};
use quick_xml::events::{BytesStart, Event};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

fn program(path: &str) -> Command {
    assert!(Path::new(path).exists(), "{path} is missing: apt-get install fence-agents libxml2-utils");
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn example() -> String {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/fence_example");
    path.to_str().unwrap().to_owned()
}

/// Status, standard output, and the messages on standard error without time and empty lines.
fn outcome(mut command: Command, stdin: &str) -> (Option<i32>, String, Vec<String>) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            // "2026-11-21 02:45:08,114 ERROR: text" or "ERROR:root:text"
            match line.split_once(": ") {
                Some((head, text)) if head.starts_with("20") => {
                    format!("{}: {text}", head.rsplit(' ').next().unwrap_or_default())
                }
                _ => line.replacen(":root:", ": ", 1),
            }
        })
        .collect();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), messages)
}

#[test]
fn the_same_words_and_statuses() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = dir.path().join("theirs");
    let ours = dir.path().join("ours");
    // The state carries over from one line to the next, in both.
    std::fs::write(&theirs, "on").unwrap();
    std::fs::write(&ours, "on").unwrap();
    for lines in [
        "action=status",
        "action=monitor",
        "action=off",
        "action=off",
        "action=STATUS",
        "action",
        "action=status\r\n# comment\n\n",
        "action=\"status\"",
        "action=on",
        "action=on",
        "action=reboot",
        "",
        "action=list",
        "action=list-status",
        "action=diag",
        "action=enable",
        "action=",
        "action=bogus",
        "action=validate-all",
        "action=status\npower_timeout=1.5",
        "action=status\nlogin-timeout=2s",
        "action=status\nretry_on=x",
        "action=status\nquiet=maybe",
        "action=bogus\nquiet=1",
        "action=status\nnodename=n1",
        "action=monitor\naction=off\naction=status",
    ] {
        let upstream =
            outcome(program("/usr/sbin/fence_dummy"), &format!("status_file={}\n{lines}", theirs.display()));
        let mine = outcome(program(&example()), &format!("state_file={}\n{lines}", ours.display()));
        assert_eq!(mine, upstream, "{lines:?}");
    }
    for args in
        [&["--foo"][..], &["-Z"], &["--p", "x"], &["--action"], &["-o"], &["-o", ""], &["--act", "bogus"]]
    {
        let run = |path: &str| {
            let mut command = program(path);
            command.args(args);
            outcome(command, "")
        };
        assert_eq!(run(&example()), run("/usr/sbin/fence_dummy"), "{args:?}");
    }
}

#[test]
fn the_same_words_for_a_node_that_does_not_obey() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let tool = dir.path().join("ipmitool");
    std::fs::write(&tool, "#!/bin/sh\necho Chassis Power is on\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let stuck = dir.path().join("stuck");
    std::fs::write(&stuck, "stuck").unwrap();
    for action in ["off", "reboot", "on", "status"] {
        let lines = format!("action={action}\npower_timeout=1\npower_wait=0\n");
        let upstream = outcome(
            program("/usr/sbin/fence_ipmilan"),
            &format!("{lines}ip=h\nipmitool_path={}\n", tool.display()),
        );
        let mine = outcome(program(&example()), &format!("{lines}state_file={}\n", stuck.display()));
        assert_eq!(mine, upstream, "{action}");
    }
}

/// One parameter as a program that reads metadata sees it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameter {
    attributes: Vec<(String, String)>,
    syntax: String,
    content: Vec<(String, String)>,
    words: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Document {
    agent: Vec<(String, String)>,
    parameters: Vec<Parameter>,
    actions: Vec<Vec<(String, String)>>,
}

fn attributes(element: &BytesStart<'_>) -> Vec<(String, String)> {
    element
        .attributes()
        .map(|a| {
            let a = a.unwrap();
            let value = a.unescape_value().unwrap().into_owned();
            (String::from_utf8_lossy(a.key.as_ref()).into_owned(), value)
        })
        .collect()
}

fn parse(xml: &str) -> Document {
    let mut document = Document::default();
    let mut reader = quick_xml::Reader::from_str(xml);
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return document,
            Event::Start(element) | Event::Empty(element) => {
                let found = attributes(&element);
                let value = |name: &str| {
                    found.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
                };
                match element.name().as_ref() {
                    b"resource-agent" => document.agent = found,
                    b"parameter" => {
                        document.parameters.push(Parameter { attributes: found, ..Parameter::default() });
                    }
                    b"getopt" => document.parameters.last_mut().unwrap().syntax = value("mixed"),
                    b"content" => document.parameters.last_mut().unwrap().content = found,
                    b"option" => document.parameters.last_mut().unwrap().words.push(value("value")),
                    b"action" => document.actions.push(found),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn our_metadata<D: PowerDevice>(name: &str) -> String {
    let out = Buffer::default();
    run_in::<D>(World {
        argv: vec![name.into(), "-o".into(), "metadata".into()],
        env: Env::default(),
        stdin: Box::new(std::io::empty()),
        stdout: Box::new(out.clone()),
        stderr: Box::new(std::io::sink()),
        syslog: None,
        clock: Box::new(SystemClock),
        runner: Box::new(System),
    });
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Ours under `name` has the parameters and actions of upstream's agent `name`, and a valid form.
fn same_tables<D: PowerDevice>(name: &str) {
    let mut theirs = program(&format!("/usr/sbin/{name}"));
    theirs.args(["-o", "metadata"]);
    let theirs = parse(&outcome(theirs, "").1);
    let xml = our_metadata::<D>(name);
    let ours = parse(&xml);
    assert_eq!(ours.actions, theirs.actions, "{name}");
    assert_eq!(ours.agent.first(), theirs.agent.first(), "the name is the first attribute");
    for (mine, their) in ours.parameters.iter().zip(&theirs.parameters) {
        assert_eq!(mine, their, "{name}");
    }
    assert_eq!(ours.parameters.len(), theirs.parameters.len());

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metadata.xml");
    std::fs::write(&file, &xml).unwrap();
    let mut lint = program("/usr/bin/xmllint");
    lint.args(["--noout", "--relaxng", "/usr/share/cluster/relaxng/metadata.rng"]).arg(&file);
    let (status, _, messages) = outcome(lint, "");
    assert_eq!(status, Some(0), "{name}: {messages:?}");
}

/// An agent that has only a declaration.
macro_rules! declared {
    ($agent:ident, $name:literal, $spec:expr, { $($field:ident : $ty:ty => $def:expr),* $(,)? }) => {
        mod $agent {
            use super::*;

            fence_options! { pub struct Options { $($field: $ty => $def),* } }
            pub struct Agent;

            impl PowerDevice for Agent {
                const SPEC: FenceSpec = FenceSpec { ..$spec };
                type Options = Options;

                fn connect(options: Options, _: Call) -> Result<Self, FenceError> {
                    $(let _ = options.$field;)*
                    let _ = options;
                    Err(FenceError::unsupported("a declaration"))
                }
                fn status(&mut self, _: &Plug) -> Result<Power, FenceError> {
                    Ok(Power::Unknown)
                }
                fn set(&mut self, _: &Plug, _: Wanted) -> Result<(), FenceError> {
                    Ok(())
                }
            }
        }

        #[test]
        fn $agent() {
            same_tables::<$agent::Agent>($name);
        }
    };
}

fence_choices! {
    pub enum Auth { Md5 => "md5", Password => "password", None => "none" }
}
fence_choices! {
    pub enum Privilege {
        Callback => "callback", User => "user", Operator => "operator", Administrator => "administrator",
    }
}

macro_rules! ipmilan {
    ($agent:ident, $name:literal) => {
        declared!($agent, $name, FenceSpec {
            takes: &[Takes::Ip, Takes::Login, Takes::NoLogin, Takes::Password, Takes::NoPassword,
                     Takes::Method, Takes::Sudo, Takes::Diag],
            adjust: &[adjust("ipport").default("623"), adjust("power_wait").default("2")],
            symlinks: &[
                Symlink { name: "fence_ilo3", shortdesc: "", adjust: &[
                    adjust("lanplus").default("1"), adjust("power_wait").default("4")] },
                Symlink { name: "fence_ipmilanplus", shortdesc: "", adjust: &[adjust("lanplus").default("1")] },
            ],
            ..FenceSpec::new("fence_ipmilan", "s", "l")
        }, {
            auth: Option<Auth> => option("auth").short('A').argument("[auth]"),
            cipher: Option<u8> => option("cipher").short('C').argument("[cipher]").shown_as_text(),
            hexadecimal_kg: Option<Secret> => option("hexadecimal_kg").long("hexadecimal-kg").argument("[key]"),
            lanplus: bool => option("lanplus").short('P').default("0"),
            privlvl: Privilege => option("privlvl").short('L').argument("[level]").default("administrator"),
            target: Option<String> => option("target").argument("[targetaddress]"),
            ipmitool_path: String => option("ipmitool_path").long("ipmitool-path").argument("[path]")
                .default("/usr/bin/ipmitool").order(200),
            ipmitool_timeout: u32 => option("ipmitool_timeout").long("ipmitool-timeout").argument("[timeout]")
                .default("2").shown_as_text().order(201),
        });
    };
}

ipmilan!(ipmilan_tables, "fence_ipmilan");
ipmilan!(ilo3_tables, "fence_ilo3");
ipmilan!(ipmilanplus_tables, "fence_ipmilanplus");

declared!(
    apc_tables,
    "fence_apc",
    FenceSpec {
        takes: &[
            Takes::Ip,
            Takes::Login,
            Takes::Password,
            Takes::CommandPrompt,
            Takes::Ssh,
            Takes::Telnet,
            Takes::Plug,
            Takes::Switch
        ],
        adjust: &[
            adjust("cmd_prompt").default(r"['\n>', '\napc>']"),
            adjust("ssh_options").default("-1 -c blowfish")
        ],
        ..FenceSpec::new("fence_apc", "s", "l")
    },
    {}
);

declared!(
    apc_snmp_tables,
    "fence_apc_snmp",
    FenceSpec {
        takes: &[
            Takes::Ip,
            Takes::Login,
            Takes::NoLogin,
            Takes::Password,
            Takes::NoPassword,
            Takes::Plug,
            Takes::Snmp,
            Takes::SnmpVersion
        ],
        adjust: &[adjust("community").default("private"), adjust("snmp_version").default("1")],
        ..FenceSpec::new("fence_apc_snmp", "s", "l")
    },
    {}
);

declared!(redfish_tables, "fence_redfish", FenceSpec {
    takes: &[Takes::Ip, Takes::Login, Takes::Password, Takes::Ssl, Takes::Diag],
    adjust: &[adjust("ssl").default("1")],
    ..FenceSpec::new("fence_redfish", "s", "l")
}, {
    redfish_uri: String => option("redfish-uri").long("redfish-uri").argument("[uri]").default("/redfish/v1"),
    systems_uri: Option<String> => option("systems-uri").long("systems-uri").argument("[uri]"),
});

declared!(ilo_tables, "fence_ilo", FenceSpec {
    takes: &[Takes::Ip, Takes::Login, Takes::Password, Takes::Ssl, Takes::NoTls, Takes::Tls10],
    adjust: &[adjust("ssl").default("1"), adjust("login_timeout").default("10"), adjust("retry_on").default("3")],
    ..FenceSpec::new("fence_ilo", "s", "l")
}, {
    ribcl: Option<String> => option("ribcl").long("ribcl-version").short('r').argument("[version]"),
});

declared!(
    xenapi_tables,
    "fence_xenapi",
    FenceSpec {
        takes: &[
            Takes::Login,
            Takes::NoLogin,
            Takes::Password,
            Takes::NoPassword,
            Takes::Plug,
            Takes::SessionUrl
        ],
        ..FenceSpec::new("fence_xenapi", "s", "l")
    },
    {}
);

fence_choices! {
    pub enum KeyValue { Hash => "hash", Id => "id" }
}

declared!(scsi_tables, "fence_scsi", FenceSpec {
    takes: &[Takes::Fabric, Takes::OnTarget, Takes::Automatic, Takes::ForceOn],
    ..FenceSpec::new("fence_scsi", "s", "l")
}, {
    nodename: Option<String> => option("nodename").argument("[nodename]").hidden(),
    aptpl: bool => option("aptpl").short('a'),
    devices: Option<String> => option("devices").short('d').argument("[devices]"),
    key: Option<String> => option("key").short('k').argument("[key]"),
    plug: Option<String> => option("port").long("plug").short('n').argument("[nodename]").required(),
    readonly: bool => option("readonly"),
    suppress: bool => option("suppress-errors").long("suppress-errors"),
    logfile: Option<String> => option("logfile").short('f').order(5),
    corosync: String => option("corosync_cmap_path").long("corosync-cmap-path").argument("[path]")
        .default("/usr/sbin/corosync-cmapctl").order(300),
    key_value: String => option("key_value").long("key-value").argument("<id|hash>").default("id").order(300),
    sg_persist: String => option("sg_persist_path").long("sg_persist-path").argument("[path]")
        .default("/usr/bin/sg_persist").order(300),
    sg_turs: String => option("sg_turs_path").long("sg_turs-path").argument("[path]")
        .default("/usr/bin/sg_turs").order(300),
    vgs: String => option("vgs_path").long("vgs-path").argument("[path]").default("/sbin/vgs").order(300),
});
