//! What a call makes the kernel do: processes, programs, memory, seen by tracing it (ptrace(2)).
//!
//! Peak memory is asked here and not of wait4: the peak that wait4 tells includes the image the child had
//! between fork and exec, which is this program's own.

use super::call::{Call, exit_code, watch};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;

/// An argument that a request does not look at; ptrace is variadic, so its width matters.
const NOTHING: *mut libc::c_void = std::ptr::null_mut();

/// Counted over the whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// New processes; threads are not counted.
    pub forks: u32,
    /// Programs started beyond the one that was called.
    pub execs: u32,
    /// Peak resident size of the largest process, KiB.
    pub peak_kib: u64,
    pub code: i32,
}

/// Runs it once, traced to the end of its last process.
pub fn count(call: &Call) -> Result<Processes, String> {
    let mut command = call.command()?;
    // SAFETY: between fork and exec only ptrace is called, which is async-signal-safe: a bare system call.
    unsafe {
        command.pre_exec(|| {
            let done = libc::ptrace(libc::PTRACE_TRACEME, 0, NOTHING, NOTHING);
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let child = command.spawn().map_err(|why| format!("cannot trace {}: {why}", call.program.display()))?;
    let root = i32::try_from(child.id()).map_err(|why| why.to_string())?;
    watch(root);
    let traced = follow(root);
    watch(0);
    traced
}

fn follow(root: i32) -> Result<Processes, String> {
    let mut counts = Processes::default();
    let mut alive = BTreeSet::from([root]);
    let (pid, _) = wait(root)?;
    let options = libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEEXIT
        | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, pid, options.into())?;
    request(libc::PTRACE_CONT, pid, 0)?;
    while !alive.is_empty() {
        let (pid, status) = wait(-1)?;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if pid == root {
                counts.code = exit_code(status);
            }
            alive.remove(&pid);
            continue;
        }
        alive.insert(pid);
        let mut deliver = 0;
        match status >> 16 {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                if let Some(born) = event_message(pid) {
                    alive.insert(born);
                    counts.forks += u32::from(!is_thread(born));
                }
            }
            libc::PTRACE_EVENT_EXEC => counts.execs += 1,
            libc::PTRACE_EVENT_EXIT => counts.peak_kib = counts.peak_kib.max(peak_kib(pid)),
            // A signal on its way. The first stop of a new process is the tracer's own SIGSTOP.
            _ => {
                let signal = libc::WSTOPSIG(status);
                if signal != libc::SIGTRAP && signal != libc::SIGSTOP {
                    deliver = signal;
                }
            }
        }
        // Killed meanwhile: its end is reported by the next wait.
        let _ = request(libc::PTRACE_CONT, pid, deliver.into());
    }
    Ok(counts)
}

fn wait(pid: i32) -> Result<(i32, i32), String> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live int.
        let changed = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if changed > 0 {
            return Ok((changed, status));
        }
        let why = std::io::Error::last_os_error();
        if why.kind() != std::io::ErrorKind::Interrupted {
            return Err(format!("cannot wait for a traced process: {why}"));
        }
    }
}

fn request(what: libc::c_uint, pid: i32, data: libc::c_long) -> Result<(), String> {
    // SAFETY: these requests take their argument by value and write nothing of ours.
    let done = unsafe { libc::ptrace(what, pid, NOTHING, data) };
    if done == 0 { Ok(()) } else { Err(format!("ptrace: {}", std::io::Error::last_os_error())) }
}

fn event_message(pid: i32) -> Option<i32> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the request writes one unsigned long to the given address.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, NOTHING, &raw mut message) };
    (done == 0).then_some(()).and_then(|()| i32::try_from(message).ok())
}

fn status_field(pid: i32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

fn is_thread(pid: i32) -> bool {
    status_field(pid, "Tgid").is_some_and(|leader| i32::try_from(leader) != Ok(pid))
}

fn peak_kib(pid: i32) -> u64 {
    status_field(pid, "VmHWM").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_programs_are_counted() {
        let call = Call::new("/bin/sh", &["-c", "(exit 0); (exit 0); /bin/true; exec /bin/sh -c 'exit 3'"]);
        let counts = count(&call).unwrap();
        assert_eq!((counts.forks, counts.execs, counts.code), (3, 2, 3), "{counts:?}");
        assert!((200..20_000).contains(&counts.peak_kib), "{counts:?}");
    }

    #[test]
    fn a_program_that_does_nothing_makes_nothing() {
        let counts = count(&Call::new("/bin/true", &[])).unwrap();
        assert_eq!((counts.forks, counts.execs, counts.code), (0, 0, 0));
    }

    #[test]
    fn memory_that_is_used_is_seen() {
        let call = Call::new("/bin/dd", &["if=/dev/zero", "of=/dev/null", "bs=30M", "count=1"]);
        assert!(count(&call).unwrap().peak_kib > 29_000);
    }

    #[test]
    fn signals_reach_the_traced_program() {
        assert_eq!(count(&Call::new("/bin/sh", &["-c", "kill -TERM $$"])).unwrap().code, -libc::SIGTERM);
    }
}
