//! For tests of agents: a call made of plain values, a fake runner with scripted answers, a clock that
//! only moves when somebody waits.

use crate::cmd::{Cmd, CmdError, Output, Runner};
use crate::deadline::{Clock, Deadline};
use crate::env::Env;
use crate::log::Log;
use crate::resource::agent::{Agent, Verb};
use crate::resource::context::Cx;
use crate::resource::dialect::Dialect;
use crate::resource::trace::Trace;
use crate::resource::verbs::Verdict;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The command lines that were run, in order.
pub type Commands = Rc<RefCell<Vec<String>>>;

/// Builds the call. `Bench::new("Dummy", Verb::Start).param("state", "/x").perform::<Dummy>()`.
pub struct Bench {
    env: Env,
    verb: Verb,
    type_name: &'static str,
    dialect: Dialect,
    timeout: Duration,
    runner: Script,
}

impl Bench {
    pub fn new(type_name: &'static str, verb: Verb) -> Self {
        Self {
            env: Env::from_pairs([("OCF_RESOURCE_INSTANCE", "test")]),
            verb,
            type_name,
            dialect: Dialect::Ocf11,
            timeout: Duration::from_secs(20),
            runner: Script::default(),
        }
    }

    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.set(name, value);
        self
    }

    #[must_use]
    pub fn param(self, name: &str, value: &str) -> Self {
        self.set(&format!("OCF_RESKEY_{name}"), value)
    }

    /// Makes it a recurring operation; without it a monitor is a probe.
    #[must_use]
    pub fn recurring(self) -> Self {
        self.set("OCF_RESKEY_CRM_meta_interval", "10000")
    }

    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.timeout = Duration::from_millis(ms);
        self
    }

    /// What the next run of `program` answers. A program without a scripted answer is not installed.
    #[must_use]
    pub fn answer(self, program: &str, code: i32, stdout: &str, stderr: &str) -> Self {
        let output = Output { code: Some(code), signal: None, stdout: stdout.into(), stderr: stderr.into() };
        self.runner.answers.borrow_mut().push_back((program.to_owned(), output));
        self
    }

    /// A handle to the command lines, to be looked at afterwards.
    pub fn commands(&self) -> Commands {
        Rc::clone(&self.runner.commands)
    }

    pub fn into_cx(self) -> Cx {
        let clock = FakeClock { now: Cell::new(Instant::now()) };
        Cx {
            env: self.env,
            verb: self.verb,
            type_name: self.type_name,
            dialect: self.dialect,
            deadline: Deadline::at_instant(clock.now() + self.timeout),
            log: Log::capture(),
            trace: Trace::off(),
            runner: Box::new(self.runner),
            clock: Box::new(clock),
        }
    }

    /// Carries the action out as the program would.
    pub fn perform<A: Agent>(self) -> Verdict {
        crate::resource::run::finish::<A>(&self.into_cx())
    }
}

#[derive(Default)]
struct Script {
    answers: RefCell<VecDeque<(String, Output)>>,
    commands: Commands,
}

impl Runner for Script {
    fn has(&self, program: &OsStr) -> bool {
        self.answers.borrow().iter().any(|(name, _)| program == OsStr::new(name))
    }

    fn run(&self, cmd: &Cmd, _deadline: Deadline) -> Result<Output, CmdError> {
        let program = cmd.program().to_string_lossy().into_owned();
        self.commands.borrow_mut().push(cmd.to_string());
        let mut answers = self.answers.borrow_mut();
        let position = answers.iter().position(|(name, _)| *name == program);
        position
            .and_then(|at| answers.remove(at))
            .map(|(_, output)| output)
            .ok_or(CmdError::Missing { program })
    }
}

struct FakeClock {
    now: Cell<Instant>,
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn sleep(&self, span: Duration) {
        self.now.set(self.now.get() + span);
    }
}
