//! The operator's side: `fence_manual ack NODE`, `fence_ack_manual [-n] NODE`, `meatclient -c NODE [-w SECONDS]`.
//!
//! Statuses are those of `meatclient`: 0 confirmed, 3 not confirmed (or called wrongly), 4 nothing waits for that node,
//! 8 the waiting process did not take it.

use super::waiting::{self, Notice};
use ocf_lib::deadline::Deadline;
use std::ffi::OsString;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const ABORTED: u8 = 3;
const NOBODY: u8 = 4;
const NOT_TAKEN: u8 = 8;

const USAGE: &str = "usage: fence_manual ack NODE [-w SECONDS]   confirm that NODE is down\n\
                     \x20      fence_manual ack -l                  show what waits for a confirmation\n\
                     fence_ack_manual [-n] NODE and meatclient -c NODE are understood too";

/// The arguments of the operator's call, if this is one: by the name of the program, or by the word `ack`.
pub fn asked_for(mut argv: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
    let program = argv.next()?;
    let mut rest: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    if matches!(name.as_deref(), Some("fence_ack_manual" | "meatclient")) {
        return Some(rest);
    }
    (rest.first().map(String::as_str) == Some("ack")).then(|| rest.split_off(1))
}

/// What the operator wants.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    List,
    Confirm { node: String, wait: Duration },
}

fn understood(arguments: &[String]) -> Option<Wish> {
    let mut words = arguments.iter().map(String::as_str);
    let (mut node, mut wait) = (None, Duration::ZERO);
    while let Some(word) = words.next() {
        match word {
            "-l" => return (arguments.len() == 1).then_some(Wish::List),
            "-w" => wait = Duration::from_secs(words.next()?.parse().ok()?),
            "-n" | "-c" if node.is_none() => node = Some(words.next()?),
            option if option.starts_with('-') => return None,
            name if node.is_none() => node = Some(name),
            _ => return None,
        }
    }
    node.filter(|node| !node.is_empty()).map(|node| Wish::Confirm { node: node.to_owned(), wait })
}

/// Carries it out.
pub fn run(arguments: &[String]) -> ExitCode {
    let status = match understood(arguments) {
        None => Err((ABORTED, USAGE.to_owned())),
        Some(Wish::List) => list(),
        Some(Wish::Confirm { node, wait }) => confirm(&node, wait),
    };
    match status {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, why)) => {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::from(status)
        }
    }
}

type Ended = Result<(), (u8, String)>;

fn said(text: &str) {
    // Without anybody who reads it there is nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

fn waiting() -> Result<Vec<(Notice, UnixStream)>, (u8, String)> {
    waiting::all().map_err(|why| (NOBODY, format!("cannot look into {}: {why}", waiting::FOLDER)))
}

fn list() -> Ended {
    for (notice, _) in waiting()? {
        said(&format!("{}\t{}\n", notice.node, notice.action));
    }
    Ok(())
}

fn confirm(node: &str, wait: Duration) -> Ended {
    let until = Deadline::after(wait);
    let ours = loop {
        let (ours, others): (Vec<_>, Vec<_>) =
            waiting()?.into_iter().partition(|(notice, _)| notice.node == node);
        if !ours.is_empty() {
            break ours;
        }
        if until.expired() {
            let others: Vec<_> = others.iter().map(|(notice, _)| notice.node.as_str()).collect();
            let others = if others.is_empty() {
                "nothing waits at all".to_owned()
            } else {
                format!("what waits: {}", others.join(", "))
            };
            return Err((NOBODY, format!("nothing waits for a confirmation of exactly '{node}'; {others}")));
        }
        until.sleep(Duration::from_millis(500));
    };
    let actions: Vec<_> = ours.iter().map(|(notice, _)| notice.action.as_str()).collect();
    said(&format!(
        "The cluster waits for: {} of {node}.\n\
         If {node} still runs and you confirm, DATA WILL BE DESTROYED. Confirm only if you have seen yourself that it is off,\n\
         or cut off from all storage and networks. Type 'absolutely' to confirm: ",
        actions.join(", ")
    ));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_err() || answer.trim() != "absolutely" {
        return Err((ABORTED, "not confirmed".to_owned()));
    }
    for (notice, mut stream) in ours {
        let taken =
            stream.write_all(notice.confirmation().as_bytes()).and_then(|()| waiting::read_line(&mut stream));
        if taken.ok().as_deref() != Some("taken\n") {
            return Err((
                NOT_TAKEN,
                format!(
                    "the request for {} of {node} was over before it was confirmed: nothing was taken",
                    notice.action
                ),
            ));
        }
    }
    said("confirmed\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn who_is_called() {
        let asked = |line: &str| asked_for(line.split_whitespace().map(OsString::from));
        assert_eq!(asked("/usr/sbin/fence_manual ack n1"), Some(words("n1")));
        assert_eq!(asked("/usr/sbin/fence_ack_manual -n n1"), Some(words("-n n1")));
        assert_eq!(asked("meatclient -c n1"), Some(words("-c n1")));
        assert_eq!(asked("/usr/sbin/fence_manual -o off -n ack"), None);
        assert_eq!(asked("/usr/sbin/fence_manual"), None);
    }

    #[test]
    fn what_is_wanted() {
        let confirm =
            |node: &str, wait| Some(Wish::Confirm { node: node.into(), wait: Duration::from_secs(wait) });
        for line in ["n1", "-n n1", "-c n1"] {
            assert_eq!(understood(&words(line)), confirm("n1", 0), "{line}");
        }
        assert_eq!(understood(&words("-c n1 -w 5")), confirm("n1", 5));
        assert_eq!(understood(&words("-l")), Some(Wish::List));
        for line in [
            "",
            "-n",
            "n1 n2",
            "-n n1 n2",
            "-n n1 -c n2",
            "-n n1 -c n2 n3",
            "-w",
            "n1 -w x",
            "--help",
            "-l n1",
        ] {
            assert_eq!(understood(&words(line)), None, "{line:?}");
        }
    }
}
