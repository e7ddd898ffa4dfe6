//! What can go wrong with a process and its host, put there for one call and taken away again.

use super::order::Survey;
use crate::call::{Answer, Call};
use crate::host::OWN;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, killpg};
use ringfence_conformance::relay::SplitMix64;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// What a tool of the agent does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Fails,
    Hangs,
    /// With success.
    Garbage,
    IsKilled,
    Absent,
}

impl Tool {
    const ALL: [Self; 5] = [Self::Fails, Self::Hangs, Self::Garbage, Self::IsKilled, Self::Absent];

    const fn word(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::Hangs => "hangs",
            Self::Garbage => "prints garbage with success",
            Self::IsKilled => "is killed",
            Self::Absent => "cannot be run",
        }
    }

    /// By the shell alone: every other program may be the one that is replaced.
    fn script(self) -> String {
        match self {
            Self::Fails => "#!/bin/sh\necho 'it failed' >&2\nexit 1\n".to_owned(),
            Self::Hangs => format!("#!/bin/sh\nread -r never <{}\n", fifo()),
            Self::Garbage => {
                "#!/bin/sh\nprintf '\\377\\376{\"[<0 on off up 1 \\0\\n%s\\n' garbage\nexit 0\n".to_owned()
            }
            Self::IsKilled => "#!/bin/sh\nkill -9 $$\n".to_owned(),
            Self::Absent => String::new(),
        }
    }
}

fn fifo() -> String {
    format!("{OWN}/never")
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// SIGKILL to its process group at that moment.
    Kill(Duration),
    /// SIGTERM to its process group.
    Term(Duration),
    /// SIGSTOP, and SIGCONT after the second span.
    Pause(Duration, Duration),
    Tool(String, Tool),
    /// Not a byte and not a file more fits into the run directory.
    Full,
    ReadOnly,
    /// `RLIMIT_NOFILE`.
    FewDescriptors(u64),
    /// `RLIMIT_AS` in MiB.
    LittleMemory(u64),
    /// `RLIMIT_FSIZE` 0: every write into a file fails.
    NoFileGrows,
    Closed(&'static str),
}

impl Wrong {
    pub fn draw(random: &mut SplitMix64, survey: &Survey, way: usize, action: &str) -> Self {
        // A little beyond its usual end, too.
        let whole = survey.micros(way, action).max(500);
        let mut moment = || Duration::from_micros(random.below(whole + whole / 10));
        let (first, second) = (moment(), moment());
        let span = first.min(Duration::from_millis(400)) + Duration::from_millis(50);
        match random.below(100) {
            0..24 => Self::Kill(second),
            24..32 => Self::Term(second),
            32..40 => Self::Pause(second, span),
            40..72 if !survey.programs.is_empty() => {
                let which = usize::try_from(random.below(survey.programs.len() as u64)).unwrap_or(0);
                let how = usize::try_from(random.below(Tool::ALL.len() as u64)).unwrap_or(0);
                let path = survey.programs.get(which).cloned().unwrap_or_default();
                Self::Tool(path, Tool::ALL.get(how).copied().unwrap_or(Tool::Fails))
            }
            40..72 => Self::Kill(first),
            72..79 => Self::Full,
            79..84 => Self::ReadOnly,
            84..89 => Self::FewDescriptors(3 + random.below(10)),
            89..93 => Self::LittleMemory(2 + random.below(60)),
            93..95 => Self::NoFileGrows,
            _ => Self::Closed(if random.chance(50) { "0<&- 1>&- 2>&-" } else { "0<&- 1>&-" }),
        }
    }

    /// The kind of fault in words, without the numbers of one schedule.
    pub fn kind(&self) -> String {
        match self {
            Self::Kill(_) => "SIGKILL".to_owned(),
            Self::Term(_) => "SIGTERM".to_owned(),
            Self::Pause(..) => "SIGSTOP for a while".to_owned(),
            Self::Tool(path, how) => {
                format!("{} that {}", path.rsplit('/').next().unwrap_or(path), how.word())
            }
            Self::Full => "a full run directory".to_owned(),
            Self::ReadOnly => "a read-only run directory".to_owned(),
            Self::FewDescriptors(_) => "few file descriptors".to_owned(),
            Self::LittleMemory(_) => "little memory".to_owned(),
            Self::NoFileGrows => "a file size limit of 0".to_owned(),
            Self::Closed(_) => "closed standard descriptors".to_owned(),
        }
    }

    /// Whether the call is ended from outside: it has answered nothing.
    pub fn ends_it(&self) -> bool {
        matches!(self, Self::Kill(_) | Self::Term(_))
    }

    /// For how long it could do nothing.
    pub fn paused(&self) -> Duration {
        if let Self::Pause(_, span) = self { *span } else { Duration::ZERO }
    }

    pub fn hangs_a_tool(&self) -> bool {
        matches!(self, Self::Tool(_, Tool::Hangs))
    }

    /// Runs the call with the fault; afterwards the host is as before.
    pub fn run(&self, call: &Call) -> Result<Answer, String> {
        let call = self.applied(call.clone());
        let lift = self.put()?;
        let mut sent = (false, false);
        let answer = call.run_watched(|group, elapsed| match self {
            Self::Kill(at) | Self::Term(at) if !sent.0 && elapsed >= *at => {
                let signal = if matches!(self, Self::Kill(_)) { Signal::SIGKILL } else { Signal::SIGTERM };
                let _ = killpg(group, signal);
                sent.0 = true;
            }
            Self::Pause(at, span) => {
                if !sent.0 && elapsed >= *at {
                    let _ = killpg(group, Signal::SIGSTOP);
                    sent.0 = true;
                }
                if !sent.1 && elapsed >= *at + *span {
                    let _ = killpg(group, Signal::SIGCONT);
                    sent.1 = true;
                }
            }
            Self::Kill(_)
            | Self::Term(_)
            | Self::Tool(..)
            | Self::Full
            | Self::ReadOnly
            | Self::FewDescriptors(_)
            | Self::LittleMemory(_)
            | Self::NoFileGrows
            | Self::Closed(_) => {}
        });
        let lifted = lift.away();
        let answer = answer?;
        lifted?;
        Ok(answer)
    }

    fn applied(&self, call: Call) -> Call {
        match self {
            Self::FewDescriptors(count) => call.limited(&format!("ulimit -n {count}")),
            Self::LittleMemory(size) => call.limited(&format!("ulimit -v {}", size * 1024)),
            Self::NoFileGrows => call.limited("trap '' XFSZ; ulimit -f 0"),
            Self::Closed(how) => call.closing(how),
            Self::Kill(_)
            | Self::Term(_)
            | Self::Pause(..)
            | Self::Tool(..)
            | Self::Full
            | Self::ReadOnly => call,
        }
    }

    fn put(&self) -> Result<Lift, String> {
        match self {
            Self::Tool(path, how) => {
                let stub = format!("{OWN}/instead");
                let told = |why: std::io::Error| format!("{stub}: {why}");
                if *how == Tool::Hangs && !Path::new(&fifo()).exists() {
                    nix::unistd::mkfifo(fifo().as_str(), nix::sys::stat::Mode::S_IRWXU)
                        .map_err(|errno| format!("{}: {}", fifo(), errno.desc()))?;
                }
                fs::write(&stub, how.script()).map_err(told)?;
                let mode = if *how == Tool::Absent { 0o644 } else { 0o755 };
                fs::set_permissions(&stub, fs::Permissions::from_mode(mode)).map_err(told)?;
                let none = None::<&str>;
                mount(Some(stub.as_str()), path.as_str(), none, MsFlags::MS_BIND, none)
                    .map_err(|errno| format!("put something at {path}: {}", errno.desc()))?;
                Ok(Lift::Unmount(path.clone()))
            }
            Self::Full => {
                let about =
                    nix::sys::statvfs::statvfs("/run").map_err(|errno| format!("/run: {}", errno.desc()))?;
                let kib = (about.blocks() - about.blocks_free()) * about.fragment_size() / 1024;
                let files = about.files() - about.files_free();
                remount(MsFlags::empty(), &format!("size={}k,nr_inodes={files}", kib.max(4)))?;
                Ok(Lift::Remount)
            }
            Self::ReadOnly => {
                remount(MsFlags::MS_RDONLY, "")?;
                Ok(Lift::Remount)
            }
            Self::Kill(_)
            | Self::Term(_)
            | Self::Pause(..)
            | Self::FewDescriptors(_)
            | Self::LittleMemory(_)
            | Self::NoFileGrows
            | Self::Closed(_) => Ok(Lift::Nothing),
        }
    }
}

fn remount(flags: MsFlags, options: &str) -> Result<(), String> {
    mount(None::<&str>, "/run", None::<&str>, MsFlags::MS_REMOUNT | flags, Some(options))
        .map_err(|errno| format!("change /run: {}", errno.desc()))
}

/// How the host becomes as before.
enum Lift {
    Nothing,
    Unmount(String),
    Remount,
}

impl Lift {
    fn away(self) -> Result<(), String> {
        match self {
            Self::Nothing => Ok(()),
            // A hanging tool has it open; it is gone for everybody else.
            Self::Unmount(path) => umount2(path.as_str(), MntFlags::MNT_DETACH)
                .map_err(|errno| format!("take something away from {path}: {}", errno.desc())),
            Self::Remount => remount(MsFlags::empty(), "size=50%,nr_inodes=100000"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: &Duration| format!("{:.1} ms", span.as_secs_f64() * 1000.0);
        match self {
            Self::Kill(at) | Self::Term(at) => write!(f, "{} after {}", self.kind(), ms(at)),
            Self::Pause(at, span) => write!(f, "SIGSTOP after {} for {}", ms(at), ms(span)),
            Self::FewDescriptors(count) => write!(f, "at most {count} file descriptors"),
            Self::LittleMemory(size) => write!(f, "at most {size} MiB of address space"),
            Self::Closed(how) => write!(f, "descriptors closed: {how}"),
            Self::Tool(path, how) => write!(f, "{path} {}", how.word()),
            Self::Full | Self::ReadOnly | Self::NoFileGrows => f.write_str(&self.kind()),
        }
    }
}
