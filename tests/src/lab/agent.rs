//! The agent in the guest (`qemu-ga`, QEMU Guest Agent Protocol Reference): how commands get in and their ends come out.

use super::failure::LabError;
use super::json_line::JsonLine;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the agent may take for one question: emulated, on a busy host.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Agent {
    line: JsonLine,
}

impl Agent {
    /// Connects, and waits until the guest answers.
    pub(crate) fn connect(path: &Path, end: Instant) -> Result<Self, LabError> {
        let mut agent = Self { line: JsonLine::connect(path, "the guest's agent", end)? };
        let started = Instant::now();
        // What was asked before it listened may have been lost, or is answered late: an id tells which answer is ours.
        for id in 1_u32.. {
            agent.line.send_bytes(b"\xff")?;
            agent.line.send(&json!({"execute": "guest-sync-delimited", "arguments": {"id": id}}))?;
            let pause = end.min(Instant::now() + Duration::from_millis(250));
            while let Some(value) = agent.line.receive(pause)? {
                if value.get("return") == Some(&json!(id)) {
                    return Ok(agent);
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        let last = "nothing from its agent".to_owned();
        Err(LabError::Timeout { what: "answer of the guest".to_owned(), after: started.elapsed(), last })
    }

    /// Its answer; a refusal is an error with the agent's words.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, LabError> {
        self.line.send(&json!({"execute": command, "arguments": arguments}))?;
        let Some(mut value) = self.line.receive(Instant::now() + ANSWER)? else {
            let what = format!("answer of the guest to {command}");
            return Err(LabError::Timeout { what, after: ANSWER, last: "nothing".to_owned() });
        };
        if let Some(answer) = value.get_mut("return") {
            return Ok(answer.take());
        }
        Err(LabError::Refused(format!("the guest's agent refused {command}: {value}")))
    }

    /// Starts a program; its pid in the guest.
    pub(crate) fn start(
        &mut self,
        program: &str,
        args: &[&str],
        environment: &[String],
    ) -> Result<i64, LabError> {
        let arguments = json!({"path": program, "arg": args, "env": environment});
        let answer = self.execute("guest-exec", &arguments)?;
        answer
            .get("pid")
            .and_then(Value::as_i64)
            .ok_or_else(|| LabError::Refused(format!("the guest's agent told no pid of {program}: {answer}")))
    }

    /// The exit code of a program that was started, when it has ended; 128 and the signal's number when a signal ended it.
    pub(crate) fn ended(&mut self, pid: i64) -> Result<Option<i32>, LabError> {
        let answer = self.execute("guest-exec-status", &json!({"pid": pid}))?;
        if answer.get("exited") != Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let number =
            |name: &str| answer.get(name).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
        Ok(Some(number("exitcode").or_else(|| number("signal").map(|signal| 128 + signal)).unwrap_or(-1)))
    }

    /// Starts a script of the lab itself; its output goes to the console.
    pub(crate) fn begin(&mut self, script: &str, args: &[&str]) -> Result<i64, LabError> {
        let line = [&["-c", "exec sh -c \"$@\" >/dev/console 2>&1", "lab", script, "lab"], args].concat();
        self.start("/bin/sh", &line, &["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()])
    }

    /// Waits for the end of what [`Self::begin`] started; it must be a success.
    pub(crate) fn finish(&mut self, pid: i64, what: &str, limit: Duration) -> Result<(), LabError> {
        let end = Instant::now() + limit;
        loop {
            match self.ended(pid)? {
                Some(0) => return Ok(()),
                Some(code) => return Err(LabError::Refused(format!("{what} failed with {code}"))),
                None if Instant::now() >= end => {
                    let last = "still running".to_owned();
                    return Err(LabError::Timeout { what: format!("end of {what}"), after: limit, last });
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}
