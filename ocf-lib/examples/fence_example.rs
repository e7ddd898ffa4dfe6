//! A complete fence agent in one file: its "device" is a file that holds the word `on` or `off`.
//!
//! Replaces nothing; it is what a third party's agent looks like, and what the framework's own tests run
//! as a program. Invariants: at most one session at a time, closed on every way out.

use ocf_lib::fence::prelude::*;
use std::path::PathBuf;
use std::process::ExitCode;

fence_options! {
    /// What the device needs.
    struct Options {
        /// The file that is the node's power switch. The word `stuck` is on, whatever is asked.
        state_file: String => option("state_file").long("state-file").argument("[file]").required()
            .help("File that holds the node's power state"),
        /// Whether a node without file is off.
        missing_is_off: bool => option("missing_is_off").long("missing-is-off")
            .help("Take a file that is not there as off"),
    }
}

struct Switch {
    file: PathBuf,
    missing_is_off: bool,
}

impl Switch {
    fn session(&self) -> PathBuf {
        self.file.with_extension("session")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.session());
    }
}

impl PowerDevice for Switch {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Password, Takes::NoPassword, Takes::Method],
        symlinks: &[Symlink {
            name: "fence_example2",
            shortdesc: "Example with another default",
            adjust: &[adjust("power_wait").default("4")],
        }],
        ..FenceSpec::new(
            "fence_example",
            "Example fence agent",
            "fence_example switches a node whose power is a word in a file.\n.P\nIt exists to be read.",
        )
    };
    type Options = Options;

    fn connect(options: Options, _call: Call) -> Result<Self, FenceError> {
        let switch = Self { file: PathBuf::from(options.state_file), missing_is_off: options.missing_is_off };
        std::fs::File::create(switch.session()).map_err(|e| FenceError::from_io("opening a session", &e))?;
        Ok(switch)
    }

    fn status(&mut self, _plug: &Plug) -> Result<Power, FenceError> {
        match std::fs::read_to_string(&self.file) {
            Ok(word) => Ok(match word.trim() {
                "on" | "stuck" => Power::On,
                "off" => Power::Off,
                _ => Power::Unknown,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.missing_is_off => Ok(Power::Off),
            Err(e) => Err(FenceError::from_io("reading the state", &e)),
        }
    }

    fn set(&mut self, _plug: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        if std::fs::read_to_string(&self.file).is_ok_and(|word| word.trim() == "stuck") {
            return Ok(());
        }
        let word = if wanted == Wanted::On { "on\n" } else { "off\n" };
        std::fs::write(&self.file, word).map_err(|e| FenceError::from_io("writing the state", &e))
    }
}

fn main() -> ExitCode {
    run::<Switch>()
}
