//! Agents that cut a node from storage or network.

use super::super::prelude::*;
use super::super::{Ended, World, run_fabric_in, run_in};
use crate::cmd::System;
use crate::deadline::SystemClock;
use crate::env::Env;
use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex};

fence_options! {
    pub struct Options {
        /// Stands for plug.
        nodename: Option<String> => option("nodename").hidden(),
    }
}

struct Reservation;

thread_local! {
    static ACCESS: RefCell<Option<bool>> = const { RefCell::new(Some(true)) };
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl FabricDevice for Reservation {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Fabric, Takes::OnTarget, Takes::Automatic, Takes::ForceOn],
        ..FenceSpec::new("fence_cut", "s", "l")
    };
    type Options = Options;

    fn connect(options: Options, _: Call) -> Result<Self, FenceError> {
        CALLS.with_borrow_mut(|calls| calls.push(options.nodename.unwrap_or_default()));
        Ok(Self)
    }
    fn has_access(&mut self, _: &Plug) -> Result<Option<bool>, FenceError> {
        Ok(ACCESS.with_borrow(|access| *access))
    }
    fn allow(&mut self, _: &Plug) -> Result<(), FenceError> {
        CALLS.with_borrow_mut(|calls| calls.push("allow".into()));
        ACCESS.set(Some(true));
        Ok(())
    }
    fn deny(&mut self, _: &Plug) -> Result<(), FenceError> {
        CALLS.with_borrow_mut(|calls| calls.push("deny".into()));
        ACCESS.set(Some(false));
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Exit status, standard output, what the device saw.
fn run(access: Option<bool>, lines: &str) -> (u8, String, Vec<String>) {
    ACCESS.set(access);
    CALLS.set(Vec::new());
    let out = Buffer::default();
    let ended = run_fabric_in::<Reservation>(World {
        argv: vec!["fence_cut".into()],
        env: Env::default(),
        stdin: Box::new(std::io::Cursor::new(lines.as_bytes().to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(std::io::sink()),
        syslog: None,
        clock: Box::new(SystemClock),
        runner: Box::new(System),
    });
    let Ended::Status(status) = ended else {
        panic!("no signal was sent");
    };
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    (status, text, CALLS.take())
}

#[test]
fn the_default_is_off_and_there_is_no_reboot() {
    let (status, out, calls) = run(Some(true), "nodename=n1");
    assert_eq!((status, out.as_str()), (0, "Success: Powered OFF\n"));
    assert_eq!(calls, ["n1", "deny"]);
    assert_eq!(run(Some(true), "action=reboot").0, 1);
    assert!(run(None, "action=metadata").1.contains("<action name=\"on\" on_target=\"1\" automatic=\"1\"/>"));
}

#[test]
fn enable_and_disable_are_on_and_off() {
    assert_eq!(run(Some(true), "action=disable").1, "Success: Powered OFF\n");
    assert_eq!(run(Some(false), "action=Enable").1, "Success: Powered ON\n");
}

#[test]
fn access_is_given_again_although_it_is_there() {
    assert_eq!(run(Some(true), "action=on").2, ["", "allow"]);
}

/// A relay that takes requests and has no way to tell what became of them.
struct Relay(u32);

thread_local! {
    static REFUSES: RefCell<bool> = const { RefCell::new(false) };
}

fence_options! {
    pub struct NoOptions {}
}

impl PowerDevice for Relay {
    const SPEC: FenceSpec =
        FenceSpec { takes: &[Takes::NoStatus], ..FenceSpec::new("fence_relay", "s", "l") };
    type Options = NoOptions;

    fn connect(_: NoOptions, _: Call) -> Result<Self, FenceError> {
        Ok(Self(0))
    }
    fn status(&mut self, _: &Plug) -> Result<Power, FenceError> {
        panic!("it has no status")
    }
    fn set(&mut self, _: &Plug, _: Wanted) -> Result<(), FenceError> {
        self.0 += 1;
        if REFUSES.with_borrow(|refuses| *refuses) { Err(FenceError::refused("no")) } else { Ok(()) }
    }
}

#[test]
fn without_a_status_the_answer_to_the_request_decides() {
    let run = |action: &str| {
        let out = Buffer::default();
        let ended = run_in::<Relay>(World {
            argv: vec!["fence_relay".into(), "-o".into(), action.into()],
            env: Env::default(),
            stdin: Box::new(std::io::empty()),
            stdout: Box::new(out.clone()),
            stderr: Box::new(std::io::sink()),
            syslog: None,
            clock: Box::new(SystemClock),
            runner: Box::new(System),
        });
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        (ended, text)
    };
    for (action, words) in [
        ("off", "Success: Powered OFF\n"),
        ("on", "Success: Powered ON\n"),
        ("reboot", "Success: Rebooted\n"),
        ("monitor", ""),
    ] {
        assert_eq!(run(action), (Ended::Status(0), words.to_owned()));
    }
    assert_eq!(run("status").0, Ended::Status(1));
    REFUSES.set(true);
    for action in ["off", "on", "reboot"] {
        assert_eq!(run(action), (Ended::Status(1), String::new()));
    }
}

#[test]
fn access_on_some_paths_is_neither_on_nor_off() {
    assert_eq!(run(None, "action=status").0, 1);
    assert_eq!(run(None, "action=off").1, "Success: Powered OFF\n");
    assert_eq!(run(None, "action=on").1, "Success: Powered ON\n");
}
