//! From `main` to the exit code: the only place that reads argv and ends the process.

use crate::cmd::System;
use crate::deadline::{Deadline, SystemClock};
use crate::env::Env;
use crate::log::{self, Level, Log};
use crate::resource::agent::{Agent, Verb};
use crate::resource::code::Code;
use crate::resource::context::{self, Cx};
use crate::resource::dialect::{self, Dialect};
use crate::resource::metadata;
use crate::resource::param::ParamSet;
use crate::resource::spec::{Command, Spec};
use crate::resource::trace::Trace;
use crate::resource::validate;
use crate::resource::verbs::{self, Verdict};
use std::ffi::OsString;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

/// The whole program of a resource agent: `fn main() -> ExitCode { ocf_lib::resource::run::run::<MyAgent>() }`.
pub fn run<A: Agent>() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut args = std::env::args_os();
        let argv0 = args.next().unwrap_or_default();
        call::<A>(&argv0, &args.collect::<Vec<_>>(), Env::from_process())
    }));
    ExitCode::from(outcome.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        exit_reason(
            &Env::from_process(),
            &format!("internal error, please report it: {}", text.unwrap_or("no text")),
        );
        Code::Generic.number()
    }))
}

fn call<A: Agent>(argv0: &OsString, args: &[OsString], env: Env) -> u8 {
    let spec = &A::SPEC;
    let cwd = std::env::current_dir().unwrap_or_default();
    let dialect = Dialect::detect(argv0, &cwd, &env);
    let call = dialect::translate(spec, dialect, argv0, args, env);
    let Some(word) = call.word else {
        log::stderr(&usage(spec));
        return Code::Args.number();
    };
    if matches!(dialect, Dialect::Ocf10 | Dialect::Ocf11)
        && let Some(command) = spec.commands.iter().find(|command| command.word == word)
    {
        return by_hand::<A>(command, args.get(1..).unwrap_or_default(), call.env);
    }
    // Before anything else is looked at.
    let Some(verb) = dialect::verb(dialect, &word).filter(|verb| known(spec, dialect, *verb)) else {
        exit_reason(&call.env, &format!("action {word} is not supported"));
        return Code::Unimplemented.number();
    };
    match verb {
        Verb::MetaData => print(&metadata::document(spec, A::Params::PARAMS, dialect, &call.env)),
        Verb::Usage => print(&usage(spec)),
        Verb::Methods => print(&(actions(spec).collect::<Vec<_>>().join("\n") + "\n")),
        Verb::Start
        | Verb::Stop
        | Verb::Monitor
        | Verb::Status
        | Verb::Promote
        | Verb::Demote
        | Verb::Notify
        | Verb::MigrateTo
        | Verb::MigrateFrom
        | Verb::Reload
        | Verb::ReloadAgent
        | Verb::Recover
        | Verb::Restart
        | Verb::ValidateAll => resource::<A>(dialect, verb, call.env),
        Verb::Command => Code::Unimplemented.number(),
    }
}

/// A command with parameters as NAME=VALUE arguments; those of the environment hold, too.
fn by_hand<A: Agent>(command: &Command, args: &[OsString], mut env: Env) -> u8 {
    for arg in args {
        let text = arg.to_string_lossy();
        if text == "--json" && A::SPEC.commands_in_json {
            env.set("OCF_OUTPUT_FORMAT".to_owned(), "json");
            continue;
        }
        let named =
            text.split_once('=').filter(|(name, _)| A::Params::PARAMS.iter().any(|p| p.name == *name));
        let Some((name, value)) = named else {
            let known: Vec<&str> = A::Params::PARAMS.iter().map(|param| param.name).collect();
            log::stderr(&format!("{text} is no parameter: NAME=VALUE is, with one of {}", known.join(", ")));
            return Code::Args.number();
        };
        env.set(format!("OCF_RESKEY_{name}"), value);
    }
    let deadline = Deadline::after(Duration::from_secs(command.timeout.into()));
    let cx = context::<A>(Dialect::Ocf11, Verb::Command, env, deadline);
    let mut out = std::io::stdout();
    let verdict = verbs::command::<A>(&cx, command.word, &mut out);
    if let Some(reason) = &verdict.reason {
        log::stderr(reason);
    }
    if out.flush().is_err() { Code::Generic.number() } else { verdict.code.number() }
}

/// What the manager of this dialect may ask for: what the agent declares, and what the framework adds.
fn known(spec: &Spec, dialect: Dialect, verb: Verb) -> bool {
    match verb {
        Verb::Start
        | Verb::Stop
        | Verb::Monitor
        | Verb::Status
        | Verb::MetaData
        | Verb::Usage
        | Verb::Methods
        | Verb::ValidateAll => true,
        Verb::Recover => dialect == Dialect::Rgmanager || spec.supports(verb),
        Verb::Restart => matches!(dialect, Dialect::Rgmanager | Dialect::Lsb) || spec.supports(verb),
        Verb::Promote
        | Verb::Demote
        | Verb::Notify
        | Verb::MigrateTo
        | Verb::MigrateFrom
        | Verb::Reload
        | Verb::ReloadAgent => spec.supports(verb),
        Verb::Command => false,
    }
}

fn resource<A: Agent>(dialect: Dialect, verb: Verb, env: Env) -> u8 {
    // An API of another major version means other rules: both sides must refuse (OCF 1.1, section 3.2).
    if env.get("OCF_RA_VERSION_MAJOR").is_some_and(|major| !major.is_empty() && major != "1") {
        exit_reason(&env, "the caller speaks another major version of the resource agent API than 1");
        return Code::Unimplemented.number();
    }
    let deadline = deadline(&A::SPEC, dialect, verb, &env);
    let cx = context::<A>(dialect, verb, env, deadline);
    let verdict = finish::<A>(&cx);
    dialect::exit_code(dialect, verb, verdict.code)
}

fn context<A: Agent>(dialect: Dialect, verb: Verb, env: Env, deadline: Deadline) -> Cx {
    let tag = format!("{}({})[{}]", A::SPEC.name, context::instance(&env), std::process::id());
    let log = if dialect == Dialect::Rgmanager { Log::rgmanager(tag) } else { Log::from_env(tag, &env) };
    let secrets: Vec<&str> =
        A::Params::PARAMS.iter().filter(|param| param.secret).map(|param| param.name).collect();
    Cx {
        verb,
        type_name: A::SPEC.name,
        dialect,
        deadline,
        log,
        trace: Trace::from_env(A::SPEC.name, verb.word(), &env, &secrets),
        runner: Box::new(System),
        clock: Box::new(SystemClock),
        env,
    }
}

/// Carries out the action and tells its result in every way the caller may look at.
pub(crate) fn finish<A: Agent>(cx: &Cx) -> Verdict {
    let verdict =
        if cx.verb() == Verb::ValidateAll { validate_all::<A>(cx) } else { verbs::perform::<A>(cx) };
    if let Some(reason) = &verdict.reason {
        exit_reason(cx.env(), reason);
        let level =
            if matches!(verdict.code, Code::Success | Code::NotRunning) { Level::Info } else { Level::Error };
        cx.say(level, reason);
    }
    if cx.verb() == Verb::Status || cx.dialect() == Dialect::Heartbeat && cx.verb() == Verb::Monitor {
        // Heartbeat judges by these words.
        let running = matches!(
            verdict.code,
            Code::Success | Code::RunningPromoted | Code::Degraded | Code::DegradedPromoted
        );
        print(if running { "running\n" } else { "stopped\n" });
    }
    cx.trace.line(&format!("{} ends with {}", cx.verb().word(), verdict.code.number()));
    verdict
}

fn validate_all<A: Agent>(cx: &Cx) -> Verdict {
    let findings = validate::findings::<A>(cx);
    if cx.wants_json() {
        print(&format!("{}\n", validate::as_json(cx.type_name, cx.check_level(), &findings)));
    }
    match findings.split_first() {
        None => Verdict::success(),
        Some((first, rest)) => {
            for finding in rest {
                exit_reason(cx.env(), &finding.text);
            }
            // The manager shows the last reason: it goes with the code.
            Verdict { code: first.code, reason: Some(first.text.clone()) }
        }
    }
}

/// The operation's own timeout less a margin for saying why; without one, the declared timeout.
fn deadline(spec: &Spec, dialect: Dialect, verb: Verb, env: &Env) -> Deadline {
    let asked = env
        .get("OCF_RESKEY_CRM_meta_timeout")
        .and_then(|ms| ms.trim().parse::<u64>().ok())
        .filter(|ms| *ms > 0);
    let span = Duration::from_millis(asked.unwrap_or_else(|| declared(spec, dialect, verb, env) * 1000));
    Deadline::after(span.saturating_sub(margin(span)))
}

/// The timeout that the metadata of this dialect has for the action, seconds. rgmanager enforces none unless it is told to.
fn declared(spec: &Spec, dialect: Dialect, verb: Verb, env: &Env) -> u64 {
    if dialect != Dialect::Rgmanager {
        let row = spec.row(verb).or_else(|| spec.row(Verb::Monitor));
        return row.map_or(20, |row| u64::from(row.timeout));
    }
    let verb = if verb == Verb::Status { Verb::Monitor } else { verb };
    let verb = if matches!(verb, Verb::Recover | Verb::Restart) { Verb::Start } else { verb };
    let rows = spec.rgmanager_rows(verb);
    let level: u32 = env.get("OCF_CHECK_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(0);
    let deepest = rows.iter().filter(|row| row.depth.unwrap_or(0) <= level).max_by_key(|row| row.depth);
    deepest.or(rows.first()).map_or(20, |row| u64::from(row.timeout))
}

/// A twentieth, at least 50 ms and at most a second.
fn margin(span: Duration) -> Duration {
    (span / 20).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

fn actions(spec: &Spec) -> impl Iterator<Item = &'static str> {
    let mut words: Vec<&str> = spec.rows().map(|row| row.verb.word()).collect();
    words.extend([Verb::Usage.word(), Verb::Methods.word()]);
    words.dedup();
    words.into_iter()
}

fn usage(spec: &Spec) -> String {
    let words: Vec<&str> = actions(spec).collect();
    let json = if spec.commands_in_json { "[--json] " } else { "" };
    let command = |command: &Command| {
        format!("{} {} {json}[NAME=VALUE ...]: {}\n", spec.name, command.word, command.about)
    };
    let commands: String = spec.commands.iter().map(command).collect();
    format!(
        "usage: {} {{{}}}\n{commands}\n{}\n\nparameters are read from the environment, as OCF_RESKEY_<name>; \
         `{} meta-data` describes them\n",
        spec.name,
        words.join("|"),
        spec.short,
        spec.name
    )
}

/// Writes to stdout; a reader that went away is an error only for what it was to read.
fn print(text: &str) -> u8 {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Code::Success.number(),
        Err(_) => Code::Generic.number(),
    }
}

/// The line on stderr that a cluster manager shows beside a failed action.
fn exit_reason(env: &Env, reason: &str) {
    let prefix = env.get("OCF_EXIT_REASON_PREFIX").unwrap_or("ocf-exit-reason:");
    log::stderr(&format!("{prefix}{}", log::one_line(reason)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::spec::{Rgmanager, action};

    const SPEC: Spec = Spec::new("X", "1")
        .actions(&[action(Verb::Start, 60), action(Verb::Stop, 40), action(Verb::Monitor, 30).depth(0)])
        .rgmanager(Rgmanager::new("x").actions(&[
            action(Verb::Start, 300),
            action(Verb::Monitor, 20).depth(0),
            action(Verb::Monitor, 90).depth(10),
        ]));

    #[test]
    fn the_time_is_what_the_metadata_of_the_dialect_says() {
        let of = |dialect, verb, level: &str| {
            declared(&SPEC, dialect, verb, &Env::from_pairs([("OCF_CHECK_LEVEL", level)]))
        };
        assert_eq!(of(Dialect::Ocf11, Verb::Start, ""), 60);
        assert_eq!(of(Dialect::Ocf11, Verb::Status, "10"), 30);
        assert_eq!(of(Dialect::Rgmanager, Verb::Start, ""), 300);
        assert_eq!(of(Dialect::Rgmanager, Verb::Recover, ""), 300);
        assert_eq!(of(Dialect::Rgmanager, Verb::Stop, ""), 40, "what it has no row of its own for");
        for (level, seconds) in [("", 20), ("0", 20), ("5", 20), ("10", 90), ("20", 90)] {
            assert_eq!(of(Dialect::Rgmanager, Verb::Status, level), seconds, "{level}");
        }
    }
}
