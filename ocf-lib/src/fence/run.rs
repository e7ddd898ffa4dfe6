//! One run of a fence agent: from argv to the exit status.

use super::action::Action;
use super::call::Call;
use super::check::{Asked, Draft, SEE_USAGE, Stop, asked};
use super::device::{Fabric, FabricDevice, PowerDevice};
use super::documentation;
use super::error::{ErrorKind, FenceError};
use super::external::{self, Operation};
use super::log::Log;
use super::option::OptionSet;
use super::perform::{Done, perform};
use super::process::{self, SignalClock, TimedStdin};
use super::spec::Table;
use super::values::Given;
use super::{command_line, stdin_input};
use crate::cmd::{Runner, System};
use crate::deadline::Clock;
use crate::env::Env;
use crate::syslog::Syslog;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

/// How long a caller may take to write the options. A person typing them counts.
const STDIN_TIME: Duration = Duration::from_secs(120);

/// The world of one run: real in [`run`], made up in tests.
pub struct World {
    /// argv, the program's name included.
    pub argv: Vec<OsString>,
    pub env: Env,
    pub stdin: Box<dyn Read>,
    pub stdout: Box<dyn Write>,
    pub stderr: Box<dyn Write + Send>,
    pub syslog: Option<Syslog>,
    pub clock: Box<dyn Clock>,
    pub runner: Box<dyn Runner>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 0, 1 or 2.
    Status(u8),
    /// By a signal that was caught.
    Signal,
}

/// Runs the agent with the process's argv, environment and standard streams: the whole `main`.
pub fn run<D: PowerDevice>() -> ExitCode {
    process::no_core_dumps();
    process::catch_signals();
    std::panic::set_hook(Box::new(|info| {
        if let (Ok(mut place), Some(location)) = (PANIC_PLACE.lock(), info.location()) {
            *place = location.to_string();
        }
    }));
    let world = World {
        argv: std::env::args_os().collect(),
        env: Env::from_process(),
        stdin: Box::new(TimedStdin::new(STDIN_TIME)),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        syslog: Some(Syslog::default()),
        clock: Box::new(SignalClock),
        runner: Box::new(System),
    };
    hide_secrets::<D>(&world.argv);
    match run_in::<D>(world) {
        Ended::Status(status) => ExitCode::from(status),
        Ended::Signal => process::die_by_signal(),
    }
}

/// Takes the values of secret options out of the process's argv, where `ps` shows them.
fn hide_secrets<D: PowerDevice>(argv: &[OsString]) {
    let Some(options) = argv.get(1..).filter(|options| !options.is_empty()) else { return };
    let table = Table::new(D::SPEC, D::Options::DEFS, D::SPEC.name);
    // What cannot be understood ends the program at once.
    let Ok(given) = command_line::parse(&table, options) else { return };
    let secret = |key: &str| table.by_key(key).is_some_and(|def| def.secret);
    let secrets: Vec<&[u8]> =
        given.assignments.iter().filter(|a| secret(a.key)).map(|a| a.value.as_slice()).collect();
    if !secrets.is_empty() {
        process::wipe_argv(&secrets);
    }
}

/// The same for an agent that cuts nodes from storage or network.
pub fn run_fabric<D: FabricDevice>() -> ExitCode {
    run::<Fabric<D>>()
}

/// Where the last panic was.
static PANIC_PLACE: Mutex<String> = Mutex::new(String::new());

/// Runs a fabric agent in a made-up world.
pub fn run_fabric_in<D: FabricDevice>(world: World) -> Ended {
    run_in::<Fabric<D>>(world)
}

/// Runs the agent in the given world.
pub fn run_in<D: PowerDevice>(mut world: World) -> Ended {
    let program = world.argv.first().cloned().unwrap_or_default();
    let program = Path::new(&program);
    let called = program
        .file_name()
        .map_or_else(|| D::SPEC.name.to_owned(), |name| name.to_string_lossy().into_owned());
    let stderr = std::mem::replace(&mut world.stderr, Box::new(std::io::sink()));
    let log = Log::new(stderr, world.syslog.take(), &called);
    let table = Table::new(D::SPEC, D::Options::DEFS, &called);
    let result = catch_unwind(AssertUnwindSafe(|| whole_run::<D>(&mut world, program, &table, &log)));
    let done = match result {
        Ok(Ok(done)) => done,
        Ok(Err(Failure::Stop(Stop::Usage(lines)))) => {
            for line in lines {
                log.error(line);
            }
            log.error(SEE_USAGE);
            return Ended::Status(1);
        }
        Ok(Err(Failure::Stop(Stop::Failed(line)))) => {
            log.error(line);
            return Ended::Status(1);
        }
        Ok(Err(Failure::Device(error))) => {
            log.error(error.to_string());
            if error.kind() == ErrorKind::Interrupted && process::interrupted().is_some() {
                return Ended::Signal;
            }
            return Ended::Status(1);
        }
        Err(panic) => {
            log.error(format!("Failed: internal error{}", told(&*panic)));
            return Ended::Status(1);
        }
    };
    let written = world.stdout.write_all(done.text.as_bytes()).and_then(|()| world.stdout.flush());
    match written {
        Ok(()) => Ended::Status(done.status),
        Err(error) => {
            log.error(format!("Failed: cannot write the result: {error}"));
            Ended::Status(1)
        }
    }
}

/// ` at src/x.rs:3: what it said`.
fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let place = PANIC_PLACE.lock().map(|place| place.clone()).unwrap_or_default();
    let place = if place.is_empty() { place } else { format!(" at {place}") };
    format!("{place}: {said}; this is a bug, nothing was verified")
}

enum Failure {
    Stop(Stop),
    Device(FenceError),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        Self::Device(error)
    }
}

fn text(text: String) -> Done {
    Done { status: 0, text }
}

fn whole_run<D: PowerDevice>(
    world: &mut World,
    program: &Path,
    table: &Table,
    log: &Log,
) -> Result<Done, Failure> {
    let started = world.clock.now();
    let args = world.argv.get(1..).unwrap_or_default();
    let as_plugin = table.spec.external.filter(|external| external::is_called_so(external, program));
    let given: Given = if let Some(external) = as_plugin {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        match external::operation(table, &external, &args, &world.env) {
            Ok(Operation::Print(lines)) => return Ok(text(lines)),
            Ok(Operation::Run(given)) => given,
            Err(why) => return Err(Stop::Failed(format!("Failed: {why}")).into()),
        }
    } else if args.is_empty() {
        let bytes = stdin_input::read(&mut *world.stdin).map_err(|error| {
            if process::interrupted().is_some() {
                Failure::Device(FenceError::interrupted())
            } else {
                Failure::Stop(Stop::Failed(format!("Failed: cannot read standard input: {error}")))
            }
        })?;
        stdin_input::parse(table, &bytes)
    } else {
        command_line::parse(table, args).map_err(|line| Stop::Usage(vec![line]))?
    };
    let draft = match asked(table, &given, log)? {
        Asked::Version => return Ok(text(format!("{}\n", env!("CARGO_PKG_VERSION")))),
        Asked::Help => return Ok(text(documentation::usage(table))),
        Asked::Documentation(action) => return Ok(text(documentation::xml(table, action))),
        Asked::Action(draft) => draft,
    };
    drop(given);
    let (call, options) = prepared::<D>(*draft, world, table, log)?;
    if call.action() == Action::ValidateAll {
        return Ok(text(String::new()));
    }
    delay(&call, world, started)?;
    let device = D::connect(options, call.clone())?;
    Ok(perform(table, device, &call, &*world.clock)?)
}

/// All checks. `validate-all` hears of every fault, other actions of the first.
fn prepared<D: PowerDevice>(
    draft: Draft,
    world: &World,
    table: &Table,
    log: &Log,
) -> Result<(Call, D::Options), Failure> {
    let validating = draft.action == Action::ValidateAll;
    let mut faults = draft.faults(table);
    let options = match D::Options::from_values(&draft.values) {
        Ok(options) => Some(options),
        Err(complaints) => {
            // A value of the wrong type has been told already.
            if faults.is_empty() {
                faults.extend(complaints);
            }
            None
        }
    };
    if !faults.is_empty() && !validating {
        faults.truncate(1);
    }
    let options = match options {
        Some(options) if faults.is_empty() => options,
        Some(_) | None => {
            if validating {
                faults.push("validate-all failed".into());
            }
            return Err(Stop::Usage(faults).into());
        }
    };
    let call = draft.into_call(table, &world.env, &*world.runner, log)?;
    if let Err(error) = D::validate(&options, &call) {
        let mut lines = vec![error.to_string()];
        if validating {
            lines.push("validate-all failed".into());
        }
        return Err(Stop::Usage(lines).into());
    }
    Ok((call, options))
}

/// `delay`, before the login of off and reboot. One second more than it says, less the time since the
/// start: two nodes that fence each other rely on equal arithmetic in both.
fn delay(call: &Call, world: &World, started: std::time::Instant) -> Result<(), FenceError> {
    let delay = call.timing().delay;
    if delay.is_zero() || !matches!(call.action(), Action::Off | Action::Reboot) {
        return Ok(());
    }
    let gone = world.clock.now().saturating_duration_since(started);
    let wait = (delay + Duration::from_secs(1)).saturating_sub(gone);
    call.log().info(format!("Delay {} second(s) before logging in to the fence device", delay.as_secs()));
    world.clock.sleep(wait);
    if call.interrupted() {
        return Err(FenceError::interrupted());
    }
    Ok(())
}
