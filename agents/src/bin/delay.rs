//! A resource that does nothing but take its time: for seeing what a cluster does while others wait.
//!
//! Replaces `ocf:heartbeat:Delay`; same parameters, defaults and state file.
//!
//! Invariant: it runs exactly when its state file exists; a delay ends before the action's own timeout.

use ocf_lib::resource::prelude::*;
use std::time::Duration;

params! {
    struct Params {
        start: Duration => param("startdelay").default("20").short("Seconds that a start takes"),
        stop: Duration => param("stopdelay").default("30").short("Seconds that a stop takes"),
        monitor: Duration => param("mondelay").default("30").short("Seconds that a monitor takes"),
    }
}

struct Delay {
    delays: Params,
    state: RunFile,
}

impl Agent for Delay {
    type Params = Params;
    const SPEC: Spec = Spec::new("Delay", "1.0")
        .short("Example resource whose actions take their time")
        .long("Waits in each action, and does nothing else. For tests of a cluster's configuration.")
        .actions(&[
            action(Verb::Start, 30),
            action(Verb::Stop, 30),
            action(Verb::Monitor, 30).every(10).depth(0),
        ]);

    fn new(delays: Params, cx: &Cx) -> Self {
        Self { delays, state: RunFile::new(cx.run_dir().join(format!("Delay_{}", cx.instance()))) }
    }

    fn probe(&self, _: &Cx) -> Result<State, Fault> {
        Ok(if self.state.exists()? { State::Running } else { State::Stopped })
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        cx.sleep(self.delays.start);
        self.state.write("")
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        cx.sleep(if self.state.exists() == Ok(false) { Duration::ZERO } else { self.delays.stop });
        faults.ok(self.state.remove());
    }

    fn observed(&self, cx: &Cx, _: &State) {
        cx.sleep(self.delays.monitor);
    }
}

fn main() -> ExitCode {
    run::<Delay>()
}
