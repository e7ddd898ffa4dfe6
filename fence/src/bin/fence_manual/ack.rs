//! The operator's side: `fence_manual ack NODE`, and by its older names `fence_ack_manual [-n] NODE`, `meatclient -c NODE [-w]`.
//!
//! Statuses are those of `meatclient`: 0 confirmed, 3 not confirmed (or called wrongly), 4 nothing waits for that node,
//! 8 the waiting process did not take it. `fence_ack_manual` has 1 for all that is not 0.

use super::called::{Called, Failed, Wish};
use super::pipe;
use super::waiting::{self, Notice};
use ocf_lib::deadline::Deadline;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// Carries out what `called` means with these words.
pub fn run(called: Called, arguments: &[String]) -> ExitCode {
    let ended = match called.wish(arguments) {
        None => Err((Failed::NotConfirmed, called.usage().to_owned())),
        Some(Wish::List) => list(),
        Some(Wish::Confirm { node, wait }) => confirm(called, &node, wait),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((failed, why)) => {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::from(called.status(failed))
        }
    }
}

type Ended<T = ()> = Result<T, (Failed, String)>;

fn said(text: &str) {
    // Without anybody who reads it there is nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

fn waiting() -> Ended<Vec<(Notice, UnixStream)>> {
    waiting::all()
        .map_err(|why| (Failed::NobodyWaits, format!("cannot look into {}: {why}", waiting::FOLDER)))
}

fn list() -> Ended {
    for (notice, _) in waiting()? {
        said(&format!("{}\t{}\n", notice.node, notice.action));
    }
    Ok(())
}

/// Who waits for a word about one node.
enum Waiter {
    Agent(Notice, UnixStream),
    /// Heartbeat's own plugin, whose client this program stands in for.
    Plugin(pipe::Pipe),
}

impl Waiter {
    fn action(&self) -> &str {
        match self {
            Self::Agent(notice, _) => &notice.action,
            Self::Plugin(_) => "reset",
        }
    }

    fn take(&mut self) -> bool {
        match self {
            Self::Agent(notice, stream) => {
                let taken = stream
                    .write_all(notice.confirmation().as_bytes())
                    .and_then(|()| waiting::read_line(stream));
                taken.ok().as_deref() == Some("taken\n")
            }
            Self::Plugin(pipe) => pipe.confirm().is_ok(),
        }
    }
}

/// Those who wait for exactly this node, at the latest when `wait` is over.
fn waiters(called: Called, node: &str, wait: Duration) -> Ended<Vec<Waiter>> {
    let until = Deadline::after(wait);
    loop {
        let (ours, others): (Vec<_>, Vec<_>) =
            waiting()?.into_iter().partition(|(notice, _)| notice.node == node);
        let mut ours: Vec<_> =
            ours.into_iter().map(|(notice, stream)| Waiter::Agent(notice, stream)).collect();
        if called == Called::Meatclient {
            ours.extend(pipe::Pipe::open(node).map(Waiter::Plugin));
        }
        if !ours.is_empty() {
            return Ok(ours);
        }
        if until.expired() {
            let others: Vec<_> = others.iter().map(|(notice, _)| notice.node.as_str()).collect();
            let others = if others.is_empty() {
                "nothing waits at all".to_owned()
            } else {
                format!("what waits: {}", others.join(", "))
            };
            return Err((
                Failed::NobodyWaits,
                format!("nothing waits for a confirmation of exactly '{node}'; {others}"),
            ));
        }
        until.sleep(Duration::from_millis(500));
    }
}

fn confirm(called: Called, node: &str, wait: Duration) -> Ended {
    let ours = waiters(called, node, wait)?;
    let actions: Vec<_> = ours.iter().map(Waiter::action).collect();
    said(&format!(
        "The cluster waits for: {} of {node}.\n\
         If {node} still runs and you confirm, DATA WILL BE DESTROYED. Confirm only if you have seen yourself that it is off,\n\
         or cut off from all storage and networks. {}",
        actions.join(", "),
        called.prompt()
    ));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_err() || !called.agreed(&answer) {
        return Err((Failed::NotConfirmed, "not confirmed".to_owned()));
    }
    for mut waiter in ours {
        if !waiter.take() {
            return Err((
                Failed::NotTaken,
                format!(
                    "the request for {} of {node} was over before it was confirmed: nothing was taken",
                    waiter.action()
                ),
            ));
        }
    }
    said("confirmed\n");
    Ok(())
}
