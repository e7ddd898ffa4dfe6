//! The control socket of a simulator that runs as a program: one JSON object a line, one line in answer.
//!
//! `{"do":"state"}`, `{"do":"set","power":"off"}`, `{"do":"fault","lies":true}`, `{"do":"fault","clear":true}`, `{"do":"sessions"}`,
//! `{"do":"quit"}`. The answer has `"ok":true` and what was asked for, or `"ok":false` and `"error"`.

use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Nobody asks for more in one line. Bytes.
const LONGEST: u64 = 64 * 1024;

/// A simulator in the hands of an observer.
pub trait Device: Send {
    /// Everything there is to see: `power`, and what the device counts.
    fn state(&self) -> Map<String, Value>;

    /// Somebody at the machine itself: presses the button, moves the master.
    ///
    /// # Errors
    /// What is wrong with `wanted`; then nothing was done.
    fn set(&mut self, wanted: &Map<String, Value>) -> Result<(), String>;

    /// Changes how the device misbehaves: names as on the command line, with a value; `clear` takes all away first.
    ///
    /// # Errors
    /// What is wrong with `faults`; then nothing was changed.
    fn fault(&mut self, faults: &Map<String, Value>) -> Result<(), String>;

    /// Sessions that are open now, and how many have been opened.
    fn sessions(&self) -> Map<String, Value>;

    /// A request that only this kind of device knows; `None` when it does not.
    fn other(
        &mut self,
        what: &str,
        asked: &Map<String, Value>,
    ) -> Option<Result<Map<String, Value>, String>> {
        let _ = (what, asked);
        None
    }
}

/// A running control socket.
pub struct Control {
    path: PathBuf,
    asked_to_end: Receiver<()>,
}

impl Control {
    /// Listens at `path`, for this user only. A socket that a dead simulator left there is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made, or another simulator answers at it.
    pub fn start(path: &Path, device: Box<dyn Device>) -> io::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another simulator has this folder"));
        }
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let (end, asked_to_end) = channel();
        let device = Arc::new(Mutex::new(device));
        std::thread::Builder::new().name("control".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let (device, end) = (Arc::clone(&device), end.clone());
                // Whoever keeps his connection open does not keep others out.
                let _ = std::thread::Builder::new().name("control-of-one".into()).spawn(move || {
                    // The observer may be gone.
                    let _ = serve(&stream, &device, &end);
                });
            }
        })?;
        Ok(Self { path: path.to_owned(), asked_to_end })
    }

    /// Waits until somebody says `quit`.
    pub fn wait(self) {
        let _ = self.asked_to_end.recv();
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(stream: &UnixStream, device: &Mutex<Box<dyn Device>>, end: &Sender<()>) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.by_ref().take(LONGEST).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (answer, over) = answer(&line, device);
        let mut answer = answer.to_string();
        answer.push('\n');
        (&*stream).write_all(answer.as_bytes())?;
        if over {
            let _ = end.send(());
        }
    }
}

/// The answer to one line, and whether it is the last one.
fn answer(line: &str, device: &Mutex<Box<dyn Device>>) -> (Value, bool) {
    let failed = |why: String| (json!({"ok": false, "error": why}), false);
    let mut asked = match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(asked)) => asked,
        Ok(_) => return failed("a request is a JSON object".to_owned()),
        Err(why) => return failed(format!("a request is a JSON object on one line: {why}")),
    };
    let what = asked.remove("do").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
    let done = match what.as_str() {
        "state" => Ok(device.state()),
        "sessions" => Ok(device.sessions()),
        "set" => device.set(&asked).map(|()| device.state()),
        "fault" => device.fault(&asked).map(|()| Map::new()),
        "quit" => return (json!({"ok": true}), true),
        other => device
            .other(other, &asked)
            .unwrap_or_else(|| Err("do is one of state, set, fault, sessions, quit".to_owned())),
    };
    match done {
        Ok(mut told) => {
            told.insert("ok".to_owned(), Value::Bool(true));
            (Value::Object(told), false)
        }
        Err(why) => failed(why),
    }
}

/// One request to the simulator whose control socket is at `path`.
///
/// # Errors
/// When nobody answers there, or what comes is no JSON.
pub fn ask(path: &Path, request: &Value) -> io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// `power` of a `set`: `on` or `off`.
///
/// # Errors
/// When it is not there, is something else, or is not alone.
pub fn wanted_power(wanted: &Map<String, Value>) -> Result<bool, String> {
    match (wanted.get("power").and_then(Value::as_str), wanted.len()) {
        (Some("on"), 1) => Ok(true),
        (Some("off"), 1) => Ok(false),
        _ => Err("say \"power\":\"on\" or \"off\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lamp(bool);

    impl Device for Lamp {
        fn state(&self) -> Map<String, Value> {
            Map::from_iter([("power".to_owned(), json!(if self.0 { "on" } else { "off" }))])
        }
        fn set(&mut self, wanted: &Map<String, Value>) -> Result<(), String> {
            self.0 = wanted_power(wanted)?;
            Ok(())
        }
        fn fault(&mut self, _: &Map<String, Value>) -> Result<(), String> {
            Err("a lamp has no faults".to_owned())
        }
        fn sessions(&self) -> Map<String, Value> {
            Map::new()
        }
    }

    #[test]
    fn requests_and_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let control = Control::start(&path, Box::new(Lamp(true))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let idle = UnixStream::connect(&path).unwrap();
        let said = |request: Value| ask(&path, &request).unwrap();
        assert_eq!(said(json!({"do": "state"})), json!({"ok": true, "power": "on"}));
        assert_eq!(said(json!({"do": "set", "power": "off"})), json!({"ok": true, "power": "off"}));
        for wrong in [
            json!({"do": "set"}),
            json!({"do": "set", "power": "of"}),
            json!({"do": "set", "power": "on", "more": 1}),
            json!({"do": "fault"}),
            json!({"do": "dance"}),
            json!([]),
            json!("state"),
        ] {
            let answer = said(wrong.clone());
            assert!(answer["ok"] == false && answer["error"].is_string(), "{wrong} {answer}");
        }
        assert_eq!(said(json!({"do": "state"}))["power"], "off");
        assert!(Control::start(&path, Box::new(Lamp(true))).is_err(), "two in one folder");
        assert_eq!(said(json!({"do": "quit"})), json!({"ok": true}));
        control.wait();
        assert!(!path.exists());
        drop(idle);
    }
}
