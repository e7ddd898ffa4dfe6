//! A device, a clock and a world that exist only here.

use super::super::prelude::*;
use super::super::{Ended, ExternalParam, World, run_in};
use crate::cmd::{Cmd, CmdError, Output, Runner};
use crate::deadline::{Clock, Deadline};
use crate::env::Env;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How one plug behaves.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub power: Power,
    /// Queries after a request that still show the old state.
    pub lag: u32,
    /// The next answers to status, before the rules above apply.
    pub answers: VecDeque<Result<Power, ErrorKind>>,
    /// Answers to requests; `Ok` when empty.
    pub set_answers: VecDeque<Result<(), ErrorKind>>,
    /// Ignores requests.
    pub stuck: bool,
    /// Ignores requests to power on.
    pub never_on: bool,
    pending: Option<(Power, u32)>,
}

pub fn outlet(power: Power) -> Outlet {
    Outlet {
        power,
        lag: 0,
        answers: VecDeque::new(),
        set_answers: VecDeque::new(),
        stuck: false,
        never_on: false,
        pending: None,
    }
}

#[derive(Default)]
pub struct Lab {
    pub plugs: BTreeMap<String, Outlet>,
    /// What the device saw, in order.
    pub calls: Vec<String>,
    pub cycle: VecDeque<Result<(), ErrorKind>>,
    /// A cycled plug is seen off once.
    pub cycle_shows_off: bool,
    pub connect: Option<ErrorKind>,
    pub list: Option<Vec<super::super::Outlet>>,
    pub panic_in_set: bool,
    pub open_sessions: u32,
    pub said: Vec<String>,
}

thread_local! {
    pub static LAB: RefCell<Lab> = RefCell::new(Lab::default());
}

fence_choices! {
    pub enum Auth { Md5 => "md5", Password => "password", None => "none" }
}

fence_options! {
    pub struct Options {
        auth: Option<Auth> => option("auth").short('A').argument("[auth]").help("Authentication"),
        patience: u32 => option("patience").argument("[seconds]").default("2").shown_as_text().help("Patience"),
        kg: Option<Secret> => option("kg").argument("[key]").help("Key"),
        lanplus: bool => option("lanplus").short('P').default("0").help("New protocol"),
    }
}

/// The device: with plugs when `PLUGS`.
pub struct Fake<const PLUGS: bool> {
    call: Call,
}

impl<const PLUGS: bool> Drop for Fake<PLUGS> {
    fn drop(&mut self) {
        LAB.with_borrow_mut(|lab| lab.open_sessions -= 1);
    }
}

const EXTERNAL: External = External {
    name: "fake",
    devid: "Fake device",
    devdescr: "A device that is not there.",
    devurl: "http://example.com/",
    params: &[
        external_param("hostname", Meaning::Hosts, false, "Host"),
        external_param("ipaddr", Meaning::Option("ip"), true, "Address"),
        external_param("userid", Meaning::Option("username"), true, "User"),
        external_param("passwd", Meaning::Password("password"), true, "Password"),
        external_param(
            "interface",
            Meaning::Words("lanplus", &[("lan", "0"), ("lanplus", "1")]),
            false,
            "Protocol",
        ),
        ExternalParam {
            listed: false,
            ..external_param("passwd_method", Meaning::PasswordMethod, false, "How")
        },
    ],
};

const WITH_PLUGS: &[Takes] = &[
    Takes::Ip,
    Takes::Login,
    Takes::Password,
    Takes::Ssh,
    Takes::Telnet,
    Takes::Plug,
    Takes::Ssl,
    Takes::Method,
    Takes::MissingAsOff,
];
const ONE_NODE: &[Takes] = &[
    Takes::Ip,
    Takes::Login,
    Takes::NoLogin,
    Takes::Password,
    Takes::NoPassword,
    Takes::Method,
    Takes::Sudo,
    Takes::Diag,
];
const BMC_PORT: &[super::super::Adjust] = &[adjust("ipport").default("623")];

impl<const PLUGS: bool> PowerDevice for Fake<PLUGS> {
    const SPEC: FenceSpec = FenceSpec {
        takes: if PLUGS { WITH_PLUGS } else { ONE_NODE },
        adjust: if PLUGS { &[] } else { BMC_PORT },
        symlinks: &[Symlink {
            name: "fence_fake3",
            shortdesc: "Fake 3",
            adjust: &[adjust("lanplus").default("1"), adjust("power_wait").default("4")],
        }],
        external: Some(EXTERNAL),
        ..FenceSpec::new("fence_fake", "Fake", "A \\fBfake\\fP.\n.P\nMore.")
    };
    type Options = Options;

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        LAB.with_borrow_mut(|lab| {
            let said = [
                format!("auth={}", options.auth.map_or("-", Auth::word)),
                format!("patience={}", options.patience),
                format!("kg={}", options.kg.is_some()),
                format!("lanplus={}", options.lanplus),
                format!("ip={}", call.ip().unwrap_or("-")),
                format!("ipport={}", call.ipport()),
                format!("login={}", call.login().unwrap_or_default()),
                format!("tls={:?}", call.tls()),
                format!("verbose={}", call.verbose_level()),
                format!("power={:?}", call.timing().power),
                format!("wait={:?}", call.timing().power_wait),
                match call.password() {
                    Some(p) => format!("password={}", String::from_utf8_lossy(p.expose())),
                    None => "password unset".into(),
                },
            ];
            lab.said.extend(said);
            lab.calls.push("connect".into());
            if let Some(kind) = lab.connect {
                return Err(FenceError::new(kind, "connecting"));
            }
            lab.open_sessions += 1;
            Ok(Self { call })
        })
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        self.call.log().debug("asking hunter2");
        LAB.with_borrow_mut(|lab| {
            lab.calls.push(format!("status {}", plug.name()));
            let Some(outlet) = lab.plugs.get_mut(plug.name()) else {
                return Err(FenceError::unknown_plug("no such plug"));
            };
            match outlet.answers.pop_front() {
                Some(Ok(power)) => return Ok(power),
                Some(Err(kind)) => return Err(FenceError::new(kind, "asking")),
                None => {}
            }
            match &mut outlet.pending {
                Some((power, 0)) => {
                    outlet.power = *power;
                    outlet.pending = None;
                }
                Some((_, left)) => *left -= 1,
                None => {}
            }
            Ok(outlet.power)
        })
    }

    fn set(&mut self, plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        LAB.with_borrow_mut(|lab| {
            lab.calls.push(format!("set {} {wanted}", plug.name()));
            assert!(!lab.panic_in_set, "the password is hunter2");
            let outlet = lab.plugs.get_mut(plug.name()).unwrap();
            if let Some(Err(kind)) = outlet.set_answers.pop_front() {
                return Err(FenceError::new(kind, "asked too much"));
            }
            if !(outlet.stuck || outlet.never_on && wanted == Wanted::On) {
                outlet.pending = Some((wanted.power(), outlet.lag));
            }
            Ok(())
        })
    }

    fn cycle(&mut self, plug: &Plug) -> Result<(), FenceError> {
        LAB.with_borrow_mut(|lab| {
            lab.calls.push(format!("cycle {}", plug.name()));
            if let Some(Err(kind)) = lab.cycle.pop_front() {
                return Err(FenceError::new(kind, "no cycle"));
            }
            if lab.cycle_shows_off {
                let outlet = lab.plugs.get_mut(plug.name()).unwrap();
                outlet.answers.extend([Ok(Power::On), Ok(Power::Off)]);
            }
            Ok(())
        })
    }

    fn diag(&mut self, plug: &Plug) -> Result<(), FenceError> {
        LAB.with_borrow_mut(|lab| lab.calls.push(format!("diag {}", plug.name())));
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<super::super::Outlet>, FenceError> {
        LAB.with_borrow_mut(|lab| {
            lab.calls.push("list".into());
            lab.list.clone().ok_or_else(|| FenceError::unsupported("no list"))
        })
    }
}

/// Time passes only when somebody sleeps.
pub struct FakeClock {
    start: Instant,
    gone: Cell<Duration>,
}

impl Clock for &'static FakeClock {
    fn now(&self) -> Instant {
        self.start + self.gone.get()
    }
    fn sleep(&self, span: Duration) {
        assert!(self.gone.get() < Duration::from_secs(7200), "an endless wait");
        self.gone.set(self.gone.get() + span);
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

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Runs a real shell: password scripts.
struct Scripts;

impl Runner for Scripts {
    fn run(&self, cmd: &Cmd, deadline: Deadline) -> Result<Output, CmdError> {
        crate::cmd::System.run(cmd, deadline)
    }
}

/// What a run left.
pub struct Ran {
    pub status: u8,
    pub out: String,
    /// Without the time stamps.
    pub err: String,
    pub calls: Vec<String>,
    pub said: Vec<String>,
    pub took: Duration,
}

impl Ran {
    pub fn said(&self, what: &str) -> bool {
        self.said.iter().any(|s| s == what)
    }
}

/// What a caller does.
pub struct Caller {
    pub argv: Vec<&'static str>,
    pub stdin: Vec<u8>,
    pub env: Vec<(&'static str, &'static str)>,
}

pub fn stdin(text: &str) -> Caller {
    Caller { argv: vec!["fence_fake"], stdin: text.as_bytes().to_vec(), env: Vec::new() }
}

pub fn args(words: &[&'static str]) -> Caller {
    let mut argv = vec!["/usr/sbin/fence_fake"];
    argv.extend(words);
    Caller { argv, stdin: Vec::new(), env: Vec::new() }
}

/// Runs the agent against `lab`.
pub fn run<const PLUGS: bool>(lab: Lab, caller: Caller) -> Ran {
    run_device::<Fake<PLUGS>>(lab, caller)
}

/// Runs any agent.
pub fn run_device<D: PowerDevice>(lab: Lab, caller: Caller) -> Ran {
    LAB.set(lab);
    let clock: &'static FakeClock =
        Box::leak(Box::new(FakeClock { start: Instant::now(), gone: Cell::new(Duration::ZERO) }));
    let (out, err) = (Buffer::default(), Buffer::default());
    let ended = run_in::<D>(World {
        argv: caller.argv.into_iter().map(Into::into).collect(),
        env: Env::from_pairs(caller.env),
        stdin: Box::new(std::io::Cursor::new(caller.stdin)),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        syslog: None,
        clock: Box::new(clock),
        runner: Box::new(Scripts),
    });
    let Ended::Status(status) = ended else {
        panic!("no signal was sent");
    };
    let lab = LAB.take();
    assert_eq!(lab.open_sessions, 0, "a session stayed open");
    let mut stripped = String::new();
    for line in err.text().lines() {
        stripped.push_str(line.get(24..).unwrap_or(line));
        stripped.push('\n');
    }
    let err = stripped;
    Ran { status, out: out.text(), err, calls: lab.calls, said: lab.said, took: clock.gone.get() }
}

/// A single node in that state.
pub fn node(power: Power) -> Lab {
    lab(&[("", outlet(power))])
}

pub fn lab(plugs: &[(&str, Outlet)]) -> Lab {
    Lab {
        plugs: plugs.iter().map(|(name, outlet)| ((*name).to_owned(), outlet.clone())).collect(),
        ..Lab::default()
    }
}

/// A single node, its agent called on standard input with `ip=h` and these lines.
pub fn on_node(lab: Lab, lines: &str) -> Ran {
    run::<false>(lab, stdin(&format!("ip=h\n{lines}\n")))
}

/// An agent with plugs, its address and login given.
pub fn on_plugs(lab: Lab, lines: &str) -> Ran {
    run::<true>(lab, stdin(&format!("ip=h\nlogin=u\npasswd=p\n{lines}\n")))
}
