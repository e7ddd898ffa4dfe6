//! A promotable resource that is nothing but a state file: for trying out promotable clones.
//!
//! Replaces `ocf:heartbeat:Stateful`; same parameter, state file, words in it (`master`, `slave`) and
//! promotion scores (5 unpromoted, 10 promoted).
//!
//! Invariant: its role is the word in its state file; a score exists only while it runs.

use ocf_lib::resource::prelude::*;

const UNPROMOTED: &str = "slave";
const PROMOTED: &str = "master";

params! {
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

    fn start(&self, _: &Cx) -> Result<(), Fault> {
        self.state.write(UNPROMOTED)
    }

    fn stop(&self, _: &Cx, faults: &mut Faults) {
        faults.ok(self.state.remove());
    }

    fn promote(&self, _: &Cx) -> Result<(), Fault> {
        self.state.write(PROMOTED)
    }

    fn demote(&self, _: &Cx) -> Result<(), Fault> {
        self.state.write(UNPROMOTED)
    }

    fn promotion_score(&self, _: &Cx, state: &State) -> Score {
        match state {
            State::Promoted | State::DegradedPromoted(_) => Score::Of(10),
            State::Running | State::Degraded(_) => Score::Of(5),
            State::Stopped | State::FailedPromoted(_) | State::Failed(_) | State::Unusable(_) => Score::Keep,
        }
    }
}

fn main() -> ExitCode {
    run::<Stateful>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    /// The exit code, and what was asked of the cluster.
    fn run(verb: Verb, state: &std::path::Path) -> (u8, Vec<String>) {
        let bench = Bench::new("Stateful", verb)
            .recurring()
            .param("state", state.to_str().unwrap())
            .set("HA_RSCTMP", state.parent().unwrap().to_str().unwrap())
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
            (Verb::Stop, 0, "-D"),
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
