//! QEMU's monitor (QMP): snapshots, disks that come and go, the cable.

use super::failure::LabError;
use super::json_line::JsonLine;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long QEMU may take for one command.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Monitor {
    line: JsonLine,
}

impl Monitor {
    pub(crate) fn connect(path: &Path, end: Instant) -> Result<Self, LabError> {
        let mut monitor = Self { line: JsonLine::connect(path, "QEMU", end)? };
        // The greeting; only then does it take commands.
        monitor.line.receive(end)?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Its answer; a refusal is an error with QEMU's words.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, LabError> {
        self.line.send(&json!({"execute": command, "arguments": arguments}))?;
        let end = Instant::now() + ANSWER;
        while let Some(mut value) = self.line.receive(end)? {
            if let Some(answer) = value.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = value.get("error") {
                let words = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(LabError::Refused(format!("QEMU refused {command}: {words}")));
            }
            // Events come between.
        }
        Err(LabError::Timeout {
            what: format!("answer of QEMU to {command}"),
            after: ANSWER,
            last: "nothing".to_owned(),
        })
    }

    /// Waits until the field `status` of a query is `wanted`.
    pub(crate) fn wait_status(
        &mut self,
        query: &str,
        wanted: &[&str],
        after: Duration,
    ) -> Result<(), LabError> {
        let end = Instant::now() + after;
        loop {
            let answer = self.execute(query, &json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or("none");
            if wanted.contains(&status) {
                return Ok(());
            }
            if status == "failed" || Instant::now() >= end {
                let last = format!("{status} {answer}");
                return Err(LabError::Timeout {
                    what: format!("{} of {query}", wanted.join(" or ")),
                    after,
                    last,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes the whole guest into a file; it is stopped then.
    pub(crate) fn save(&mut self, file: &Path) -> Result<(), LabError> {
        self.execute("migrate-set-parameters", &json!({"max-bandwidth": 10_000_000_000_u64}))?;
        // exec, because QEMU knows file only since 8.2
        self.execute("migrate", &json!({"uri": format!("exec:cat > '{}'", file.display())}))?;
        self.wait_status("query-migrate", &["completed"], Duration::from_secs(60))
    }
}
