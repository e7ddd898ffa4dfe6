//! A resource that is nothing but a state file: for trying out a cluster, and the agent to copy.
//!
//! Replaces `ocf:heartbeat:Dummy`; same parameters, defaults and state file.
//!
//! Invariant: it runs exactly when its state file exists.

use ocf_lib::resource::prelude::*;

params! {
    struct Params {
        state: AbsolutePath => param("state")
            .unique("state")
            .short("State file")
            .long("The file whose existence is the resource. Absolute path.")
            .default_from(|env| default_state("Dummy", env)),
        fake: String => param("fake")
            .reloadable()
            .short("A value without effect")
            .long("Can be changed to see the cluster reload the resource instead of restarting it.")
            .default("dummy"),
    }
}

struct Dummy {
    state: RunFile,
    fake: String,
}

impl Agent for Dummy {
    type Params = Params;

    const SPEC: Spec = Spec::new("Dummy", "1.0")
        .short("Example resource without a service")
        .long(
            "Keeps track of whether it is running in a state file, and does nothing else. \
             For tests of a cluster's configuration, and as the starting point for agents of your own.",
        )
        .actions(&[
            action(Verb::Start, 20),
            action(Verb::Stop, 20),
            action(Verb::Monitor, 20).every(10).depth(0),
            action(Verb::Reload, 20),
            action(Verb::ReloadAgent, 20),
            action(Verb::MigrateTo, 20),
            action(Verb::MigrateFrom, 20),
        ]);

    fn new(params: Params, _: &Cx) -> Self {
        Self { state: RunFile::new(params.state.0), fake: params.fake }
    }

    fn check_host(&self, _: &Cx) -> Result<(), Fault> {
        self.state.check_writable()
    }

    fn probe(&self, _: &Cx) -> Result<State, Fault> {
        Ok(if self.state.exists()? { State::Running } else { State::Stopped })
    }

    fn start(&self, _: &Cx) -> Result<(), Fault> {
        self.state.write("")
    }

    fn stop(&self, _: &Cx, faults: &mut Faults) {
        faults.ok(self.state.remove());
    }

    fn migrate_to(&self, cx: &Cx) -> Result<(), Fault> {
        cx.info(format!("handing over to {}", cx.migrate_target().unwrap_or("another node")));
        self.state.remove()
    }

    fn migrate_from(&self, cx: &Cx) -> Result<(), Fault> {
        cx.info(format!("taking over from {}", cx.migrate_source().unwrap_or("another node")));
        self.state.write("")
    }

    fn reload_agent(&self, cx: &Cx) -> Result<(), Fault> {
        cx.info(format!("fake is now '{}'", self.fake));
        Ok(())
    }
}

fn main() -> ExitCode {
    run::<Dummy>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    fn code(verb: Verb, state: &std::path::Path) -> u8 {
        Bench::new("Dummy", verb).param("state", state.to_str().unwrap()).perform::<Dummy>().code.number()
    }

    #[test]
    fn lives_as_long_as_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let run = |verb| code(verb, &state);
        assert_eq!([run(Verb::Monitor), run(Verb::Stop)], [7, 0]);
        assert_eq!([run(Verb::Start), run(Verb::Start), run(Verb::Monitor)], [0, 0, 0]);
        assert!(state.exists());
        assert_eq!([run(Verb::Stop), run(Verb::Stop), run(Verb::Monitor)], [0, 0, 7]);
        assert!(!state.exists());
    }

    #[test]
    fn migrates() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(code(Verb::MigrateFrom, &state), 0);
        assert_eq!(code(Verb::MigrateTo, &state), 0);
        assert_eq!(code(Verb::Monitor, &state), 7);
    }

    #[test]
    fn a_directory_that_is_missing_here_is_2_for_start_and_harmless_for_stop_and_probe() {
        let state = std::path::Path::new("/nonexistent/dir/state");
        assert_eq!([Verb::Start, Verb::Stop, Verb::Monitor].map(|verb| code(verb, state)), [2, 0, 7]);
    }

    #[test]
    fn a_relative_path_is_wrong_everywhere() {
        let validate = |level| {
            Bench::new("Dummy", Verb::ValidateAll)
                .param("state", "here")
                .set("OCF_CHECK_LEVEL", level)
                .perform::<Dummy>()
                .code
                .number()
        };
        assert_eq!([validate("0"), validate("10")], [6, 6]);
    }

    #[test]
    fn validation_looks_at_this_host_only_when_asked() {
        let validate = |level| {
            Bench::new("Dummy", Verb::ValidateAll)
                .param("state", "/nonexistent/dir/state")
                .set("OCF_CHECK_LEVEL", level)
                .perform::<Dummy>()
                .code
                .number()
        };
        assert_eq!([validate("0"), validate("10")], [0, 2]);
    }
}
