//! How a call ends when it is told to, or when its descriptors are gone.

use super::form::{arguments, declares, expect_an_end, filled, lines, with};
use crate::case::{BEYOND, Case, Stop, Trial};
use crate::subject::Family;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

/// Time that a call gets to get under way before it is told to end.
const UNDER_WAY: Duration = Duration::from_millis(1500);

/// Time that it then has.
const PROMPTLY: Duration = Duration::from_secs(3);

pub fn cases() -> Vec<Case> {
    let case = |id, about, judge| Case::contract(id, Family::Fence, &["endings"], about, judge);
    vec![
        case(
            "fence/sigterm",
            "SIGTERM ends a call within 3 s, not with 0 (nothing was fenced), and no process of its stays behind.",
            sigterm,
        ),
        Case::contract(
            "fence/closed-descriptors",
            Family::Fence,
            &["endings", BEYOND],
            "A call ends with 0, 1 or 2 also when standard output, standard error or standard input are closed, and a \
             status with no device is not 0 then.",
            closed,
        ),
    ]
}

fn sigterm(trial: &mut Trial<'_>) -> Result<(), Stop> {
    if !declares(trial, "ip") {
        return Err(Stop::DoesNotApply("it takes no address of a device".to_owned()));
    }
    let words = ["neighbor", "replace", "192.0.2.98", "lladdr", "02:00:00:00:00:98", "dev", "judge0"];
    crate::tool::output("ip", &words)?;
    let mut values = with(&filled(trial), "ip", "192.0.2.98");
    for name in ["login_timeout", "shell_timeout", "power_timeout"] {
        if declares(trial, name) {
            values = with(&values, name, "20");
        }
    }
    let Some(call) = arguments(trial, &values, "off") else {
        return Err(Stop::DoesNotApply("its metadata shows no option for a value it needs".to_owned()));
    };
    let mut child = call.start().map_err(|why| format!("start it: {why}"))?;
    let ended = |child: &mut std::process::Child, within: Duration| -> Result<_, Stop> {
        let started = Instant::now();
        loop {
            let status = child.try_wait().map_err(|why| why.to_string())?;
            if status.is_some() || started.elapsed() > within {
                return Ok(status);
            }
            crate::call::pause(Duration::from_millis(5));
        }
    };
    if ended(&mut child, UNDER_WAY)?.is_some() {
        return Err(Stop::DoesNotApply("it ends before it can be told to".to_owned()));
    }
    let pid = i32::try_from(child.id()).map_err(|why| why.to_string())?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|why| format!("SIGTERM: {why}"))?;
    match ended(&mut child, PROMPTLY)? {
        None => trial.find("off that is told to end should end within 3 s, and does not", None),
        Some(status) if status.code() == Some(0) => {
            trial.find("off that is told to end should not succeed, and exits with 0", None);
        }
        Some(status) if status.signal().is_none() && !matches!(status.code(), Some(1 | 143)) => {
            trial.find(format!("off that is told to end should end by the signal or with 1: {status}"), None);
        }
        Some(_) => {
            crate::call::pause(Duration::from_millis(200));
            let left = group(pid);
            if !left.is_empty() {
                trial.find(
                    format!("nothing should stay behind after SIGTERM, and {} does", left.join(", ")),
                    None,
                );
            }
        }
    }
    crate::call::kill_group(&child);
    let _ = child.wait();
    Ok(())
}

/// Commands of the living processes in a process group.
fn group(wanted: i32) -> Vec<String> {
    let stat = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let (state, group) = (fields.first()?, fields.get(2)?);
        (*state != "Z" && group.parse() == Ok(wanted))
            .then(|| head.split_once('(').map_or("?", |(_, name)| name).to_owned())
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(stat).collect()
}

fn closed(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let values = filled(trial);
    let plain = trial.run(&trial.subject.fencer(&lines(&values, "status")))?;
    for redirections in ["1>&-", "2>&-", "1>&- 2>&-"] {
        let call = trial.subject.fencer(&lines(&values, "status")).closing(redirections);
        let answer = trial.run(&call)?;
        let doing = format!("status with {redirections}");
        // How it ends without that is another case's.
        if answer.end != plain.end {
            trial.expect_code(&answer, &[0, 1, 2], &doing);
        }
        if declares(trial, "ip") {
            trial.expect(
                !answer.is(0),
                || format!("{doing} and no device should fail, and exits with 0"),
                &answer,
            );
        }
    }
    let answer = trial.run(&trial.subject.fencer("").args(["-o", "metadata"]).closing("0<&-"))?;
    expect_an_end(trial, &answer, "-o metadata with 0<&-");
    Ok(())
}
