//! One call of an agent: which action on which resource, until when, and the means to carry it out.

use crate::cmd::{Cmd, Output, Runner};
use crate::deadline::{Clock, Deadline};
use crate::env::Env;
use crate::log::{Level, Log};
use crate::resource::agent::Verb;
use crate::resource::code::Fault;
use crate::resource::dialect::Dialect;
use crate::resource::param::{ParamSet, Problem, Reader};
use crate::resource::trace::Trace;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// The call. Agents get it by reference in every method.
pub struct Cx {
    pub(crate) env: Env,
    pub(crate) verb: Verb,
    pub(crate) type_name: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) deadline: Deadline,
    pub(crate) log: Log,
    pub(crate) trace: Trace,
    pub(crate) runner: Box<dyn Runner>,
    pub(crate) clock: Box<dyn Clock>,
}

impl Cx {
    pub fn verb(&self) -> Verb {
        self.verb
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// When the action must be over: its own timeout less a margin for saying why.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The attributes that only rgmanager's dialect has ([`crate::resource::spec::Rgmanager::attributes`]), and what is
    /// wrong with them. No set in every other dialect, and if one of them is missing and has no default.
    pub fn rgmanager_attributes<P: ParamSet>(&self) -> (Option<P>, Vec<Problem>) {
        if self.dialect != Dialect::Rgmanager {
            return (None, Vec::new());
        }
        let mut reader = Reader::new(&self.env);
        let set = P::read(&mut reader);
        (set, reader.into_problems())
    }

    /// Resource id; `default` when the caller names none, as upstream.
    pub fn instance(&self) -> &str {
        instance(&self.env)
    }

    /// A meta attribute of the resource, or a `CRM_meta_` value of the operation.
    pub fn meta(&self, name: &str) -> Option<&str> {
        self.env.get_nonempty(&format!("OCF_RESKEY_CRM_meta_{name}"))
    }

    /// The caller wants JSON on stdout (OCF 1.1, section 4.3): of `validate-all`, and of commands by hand.
    pub fn wants_json(&self) -> bool {
        self.env.get("OCF_OUTPUT_FORMAT") == Some("json")
    }

    /// A monitor with interval 0 or none: anything may be missing, and that is not a failure.
    pub fn is_probe(&self) -> bool {
        self.meta("interval").is_none_or(|interval| interval.trim().parse() == Ok(0u64))
    }

    /// `OCF_CHECK_LEVEL`, 0 when unset or not a number.
    pub fn check_level(&self) -> u32 {
        ["OCF_CHECK_LEVEL", "OCF_RESKEY_OCF_CHECK_LEVEL"]
            .into_iter()
            .find_map(|name| self.env.get_nonempty(name))
            .and_then(|level| level.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Number of this clone instance, counted from 0; `None` when it is not a clone.
    pub fn clone_number(&self) -> Option<u32> {
        self.meta("clone").and_then(|n| n.parse().ok())
    }

    /// How many instances the clone may have in the cluster.
    pub fn clone_max(&self) -> Option<i64> {
        self.meta("clone_max").and_then(|n| n.parse().ok())
    }

    pub fn globally_unique(&self) -> bool {
        self.env.is_true("OCF_RESKEY_CRM_meta_globally_unique")
    }

    pub fn migrate_source(&self) -> Option<&str> {
        self.meta("migrate_source")
    }

    pub fn migrate_target(&self) -> Option<&str> {
        self.meta("migrate_target")
    }

    /// Where state files live: `HA_RSCTMP`, else `/run/resource-agents`.
    pub fn run_dir(&self) -> PathBuf {
        run_dir(&self.env)
    }

    /// A fault with code 5 if a program is not installed.
    pub fn needs(&self, program: impl AsRef<OsStr>) -> Result<(), Fault> {
        if self.has(program.as_ref()) {
            Ok(())
        } else {
            Err(Fault::installed(format!("{} is not installed", program.as_ref().to_string_lossy())))
        }
    }

    pub fn has(&self, program: impl AsRef<OsStr>) -> bool {
        self.runner.has(program.as_ref())
    }

    /// Runs a child within the action's deadline and traces it.
    pub fn run(&self, cmd: &Cmd) -> Result<Output, Fault> {
        self.run_until(cmd, self.deadline)
    }

    /// Like [`Self::run`] with a deadline of its own (never later than the action's).
    pub fn run_until(&self, cmd: &Cmd, deadline: Deadline) -> Result<Output, Fault> {
        let started = self.clock.now();
        let result = self.runner.run(cmd, deadline.min(self.deadline));
        self.trace.command(cmd, &result, self.clock.now().saturating_duration_since(started));
        Ok(result?)
    }

    /// Runs a child; anything but exit 0 is a fault with the tool's own words.
    pub fn run_checked(&self, cmd: &Cmd) -> Result<Output, Fault> {
        self.run_checked_until(cmd, self.deadline)
    }

    /// [`Self::run_checked`] with a deadline of its own.
    pub fn run_checked_until(&self, cmd: &Cmd, deadline: Deadline) -> Result<Output, Fault> {
        let output = self.run_until(cmd, deadline)?;
        if output.success() { Ok(output) } else { Err(Fault::generic(output.failure(cmd))) }
    }

    /// Waits `span`, but not beyond the deadline.
    pub fn sleep(&self, span: Duration) {
        let left = self.deadline.at().map(|at| at.saturating_duration_since(self.clock.now()));
        self.clock.sleep(left.map_or(span, |left| left.min(span)));
    }

    /// True when the action's time is up.
    pub fn expired(&self) -> bool {
        self.deadline.at().is_some_and(|at| at <= self.clock.now())
    }

    /// Time left until the deadline; `cap` when there is none or it is further away.
    pub fn left_or(&self, cap: Duration) -> Duration {
        self.deadline.at().map_or(cap, |at| at.saturating_duration_since(self.clock.now()).min(cap))
    }

    pub fn info(&self, text: impl AsRef<str>) {
        self.say(Level::Info, text.as_ref());
    }

    pub fn warn(&self, text: impl AsRef<str>) {
        self.say(Level::Warning, text.as_ref());
    }

    pub fn error(&self, text: impl AsRef<str>) {
        self.say(Level::Error, text.as_ref());
    }

    pub fn debug(&self, text: impl AsRef<str>) {
        self.say(Level::Debug, text.as_ref());
    }

    pub(crate) fn say(&self, level: Level, text: &str) {
        self.trace.line(text);
        self.log.write(level, text);
    }
}

/// See [`Cx::instance`]; also for defaults that are computed before there is a call.
pub fn instance(env: &Env) -> &str {
    env.get_nonempty("OCF_RESOURCE_INSTANCE").unwrap_or("default")
}

/// See [`Cx::run_dir`].
pub fn run_dir(env: &Env) -> PathBuf {
    PathBuf::from(env.get_nonempty("HA_RSCTMP").unwrap_or("/run/resource-agents"))
}
