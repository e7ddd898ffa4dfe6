//! By which name the operator's side was called, and what the words after it mean there.
//!
//! The older programs were each other's elders: `fence_ack_manual` (cluster 2 and 3, still in upstream's package) and `meatclient`
//! (Heartbeat, still in cluster-glue). Their calling forms, questions and statuses are those that were observed of them; they are
//! accepted under their own names alone.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// `meatclient -w` has no end of its own; a terminal that was forgotten has one here.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// The program that the operator means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `fence_manual ack`.
    Ack,
    AckManual,
    Meatclient,
}

/// What went wrong, in the statuses of `fence_manual ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    NotConfirmed,
    NobodyWaits,
    NotTaken,
}

/// What the operator wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    List,
    Confirm { node: String, wait: Duration },
}

impl Called {
    const OLDER: [(&'static str, Self); 2] =
        [("fence_ack_manual", Self::AckManual), ("meatclient", Self::Meatclient)];

    /// The operator's call with its words, if this is one: by the name of the program, or by the word `ack`.
    pub fn by(mut argv: impl Iterator<Item = OsString>) -> Option<(Self, Vec<String>)> {
        let program = argv.next()?;
        let mut rest: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
        let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some((_, older)) = Self::OLDER.iter().find(|(older, _)| Some(*older) == name.as_deref()) {
            return Some((*older, rest));
        }
        (rest.first().map(String::as_str) == Some("ack")).then(|| (Self::Ack, rest.split_off(1)))
    }

    /// The words after it; `None` when they mean nothing.
    pub fn wish(self, arguments: &[String]) -> Option<Wish> {
        let mut words = arguments.iter().map(String::as_str);
        let (mut node, mut wait) = (None, Duration::ZERO);
        while let Some(word) = words.next() {
            match (word, self) {
                ("-l", Self::Ack) => return (arguments.len() == 1).then_some(Wish::List),
                ("-w", Self::Ack) => wait = Duration::from_secs(words.next()?.parse().ok()?),
                ("-w", Self::Meatclient) => wait = A_DAY,
                ("-n", Self::Ack | Self::AckManual) | ("-c", Self::Ack | Self::Meatclient)
                    if node.is_none() =>
                {
                    node = Some(words.next()?);
                }
                (option, _) if option.starts_with('-') => return None,
                (name, Self::Ack | Self::AckManual) if node.is_none() => node = Some(name),
                _ => return None,
            }
        }
        node.filter(|node| !node.is_empty()).map(|node| Wish::Confirm { node: node.to_owned(), wait })
    }

    pub const fn usage(self) -> &'static str {
        match self {
            Self::Ack => {
                "usage: fence_manual ack NODE [-w SECONDS]   confirm that NODE is down\n\
                 \x20      fence_manual ack -l                  show what waits for a confirmation\n\
                 fence_ack_manual [-n] NODE and meatclient -c NODE are understood too"
            }
            Self::AckManual => "usage: fence_ack_manual [-n] NODE   confirm that NODE is down",
            Self::Meatclient => {
                "usage: meatclient -c NODE [-w]   confirm that NODE is down; -w: wait until that is asked for"
            }
        }
    }

    /// How the question ends.
    pub const fn prompt(self) -> &'static str {
        match self {
            Self::Ack | Self::AckManual => "Type 'absolutely' to confirm: ",
            Self::Meatclient => "PROCEED? [yN] ",
        }
    }

    /// Whether what was typed confirms.
    pub fn agreed(self, typed: &str) -> bool {
        match self {
            Self::Ack | Self::AckManual => typed.trim() == "absolutely",
            Self::Meatclient => matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
        }
    }

    /// The exit status.
    pub const fn status(self, failed: Failed) -> u8 {
        match (self, failed) {
            (Self::AckManual, _) => 1,
            (_, Failed::NotConfirmed) => 3,
            (_, Failed::NobodyWaits) => 4,
            (_, Failed::NotTaken) => 8,
        }
    }

    /// The names of the operator's side, for whoever installs it: he calls the program as one in `/usr/sbin` with the word
    /// `getinfo-name`. `None` for every other call.
    pub fn names(args: &[OsString]) -> Option<ExitCode> {
        let [program, word] = args else { return None };
        if word != "getinfo-name" || program != "/usr/sbin/ask" {
            return None;
        }
        let names = Self::OLDER.map(|(name, _)| name).join(" ");
        let written = writeln!(std::io::stdout(), "{names}");
        Some(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn who_is_called() {
        let asked = |line: &str| Called::by(line.split_whitespace().map(OsString::from));
        assert_eq!(asked("/usr/sbin/fence_manual ack n1"), Some((Called::Ack, words("n1"))));
        assert_eq!(asked("/usr/sbin/fence_ack_manual -n n1"), Some((Called::AckManual, words("-n n1"))));
        assert_eq!(asked("meatclient -c n1"), Some((Called::Meatclient, words("-c n1"))));
        assert_eq!(asked("/usr/sbin/fence_manual -o off -n ack"), None);
        assert_eq!(asked("/usr/sbin/fence_manual"), None);
    }

    #[test]
    fn what_is_wanted() {
        let confirm = |node: &str, wait| Some(Wish::Confirm { node: node.into(), wait });
        let understood = |called: Called, line: &str| called.wish(&words(line));
        for line in ["n1", "-n n1", "-c n1"] {
            assert_eq!(understood(Called::Ack, line), confirm("n1", Duration::ZERO), "{line}");
        }
        assert_eq!(understood(Called::Ack, "-c n1 -w 5"), confirm("n1", Duration::from_secs(5)));
        assert_eq!(understood(Called::Ack, "-l"), Some(Wish::List));
        for line in ["n1", "-n n1"] {
            assert_eq!(understood(Called::AckManual, line), confirm("n1", Duration::ZERO), "{line}");
        }
        assert_eq!(understood(Called::Meatclient, "-c n1"), confirm("n1", Duration::ZERO));
        for line in ["-c n1 -w", "-w -c n1"] {
            assert_eq!(understood(Called::Meatclient, line), confirm("n1", A_DAY), "{line}");
        }
        for (called, lines) in [
            (
                Called::Ack,
                &[
                    "",
                    "-n",
                    "n1 n2",
                    "-n n1 n2",
                    "-n n1 -c n2",
                    "-w",
                    "n1 -w x",
                    "--help",
                    "-l n1",
                    "-O n1",
                    "-e n1",
                ][..],
            ),
            (
                Called::AckManual,
                &["", "-n", "-h", "-O", "-O -n n1", "-e -n n1", "n1 n2", "-c n1", "-l", "-n n1 -w 5"],
            ),
            (Called::Meatclient, &["", "n1", "-c", "-c n1 n2", "-c n1 -w 5", "-n n1", "-O -c n1", "-l"]),
        ] {
            for line in lines {
                assert_eq!(understood(called, line), None, "{called:?} {line:?}");
            }
        }
    }

    #[test]
    fn what_confirms() {
        for called in [Called::Ack, Called::AckManual] {
            assert!(called.agreed("absolutely\n") && !called.agreed("y\n") && !called.agreed("Absolutely\n"));
        }
        for (typed, agreed) in [
            ("y\n", true),
            ("Y\n", true),
            ("yes\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yn\n", false),
        ] {
            assert_eq!(Called::Meatclient.agreed(typed), agreed, "{typed:?}");
        }
    }
}
