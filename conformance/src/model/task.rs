//! Sequences are played by a process of their own in a host of its own: what is told it, and what it tells.

use super::step::{Kind, Step};
use super::{power, resource_play};
use crate::behaviour::Event;
use crate::case::Parameters;
use crate::host;
use clap::ArgMatches;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub kind: Kind,
    pub subject: PathBuf,
    pub way: Parameters,
    pub events: Vec<Event>,
    /// A BMC must run (power devices).
    pub bmc: bool,
    /// The first seed, how many, and how far apart.
    pub first: u64,
    pub count: u64,
    pub stride: u64,
    /// These steps, in place of the first seed's.
    pub steps: Option<Vec<Step>>,
    /// When the play has to end, in seconds since its start: what is not played then is told.
    pub seconds: u64,
}

/// A step that was taken and how it is told: `start 0`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    pub step: Step,
    pub told: String,
}

/// A sequence that the model does not allow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub seed: u64,
    /// Up to the one that failed.
    pub taken: Vec<Taken>,
    /// What is wrong, in the words that follow the steps.
    pub what: String,
    /// The same for sequences that fail in the same way.
    pub symptom: String,
    pub evidence: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Sequences that were played to their end.
    pub played: u64,
    pub failure: Option<Failure>,
    /// Why no more could be played.
    pub cannot: Option<String>,
}

impl Task {
    /// The seeds, in order.
    pub fn seeds(&self) -> impl Iterator<Item = u64> {
        let (first, stride) = (self.first, self.stride);
        (0..self.count).map(move |at| first + at * stride)
    }

    /// Plays it in a fresh host.
    pub fn play(&self) -> Result<Report, String> {
        let task = serde_json::to_string(self).map_err(|why| why.to_string())?;
        #[allow(
            clippy::disallowed_methods,
            reason = "the judge is its own program: it shares nothing with ocf-lib"
        )]
        let output = Command::new("/proc/self/exe")
            .args(["__model", &task])
            // All that it needs of the case files stands in the task, and their folder may be out of sight.
            .env_remove("RINGFENCE_CASES")
            .stdin(Stdio::null())
            .output()
            .map_err(|why| format!("start the player: {why}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(said.lines().next_back().unwrap_or_default()).map_err(|_| {
            let complained = String::from_utf8_lossy(&output.stderr);
            let last = complained.lines().next_back().unwrap_or("it said nothing");
            format!("the player gave no report ({}): {last}", output.status)
        })
    }
}

/// The player's process.
pub fn child(args: &ArgMatches) -> ExitCode {
    let task = args.get_one::<String>("task").and_then(|text| serde_json::from_str::<Task>(text).ok());
    let Some(task) = task else { return ExitCode::from(2) };
    let ran = host::with_own_host(&task.subject, || {
        let report = match task.kind {
            Kind::Plain | Kind::Promotable | Kind::Migratable => resource_play::play(&task),
            Kind::Power | Kind::Fabric => power::play(&task),
        };
        let report = report.unwrap_or_else(|why| Report { cannot: Some(why), ..Report::default() });
        let line = serde_json::to_string(&report).unwrap_or_default();
        u8::from(writeln!(std::io::stdout(), "{line}").is_err())
    });
    match ran {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(2)
        }
    }
}
