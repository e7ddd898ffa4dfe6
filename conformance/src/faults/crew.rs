//! Workers: processes that carry schedules out, several at once, none for longer than it may.

use super::order::{Kind, Order, Survey, Told};
use super::table::Sheet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A worker that says nothing for so long is ended.
const SILENCE: Duration = Duration::from_secs(150);

/// All schedules of one agent.
pub fn work(agent: &str, order: &Order, jobs: Option<usize>) -> Result<Sheet, String> {
    let begun = Instant::now();
    let mut survey = None;
    let asked = Order { seeds: Vec::new(), ..order.clone() };
    let complaint = hire(&asked, |line| survey = serde_json::from_str::<Survey>(line).ok());
    let survey = survey.ok_or_else(|| format!("{agent}: the survey ended early: {complaint}"))?;
    if let Some(why) = &survey.cannot {
        return Err(format!("{agent}: {why}"));
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    // On a network nearly all of the time is waiting. In a host every schedule has one of its own.
    let (jobs, most) = match order.kind {
        Kind::Process => (jobs.unwrap_or(cores * 2), 1),
        Kind::Udp | Kind::Tcp | Kind::Tls => (jobs.unwrap_or(cores * 6), 40),
    };
    let size = order.seeds.len().div_ceil(jobs.max(1)).clamp(1, most);
    let chunks: Vec<&[u64]> = order.seeds.chunks(size).collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::with_capacity(order.seeds.len()));
    let progress = Progress { agent, of: order.seeds.len(), terminal: std::io::stderr().is_terminal() };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1).min(chunks.len()) {
            scope.spawn(|| {
                while let Some(seeds) = chunks.get(next.fetch_add(1, Ordering::SeqCst)) {
                    chunk(order, &survey, seeds, &all, &progress);
                }
            });
        }
    });
    progress.clear();
    let mut told = all.into_inner().unwrap_or_default();
    told.sort_by_key(|told: &Told| told.seed);
    Ok(Sheet::new(agent, order, told, begun.elapsed()))
}

fn chunk(order: &Order, survey: &Survey, seeds: &[u64], all: &Mutex<Vec<Told>>, progress: &Progress<'_>) {
    let mut rest: Vec<u64> = seeds.to_vec();
    let asked = Order { seeds: seeds.to_vec(), survey: Some(survey.clone()), ..order.clone() };
    let complaint = hire(&asked, |line| {
        let Ok(told) = serde_json::from_str::<Told>(line) else { return };
        rest.retain(|seed| *seed != told.seed);
        if let Ok(mut all) = all.lock() {
            all.push(told);
            progress.show(&all);
        }
    });
    // The one that it was at, and those that it did not come to.
    if let Ok(mut all) = all.lock() {
        all.extend(rest.into_iter().map(|seed| {
            let mut told = Told::new(seed);
            "the worker ended early".clone_into(&mut told.schedule);
            told.story.push(complaint.clone());
            told
        }));
    }
}

/// Runs one worker and hands on its lines. What it complained about last.
fn hire(order: &Order, mut each: impl FnMut(&str)) -> String {
    let mut complaints = match tempfile::tempfile() {
        Ok(file) => file,
        Err(why) => return format!("temporary file: {why}"),
    };
    let child = serde_json::to_string(order)
        .map_err(std::io::Error::other)
        .and_then(|text| Ok((text, complaints.try_clone()?)))
        .and_then(|(text, stderr)| {
            #[allow(
                clippy::disallowed_methods,
                reason = "the judge is its own program: it shares nothing with ocf-lib"
            )]
            let mut command = Command::new("/proc/self/exe");
            command
                .args(["__faults", &text])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(stderr)
                .spawn()
        });
    let mut child = match child {
        Ok(child) => child,
        Err(why) => return format!("start a worker: {why}"),
    };
    let silent = listen(&mut child, &mut each);
    if silent {
        let _ = child.kill();
    }
    let status = child.wait();
    let mut text = String::new();
    let _ = std::io::Seek::rewind(&mut complaints).and_then(|()| complaints.read_to_string(&mut text));
    if silent {
        return format!("it said nothing for {} s", SILENCE.as_secs());
    }
    let status = status.map_or_else(|why| why.to_string(), |status| status.to_string());
    text.lines().next_back().map_or(status, str::to_owned)
}

/// Its lines until it ends; whether it was silent for too long.
fn listen(child: &mut Child, each: &mut impl FnMut(&str)) -> bool {
    let Some(mut out) = child.stdout.take() else { return false };
    let (mut pending, mut buffer) = (Vec::new(), [0; 8192]);
    let mut heard = Instant::now();
    loop {
        let ready = {
            let mut waiting = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
            poll(&mut waiting, PollTimeout::from(1000_u16)).unwrap_or(0)
        };
        if ready == 0 {
            if heard.elapsed() > SILENCE {
                return true;
            }
            continue;
        }
        match out.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(length) => pending.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
        heard = Instant::now();
        while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=at).collect();
            each(String::from_utf8_lossy(&line).trim_end());
        }
    }
}

/// A line that is written over itself on a terminal, and nothing elsewhere.
struct Progress<'a> {
    agent: &'a str,
    of: usize,
    terminal: bool,
}

impl Progress<'_> {
    fn show(&self, all: &[Told]) {
        if self.terminal {
            let found = all.iter().filter(|told| !told.flaws.is_empty()).count();
            let line = format!("\r\x1b[K{}/{} {}, {found} with findings", all.len(), self.of, self.agent);
            let _ = write!(std::io::stderr(), "{line}");
        }
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
