//! The trait that an agent implements, and the words it speaks in.

use crate::resource::cluster::Score;
use crate::resource::code::{Code, Fault};
use crate::resource::context::Cx;
use crate::resource::param::ParamSet;
use crate::resource::spec::Spec;
use std::io::Write;

/// Every action of the OCF API and of rgmanager. A closed set: an unknown word is exit code 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Start,
    Stop,
    Monitor,
    Status,
    Promote,
    Demote,
    Notify,
    MigrateTo,
    MigrateFrom,
    Reload,
    ReloadAgent,
    Recover,
    Restart,
    ValidateAll,
    MetaData,
    Usage,
    Methods,
    /// One of the agent's own commands, given by hand ([`crate::resource::spec::Spec::commands`]): no action.
    Command,
}

impl Verb {
    pub const ALL: [Self; 17] = [
        Self::Start,
        Self::Stop,
        Self::Monitor,
        Self::Status,
        Self::Promote,
        Self::Demote,
        Self::Notify,
        Self::MigrateTo,
        Self::MigrateFrom,
        Self::Reload,
        Self::ReloadAgent,
        Self::Recover,
        Self::Restart,
        Self::ValidateAll,
        Self::MetaData,
        Self::Usage,
        Self::Methods,
    ];

    /// The word of the OCF API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Monitor => "monitor",
            Self::Status => "status",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Notify => "notify",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
            Self::Reload => "reload",
            Self::ReloadAgent => "reload-agent",
            Self::Recover => "recover",
            Self::Restart => "restart",
            Self::ValidateAll => "validate-all",
            Self::MetaData => "meta-data",
            Self::Usage => "usage",
            Self::Methods => "methods",
            Self::Command => "command",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "help" | "--help" | "-h" => Some(Self::Usage),
            // rgmanager's older spellings.
            "verify-all" | "verify_all" => Some(Self::ValidateAll),
            _ => Self::ALL.into_iter().find(|verb| verb.word() == word),
        }
    }
}

/// What a probe saw. There is no default and no doubt in it: doubt is a [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Cleanly stopped: nothing of it is left.
    Stopped,
    /// Running (unpromoted, if it is promotable).
    Running,
    Promoted,
    /// Works, but a failure is likelier than usual; the reason says why.
    Degraded(String),
    DegradedPromoted(String),
    /// Promoted or maybe promoted, and broken.
    FailedPromoted(String),
    /// There, or partly there, and broken.
    Failed(String),
    /// Whole, but cut off by something outside of it (an address whose link is down). A monitor says 7,
    /// so that it is started elsewhere; for `stop` it is still there.
    Unusable(String),
}

impl State {
    /// The code of `monitor`. None of 2, 5 or 6 can come out of here: code 6 of a monitor would stop
    /// the service in the whole cluster.
    pub const fn code(&self) -> Code {
        match self {
            Self::Stopped | Self::Unusable(_) => Code::NotRunning,
            Self::Running => Code::Success,
            Self::Promoted => Code::RunningPromoted,
            Self::Degraded(_) => Code::Degraded,
            Self::DegradedPromoted(_) => Code::DegradedPromoted,
            Self::FailedPromoted(_) => Code::FailedPromoted,
            Self::Failed(_) => Code::Generic,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Stopped | Self::Running | Self::Promoted => None,
            Self::Degraded(why)
            | Self::DegradedPromoted(why)
            | Self::FailedPromoted(why)
            | Self::Failed(why)
            | Self::Unusable(why) => Some(why),
        }
    }

    /// Usable and not promoted.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Degraded(_))
    }

    pub const fn is_promoted(&self) -> bool {
        matches!(self, Self::Promoted | Self::DegradedPromoted(_))
    }
}

/// What goes wrong while stopping: `stop` notes it and goes on.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn note(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// The value, or `None` after noting the fault.
    pub fn ok<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.note(fault)).ok()
    }

    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A resource agent. The framework owns the verbs (see [`crate::resource::verbs`]); the agent says how its
/// subject is looked at, made and taken away.
pub trait Agent: Sized {
    type Params: ParamSet;
    const SPEC: Spec;

    /// Puts the agent together. Must not look at the host and cannot fail: contradictions are for [`Self::check`].
    fn new(params: Self::Params, cx: &Cx) -> Self;

    /// Contradictions between parameters: what would be wrong on every node (`validate-all` level 0, and
    /// before `start`). Must not look at the host. Never asked before `stop`, `monitor` and probes.
    fn check(&self, cx: &Cx) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// What this host must have (`validate-all` level 10, and before `start`).
    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// Looks, and changes nothing. [`State::Stopped`] is a proof, not an assumption: when it cannot be
    /// seen whether the resource is there, answer a fault.
    fn probe(&self, cx: &Cx) -> Result<State, Fault>;

    /// Makes it run. Called when the probe said stopped or failed; the framework then probes until it runs.
    fn start(&self, cx: &Cx) -> Result<(), Fault>;

    /// Takes away every piece that is there, whatever state it is in, noting faults instead of ending at
    /// the first. Also called when the probe said stopped, for what a killed start may have left behind,
    /// and after a failed start. The framework then probes until it is stopped.
    fn stop(&self, cx: &Cx, faults: &mut Faults);

    /// How fit this instance is to be promoted, being in this state. The framework asks after a start, a change of
    /// role, a monitor and a notification, and tells the cluster what has changed; it takes the score of a stopped
    /// instance away. Only for agents that declare `promote`.
    fn promotion_score(&self, cx: &Cx, state: &State) -> Score {
        let _ = (cx, state);
        Score::Keep
    }

    /// Called after each probe of `monitor` with what it saw: announcements.
    /// Nothing in here can change the answer.
    fn observed(&self, cx: &Cx, state: &State) {
        let _ = (cx, state);
    }

    fn promote(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    fn demote(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    fn notify(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    /// On the source: hands the running resource to `cx.migrate_target()`.
    fn migrate_to(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    /// On the target: the framework then probes until it runs.
    fn migrate_from(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    /// Puts changed reloadable parameters in force.
    fn reload_agent(&self, cx: &Cx) -> Result<(), Fault> {
        unsupported(cx)
    }

    /// Carries out one of [`Spec::commands`] for an administrator; what it tells goes to `out`. Parameters are read and
    /// checked as for `start`.
    fn command(&self, cx: &Cx, word: &str, out: &mut dyn Write) -> Result<(), Fault> {
        let _ = (word, out);
        unsupported(cx)
    }
}

fn unsupported(cx: &Cx) -> Result<(), Fault> {
    Err(Fault::unimplemented(format!("action {} is not supported", cx.verb().word())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_to_its_verb() {
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.word()), Some(verb));
        }
        assert_eq!(Verb::parse("Start"), None);
        assert_eq!(Verb::parse(""), None);
    }
}
