//! The simulated pool before clients that others wrote: the `XenAPI` module of xapi's own project, and upstream's `fence_xenapi`.
//!
//! The module is the one that the package `fence-agents` brings (`/usr/share/fence/XenAPI.py`); `RINGFENCE_XENAPI_PYTHON` is an
//! interpreter that has another one, a newer one, say.

use std::path::Path;
use std::time::Instant;

use ringfence_tests::sim::xenapi::{Pool, Settings, Vm};

use super::agent::{Run, command, ended, run, started};

const SCRIPT: &str = include_str!("client.py");

/// What every step of the script must say.
const SAID: &str = "\
wrong: failure SESSION_AUTHENTICATION_FAILED root Authentication failure
login: None
names: [REF]
none: []
record: ('Running', False, False, 'a machine & its <description>')
host: xs1
uuid: True
no uuid: failure UUID_INVALID VM x
all: True
off: 
state: Halted
off twice: failure VM_BAD_POWER_STATE REF running, paused, suspended halted
on: 
pause: 
start paused: failure VM_BAD_POWER_STATE REF halted paused
unpause: 
suspend: 
resume: 
task: ('success', '', 1.0)
destroy: 
failed: ('failure', 'VM_BAD_POWER_STATE')
destroy: 
too few: ['MESSAGE_PARAMETER_COUNT_MISMATCH', 'VM.start']
unknown: failure MESSAGE_METHOD_UNKNOWN VM.explode
handle: failure HANDLE_INVALID VM REF
logout: None
slave: failure HOST_IS_SLAVE 127.0.0.1
local: Success
of slave: HOST_IS_SLAVE
local logout: Success
reader: failure RBAC_PERMISSION_DENIED VM.start No permission in user session
logout: None
";

fn python(pool: &Pool, tls: &str) -> Run {
    let own = std::env::var_os("RINGFENCE_XENAPI_PYTHON");
    let mut command = command(Path::new(own.as_deref().unwrap_or("/usr/bin/python3".as_ref())));
    if own.is_none() {
        command.env("PYTHONPATH", "/usr/share/fence");
    }
    command.args(["-c", SCRIPT, &pool.url(0), &pool.url(1), tls]);
    let begun = Instant::now();
    ended(started(command, ""), begun)
}

/// References differ from run to run.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("OpaqueRef:") {
        out.push_str(&rest[..at]);
        out.push_str("REF");
        rest = rest[at + 10..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
    }
    (out + rest).replace("['REF']", "[REF]")
}

#[test]
fn the_real_client_sees_a_pool() {
    for tls in [false, true] {
        let pool = Pool::start(Settings { hosts: 2, tls, ..Settings::default() }).unwrap();
        let run = python(&pool, if tls { "tls" } else { "plain" });
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(masked(&run.stdout), SAID, "{run:?}");
        assert_eq!((pool.open_sessions(), pool.tasks()), (0, 0));
        assert_eq!((pool.power("node1").as_str(), pool.is_running("node1")), ("Halted", false));
    }
}

/// What upstream's agent does with it; the sessions that it leaves behind are the fault that it is known for.
#[test]
fn upstreams_agent_works_with_it() {
    let mut vms = Settings::default().vms;
    vms.push(Vm { template: true, ..Vm::halted("template") });
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    let act = |lines: &str| {
        let text = format!("session_url={}\nlogin=root\npasswd=s3cret1\nplug=node1\n{lines}\n", pool.url(0));
        run(Path::new("/usr/sbin/fence_xenapi"), &[], &text)
    };
    act("action=status").is(0, "Status: ON\n", "");
    act("action=off").is(0, "Success: Powered OFF\n", "");
    assert_eq!(pool.orders(), ["VM.hard_shutdown node1"]);
    act("action=status").is(2, "Status: OFF\n", "");
    act("action=on").is(0, "Success: Powered ON\n", "");
    assert!(pool.is_running("node1"));
    act("action=reboot").is(0, "Success: Rebooted\n", "");
    act("action=monitor").is(0, "", "");
    let list = act("action=list");
    assert!(
        list.code == Some(0) && list.stdout.contains(",node1\n") && !list.stdout.contains("template"),
        "{list:?}"
    );
    assert!(pool.open_sessions() >= 7);
}
