//! A promotable resource that is nothing but a state file: for trying out promotable clones.
//!
//! Replaces `ocf:heartbeat:Stateful`; same parameter, state file, words in it (`master`, `slave`) and
//! promotion scores (5 unpromoted, 10 promoted).
//!
//! Invariant: its role is the word in its state file; a score exists only while it runs.

use ocf_lib::agent::{Agent, Faults, State, Verb};
use ocf_lib::cluster;
use ocf_lib::code::Fault;
use ocf_lib::context::Cx;
use ocf_lib::param::{AbsolutePath, param};
use ocf_lib::runfile::{RunFile, default_state};
use ocf_lib::spec::{Role, Spec, action};
use std::process::ExitCode;

const UNPROMOTED: &str = "slave";
const PROMOTED: &str = "master";

ocf_lib::params! {
    struct Params {
        state: AbsolutePath => param("state")
            .unique("state")
            .short("State file")
            .long("The file that holds the role of this instance. Absolute path.")
            .default_from(|env| default_state("Stateful", env)),
    }
}

struct Stateful {
    state: RunFile,
}

impl Stateful {
    fn become_role(&self, cx: &Cx, word: &str, score: i32) -> Result<(), Fault> {
        self.state.write(word)?;
        score_or_warn(cx, cluster::set_promotion_score(cx, score));
        Ok(())
    }
}

/// A score that cannot be set now is set by the next monitor: it is no reason to fail a role change.
fn score_or_warn(cx: &Cx, result: Result<(), Fault>) {
    if let Err(fault) = result {
        cx.warn(fault.context("cannot update the promotion score").reason());
    }
}

impl Agent for Stateful {
    type Params = Params;

    const SPEC: Spec = Spec::new("Stateful", "1.0")
        .short("Example promotable resource without a service")
        .long(
            "Keeps its role in a state file, and does nothing else. For tests of a cluster's configuration, \
             and as the starting point for promotable agents of your own.",
        )
        .actions(&[
            action(Verb::Start, 20),
            action(Verb::Stop, 20),
            action(Verb::Promote, 20),
            action(Verb::Demote, 20),
            // Two rows: a manager needs different intervals to monitor both roles.
            action(Verb::Monitor, 20).every(10).depth(0).role(Role::Unpromoted),
            action(Verb::Monitor, 20).every(9).depth(0).role(Role::Promoted),
            action(Verb::MetaData, 5),
            action(Verb::ValidateAll, 20),
        ]);

    fn new(params: Params, _: &Cx) -> Self {
        Self { state: RunFile::new(params.state.0) }
    }

    fn check_host(&self, _: &Cx) -> Result<(), Fault> {
        self.state.check_writable()
    }

    fn probe(&self, _: &Cx) -> Result<State, Fault> {
        Ok(match self.state.read()?.as_deref().map(str::trim) {
            None => State::Stopped,
            Some(UNPROMOTED) => State::Running,
            Some(PROMOTED) => State::Promoted,
            Some(other) => {
                State::Failed(format!("{} says '{other}', not a role", self.state.path().display()))
            }
        })
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        self.become_role(cx, UNPROMOTED, 5)
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        let was_there = self.state.exists() != Ok(false);
        faults.ok(self.state.remove());
        if was_there {
            score_or_warn(cx, cluster::delete_promotion_score(cx));
        }
    }

    fn promote(&self, cx: &Cx) -> Result<(), Fault> {
        self.become_role(cx, PROMOTED, 10)
    }

    fn demote(&self, cx: &Cx) -> Result<(), Fault> {
        self.become_role(cx, UNPROMOTED, 5)
    }

    /// A probe that finds an instance running gives it back the score that a restarted cluster lost.
    fn observed(&self, cx: &Cx, state: &State) {
        if cx.is_probe() {
            match state {
                State::Running => score_or_warn(cx, cluster::set_promotion_score(cx, 5)),
                State::Promoted => score_or_warn(cx, cluster::set_promotion_score(cx, 10)),
                State::Stopped
                | State::Degraded(_)
                | State::DegradedPromoted(_)
                | State::FailedPromoted(_)
                | State::Failed(_)
                | State::Unusable(_) => {}
            }
        }
    }
}

fn main() -> ExitCode {
    ocf_lib::run::run::<Stateful>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::testkit::Bench;

    /// The exit code, and what was asked of the cluster.
    fn run(verb: Verb, state: &std::path::Path) -> (u8, Vec<String>) {
        let bench = Bench::new("Stateful", verb)
            .recurring()
            .param("state", state.to_str().unwrap())
            .set("OCF_RESKEY_CRM_meta_on_node", "n1")
            .answer("crm_attribute", 0, "", "");
        let commands = bench.commands();
        let code = bench.perform::<Stateful>().code.number();
        let asked = commands.borrow().iter().map(|c| c.rsplit(" -Q ").next().unwrap().to_owned()).collect();
        (code, asked)
    }

    #[test]
    fn walks_through_its_roles_with_their_scores() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let steps = [
            (Verb::Monitor, 7, ""),
            (Verb::Promote, 7, ""),
            (Verb::Demote, 7, ""),
            (Verb::Start, 0, "-v 5"),
            (Verb::Monitor, 0, ""),
            (Verb::Promote, 0, "-v 10"),
            (Verb::Promote, 0, ""),
            (Verb::Monitor, 8, ""),
            (Verb::Demote, 0, "-v 5"),
            (Verb::Demote, 0, ""),
            (Verb::Stop, 0, "-D"),
            (Verb::Stop, 0, ""),
            (Verb::Monitor, 7, ""),
        ];
        for (step, (verb, code, asked)) in steps.into_iter().enumerate() {
            let asked: Vec<String> = Some(asked.to_owned()).filter(|a| !a.is_empty()).into_iter().collect();
            assert_eq!(run(verb, &state), (code, asked), "step {step}: {verb:?}");
        }
    }

    #[test]
    fn starting_a_promoted_one_demotes_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::write(&state, "master\n").unwrap();
        assert_eq!(run(Verb::Start, &state).0, 0);
        assert_eq!(run(Verb::Monitor, &state).0, 0);
    }

    #[test]
    fn a_cluster_that_does_not_answer_fails_no_role_change() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let verdict = Bench::new("Stateful", Verb::Start)
            .param("state", state.to_str().unwrap())
            .answer("crm_attribute", 1, "", "Connection refused")
            .perform::<Stateful>();
        assert_eq!(verdict.code.number(), 0);
    }

    #[test]
    fn another_word_is_a_failure_that_stop_cleans() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::write(&state, "leader").unwrap();
        assert_eq!(run(Verb::Monitor, &state).0, 1);
        assert_eq!(run(Verb::Stop, &state).0, 0);
        assert!(!state.exists());
    }
}
