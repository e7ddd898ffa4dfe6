//! The verbs: what start, stop, monitor and the rest mean, for every agent alike.

use crate::resource::agent::{Agent, Faults, State, Verb};
use crate::resource::cluster;
use crate::resource::code::{Code, Fault, Kind};
use crate::resource::context::Cx;
use crate::resource::dialect::Dialect;
use crate::resource::param::{ParamSet, Reader};
use std::io::Write;
use std::time::Duration;

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub code: Code,
    /// For the cluster manager's status; printed as the exit reason.
    pub reason: Option<String>,
}

impl Verdict {
    pub const fn success() -> Self {
        Self { code: Code::Success, reason: None }
    }

    fn because(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: Some(reason.into()) }
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        Self::because(fault.code(), fault.reason())
    }
}

impl From<Result<(), Fault>> for Verdict {
    fn from(result: Result<(), Fault>) -> Self {
        result.map_or_else(Self::from, |()| Self::success())
    }
}

/// Carries out an action that is about a resource (not meta-data, usage or validate-all).
pub fn perform<A: Agent>(cx: &Cx) -> Verdict {
    match cx.verb() {
        Verb::Stop => stop::<A>(cx),
        Verb::Monitor | Verb::Status => monitor::<A>(cx),
        Verb::Start => ready::<A>(cx).and_then(|agent| start(&agent, cx)).into(),
        Verb::Recover | Verb::Restart => {
            let stopped = stop::<A>(cx);
            if stopped.code == Code::Success {
                ready::<A>(cx).and_then(|agent| start(&agent, cx)).into()
            } else {
                stopped
            }
        }
        Verb::Promote => with_ready::<A>(cx, promote),
        Verb::Demote => with_ready::<A>(cx, demote),
        Verb::MigrateTo if cx.dialect() == Dialect::Rgmanager => migrate::<A>(cx),
        Verb::MigrateTo => with_ready::<A>(cx, |agent, cx| agent.migrate_to(cx).into()),
        Verb::MigrateFrom => with_ready::<A>(cx, |agent, cx| {
            agent
                .migrate_from(cx)
                .and_then(|()| settle(agent, cx, "did not arrive", State::is_running))
                .map(drop)
                .into()
        }),
        Verb::Reload | Verb::ReloadAgent => with_ready::<A>(cx, |agent, cx| agent.reload_agent(cx).into()),
        // Its result is ignored by Pacemaker, and anything but 0 only confuses: what failed is logged.
        Verb::Notify => {
            let notified = ready::<A>(cx).and_then(|agent| {
                agent.notify(cx)?;
                // What another instance did can change what this one is worth.
                agent.probe(cx).map(|state| tell_score(&agent, cx, &state, false))
            });
            if let Err(fault) = notified {
                cx.warn(fault.reason());
            }
            Verdict::success()
        }
        Verb::ValidateAll | Verb::MetaData | Verb::Usage | Verb::Methods | Verb::Command => {
            Verdict::success()
        }
    }
}

/// The migration of a manager that only asks the source, and takes its word for where the resource is now: a failure is
/// told as "not done" if the resource was seen as it was before, and as a doubt in every other case.
fn migrate<A: Agent>(cx: &Cx) -> Verdict {
    let mut before = None;
    let verdict = with_ready::<A>(cx, |agent, cx| {
        before = agent.probe(cx).ok();
        if before == Some(State::Stopped) {
            let why = format!("cannot migrate: {} is not running", cx.instance());
            return Verdict::because(Code::NotRunning, why);
        }
        agent.migrate_to(cx).into()
    });
    match verdict.code {
        Code::Success | Code::Configured | Code::NotRunning => return verdict,
        Code::Generic
        | Code::Args
        | Code::Unimplemented
        | Code::Perm
        | Code::Installed
        | Code::RunningPromoted
        | Code::FailedPromoted
        | Code::Degraded
        | Code::DegradedPromoted => {}
    }
    // Also one that did not run, and was refused for that, is what it was.
    let as_it_was = |state: State| state.is_running() || state.is_promoted() || before == Some(state);
    let here = lenient::<A>(cx).is_ok_and(|agent| agent.probe(cx).is_ok_and(as_it_was));
    Verdict { code: if here { Code::NotRunning } else { Code::Generic }, ..verdict }
}

/// One of the agent's own commands.
pub fn command<A: Agent>(cx: &Cx, word: &str, out: &mut dyn Write) -> Verdict {
    ready::<A>(cx).and_then(|agent| agent.command(cx, word, out)).into()
}

fn with_ready<A: Agent>(cx: &Cx, act: impl FnOnce(&A, &Cx) -> Verdict) -> Verdict {
    match ready::<A>(cx) {
        Ok(agent) => match agent.check_host(cx) {
            Ok(()) => act(&agent, cx),
            Err(fault) => fault.into(),
        },
        Err(fault) => fault.into(),
    }
}

/// The agent for an action that changes something: every parameter must be right.
fn ready<A: Agent>(cx: &Cx) -> Result<A, Fault> {
    let mut reader = Reader::new(cx.env());
    let params = A::Params::read(&mut reader);
    let problems = reader.into_problems();
    let (Some(params), None) = (params, problems.first()) else {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(Fault::configured(all.join("; ")));
    };
    let agent = A::new(params, cx);
    agent.check(cx)?;
    if A::SPEC.needs_root && !nix::unistd::geteuid().is_root() {
        return Err(Fault::perm(format!("{} must be run as root", cx.verb().word())));
    }
    Ok(agent)
}

/// The agent for an action that must not fail over configuration: a bad value is replaced by its
/// default, with a warning. `None`: what identifies the resource is missing, so it cannot be here.
fn lenient<A: Agent>(cx: &Cx) -> Result<A, String> {
    let mut reader = Reader::new(cx.env());
    let params = A::Params::read(&mut reader);
    let all: Vec<String> = reader.into_problems().iter().map(ToString::to_string).collect();
    let text = all.join("; ");
    match params {
        Some(params) => {
            if !text.is_empty() {
                cx.warn(format!("{text}; going on with the default"));
            }
            Ok(A::new(params, cx))
        }
        None => Err(text),
    }
}

fn start<A: Agent>(agent: &A, cx: &Cx) -> Result<(), Fault> {
    match agent.probe(cx)? {
        state @ (State::Running | State::Degraded(_)) => {
            tell_score(agent, cx, &state, false);
            return Ok(());
        }
        // A started resource is an unpromoted one.
        State::Promoted | State::DegradedPromoted(_) | State::FailedPromoted(_) => return demoted(agent, cx),
        State::Stopped | State::Failed(_) | State::Unusable(_) => {}
    }
    // Only now: what runs already needs nothing of this host any more.
    agent.check_host(cx)?;
    let result = agent
        .start(cx)
        .and_then(|()| settle(agent, cx, "did not come up", |s| s.is_running() || s.is_promoted()));
    if let Ok(state) = &result {
        tell_score(agent, cx, state, true);
    } else {
        // The next stop would do it too; but a manager that blocks instead must not find half a resource.
        let mut faults = Faults::default();
        agent.stop(cx, &mut faults);
        for fault in faults.as_slice() {
            cx.warn(format!("while taking back the failed start: {fault}"));
        }
    }
    result.map(drop)
}

fn demoted<A: Agent>(agent: &A, cx: &Cx) -> Result<(), Fault> {
    agent.demote(cx)?;
    let state = settle(agent, cx, "did not demote", State::is_running)?;
    tell_score(agent, cx, &state, true);
    Ok(())
}

/// A score that cannot be told now is told by the next monitor: it fails no action.
fn tell_score<A: Agent>(agent: &A, cx: &Cx, state: &State, surely: bool) {
    if A::SPEC.supports(Verb::Promote) {
        let told = match state {
            State::Stopped | State::Unusable(_) => {
                cluster::forget_score(cx, surely && cx.verb() != Verb::Monitor)
            }
            State::Running
            | State::Promoted
            | State::Degraded(_)
            | State::DegradedPromoted(_)
            | State::FailedPromoted(_)
            | State::Failed(_) => cluster::tell_score(cx, agent.promotion_score(cx, state), surely),
        };
        if let Err(fault) = told {
            cx.warn(fault.context("cannot tell the promotion score").reason());
        }
    }
}

fn stop<A: Agent>(cx: &Cx) -> Verdict {
    if cx.dialect() == Dialect::Rgmanager && crate::resource::dialect::still_referenced(cx.env()) {
        cx.info("still in use by another service of this node: left running");
        return Verdict::success();
    }
    let agent = match lenient::<A>(cx) {
        Ok(agent) => agent,
        Err(text) => {
            cx.info(format!("considered stopped, as it cannot have been started: {text}"));
            return Verdict::success();
        }
    };
    let mut faults = Faults::default();
    agent.stop(cx, &mut faults);
    let reasons = |last: &str| {
        let mut all: Vec<&str> = faults.as_slice().iter().map(Fault::reason).collect();
        // What cannot be taken away often cannot be looked at either, for the same reason.
        if !all.contains(&last) {
            all.push(last);
        }
        all.join("; ")
    };
    let mut pause = FIRST_PAUSE;
    loop {
        // Only this probe can make the stop a success.
        match agent.probe(cx) {
            Ok(State::Stopped) => {
                for fault in faults.as_slice() {
                    cx.warn(fault.reason());
                }
                tell_score(&agent, cx, &State::Stopped, true);
                return Verdict::success();
            }
            Err(fault) => return Verdict::because(stop_code(&faults), reasons(fault.reason())),
            Ok(state) if !faults.is_empty() => {
                return Verdict::because(
                    stop_code(&faults),
                    reasons(state.reason().unwrap_or("still running")),
                );
            }
            Ok(_) if cx.expired() => {
                return Verdict::because(Code::Generic, reasons("still running when the time was up"));
            }
            Ok(_) => wait(cx, &mut pause),
        }
    }
}

/// A failed stop fences the node: only "failed" and "not permitted" are worth telling apart.
fn stop_code(faults: &Faults) -> Code {
    if faults.as_slice().iter().any(|fault| fault.kind() == Kind::Perm) { Code::Perm } else { Code::Generic }
}

fn monitor<A: Agent>(cx: &Cx) -> Verdict {
    let agent = match lenient::<A>(cx) {
        Ok(agent) => agent,
        Err(text) if cx.is_probe() => {
            cx.info(format!("considered stopped, as it cannot have been started: {text}"));
            return Verdict { code: Code::NotRunning, reason: None };
        }
        Err(text) => return Verdict::because(Code::Generic, text),
    };
    match agent.probe(cx) {
        Ok(state) => {
            agent.observed(cx, &state);
            // A cluster that has just started knows no score; of what does not run, it needs none.
            if !(cx.is_probe() && state == State::Stopped) {
                tell_score(&agent, cx, &state, cx.is_probe());
            }
            let reason = if state == State::Stopped && !cx.is_probe() {
                Some(format!("{} is not running", cx.instance()))
            } else {
                state.reason().map(str::to_owned)
            };
            Verdict { code: state.code(), reason }
        }
        // Software that is missing on this node is the one fault that a probe may name by its code.
        Err(fault) if cx.is_probe() && fault.kind() == Kind::Installed => Verdict::from(fault),
        Err(fault) => Verdict::because(Code::Generic, fault.reason()),
    }
}

fn promote<A: Agent>(agent: &A, cx: &Cx) -> Verdict {
    match agent.probe(cx) {
        Err(fault) => fault.into(),
        Ok(State::Promoted | State::DegradedPromoted(_)) => Verdict::success(),
        Ok(State::Stopped) => {
            Verdict::because(Code::NotRunning, format!("cannot promote: {} is not running", cx.instance()))
        }
        Ok(State::FailedPromoted(why)) => Verdict::because(Code::FailedPromoted, why),
        Ok(State::Failed(why) | State::Unusable(why)) => Verdict::because(Code::Generic, why),
        Ok(State::Running | State::Degraded(_)) => agent
            .promote(cx)
            .and_then(|()| settle(agent, cx, "did not become promoted", State::is_promoted))
            .map(|state| tell_score(agent, cx, &state, true))
            .into(),
    }
}

fn demote<A: Agent>(agent: &A, cx: &Cx) -> Verdict {
    match agent.probe(cx) {
        Err(fault) => fault.into(),
        Ok(State::Running | State::Degraded(_)) => Verdict::success(),
        Ok(State::Stopped) => {
            Verdict::because(Code::NotRunning, format!("cannot demote: {} is not running", cx.instance()))
        }
        Ok(State::Failed(why) | State::Unusable(why)) => Verdict::because(Code::Generic, why),
        Ok(State::Promoted | State::DegradedPromoted(_) | State::FailedPromoted(_)) => {
            demoted(agent, cx).into()
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

fn wait(cx: &Cx, pause: &mut Duration) {
    cx.sleep(*pause);
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// Probes until the state is the wanted one, and answers it, or the time is up.
fn settle<A: Agent>(
    agent: &A,
    cx: &Cx,
    failure: &str,
    wanted: impl Fn(&State) -> bool,
) -> Result<State, Fault> {
    let mut pause = FIRST_PAUSE;
    loop {
        let state = agent.probe(cx)?;
        if wanted(&state) {
            return Ok(state);
        }
        if cx.expired() {
            let seen =
                state.reason().map_or_else(|| format!("it is {state:?}").to_lowercase(), str::to_owned);
            return Err(Fault::generic(format!("{} {failure} in time: {seen}", cx.instance())));
        }
        wait(cx, &mut pause);
    }
}
