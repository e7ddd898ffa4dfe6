//! A complete resource agent of a third party: a "lamp" that is on while a file exists.
//! Copy it into a crate of your own whose only dependency is `ocf-lib`, and change the four functions.

use ocf_lib::resource::prelude::*;
use std::io::Write;

params! {
    struct Params {
        socket: AbsolutePath => param("socket").required().unique("socket").short("File that is the lamp"),
        watts: u32 => param("watts").default("40").reloadable().short("How bright it is"),
    }
}

struct Lamp {
    socket: RunFile,
    watts: u32,
}

impl Agent for Lamp {
    type Params = Params;

    const SPEC: Spec = Spec::new("Lamp", "1.0")
        .short("Switches a lamp")
        .long("On while the file exists.")
        .actions(&[
            action(Verb::Start, 20),
            action(Verb::Stop, 20),
            action(Verb::Monitor, 20).every(10).depth(0),
        ])
        .commands(&[Command { word: "show", about: "says how bright it is", timeout: 5 }])
        .commands_in_json();

    fn new(params: Params, _: &Cx) -> Self {
        Self { socket: RunFile::new(params.socket.0), watts: params.watts }
    }

    fn probe(&self, _: &Cx) -> Result<State, Fault> {
        Ok(if self.socket.exists()? { State::Running } else { State::Stopped })
    }

    fn start(&self, _: &Cx) -> Result<(), Fault> {
        self.socket.write(&self.watts.to_string())
    }

    fn stop(&self, _: &Cx, faults: &mut Faults) {
        faults.ok(self.socket.remove());
    }

    fn command(&self, cx: &Cx, _: &str, out: &mut dyn Write) -> Result<(), Fault> {
        let state = if self.probe(cx)? == State::Running { "on" } else { "off" };
        if cx.wants_json() {
            return Ok(writeln!(out, "{{\"state\":\"{state}\",\"watts\":{}}}", self.watts)?);
        }
        Ok(writeln!(out, "{state}, {} watts", self.watts)?)
    }
}

fn main() -> ExitCode {
    run::<Lamp>()
}
