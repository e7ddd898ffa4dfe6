//! A mount namespace with an empty `/run`, and programs in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::{self, Run};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fence_manual");

pub struct World(Child);

impl World {
    pub fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs -o mode=755 tmpfs /run && echo ready && read -r end")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    /// A program in there, in a clean environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = agent::command(Path::new("/usr/bin/nsenter"));
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.0.id())).args(words);
        command
    }

    pub fn run(&self, words: &[&str], stdin: &str) -> Run {
        let begun = Instant::now();
        agent::ended(agent::started(self.command(words), stdin), begun)
    }

    pub fn sh(&self, line: &str) -> String {
        let run = self.run(&["sh", "-c", line], "");
        assert_eq!(run.code, Some(0), "{line}: {run:?}");
        run.stdout
    }

    /// The agent, which waits.
    pub fn waits(&self, stdin: &str) -> Waiting {
        let before = self.pending().len();
        let waiting = Waiting(Some(agent::started(self.command(&[PROGRAM]), stdin)), Instant::now());
        let begun = Instant::now();
        while self.pending().len() == before {
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not wait");
            std::thread::sleep(Duration::from_millis(10));
        }
        waiting
    }

    /// `NODE\tACTION` of everything that waits.
    pub fn pending(&self) -> Vec<String> {
        let run = self.run(&[PROGRAM, "ack", "-l"], "");
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stdout.lines().map(str::to_owned).collect()
    }

    /// The operator's call, with what he types.
    pub fn ack(&self, words: &[&str], typed: &str) -> Run {
        let mut all = vec![PROGRAM, "ack"];
        all.extend(words);
        self.run(&all, typed)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent that was started.
pub struct Waiting(Option<Child>, Instant);

impl Waiting {
    pub fn still(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub fn ends(mut self) -> Run {
        agent::ended(self.0.take().unwrap(), self.1)
    }

    pub fn kill(&mut self, signal: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An operator who has been asked and has not answered yet.
pub struct Asked(Child, Instant);

impl Asked {
    pub fn new(world: &World, node: &str) -> Self {
        let mut child = world.command(&[PROGRAM, "ack", node]).spawn().unwrap();
        let mut byte = [0];
        // The question is there: the requests it is about are settled.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        Self(child, Instant::now())
    }

    pub fn types(mut self, text: &str) -> Run {
        self.0.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        agent::ended(self.0, self.1)
    }
}
