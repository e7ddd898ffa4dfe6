//! Processes in namespaces of their own, and how they die together. The only `unsafe` of the cluster besides the observer's socket.

use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Everything a node or a cluster has of its own.
pub(crate) const ALL: i32 =
    libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

/// The environment of everything inside a cluster: Pacemaker hands its whole environment on to each agent.
pub(crate) const CLEAN_ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C"), ("TZ", "UTC")];

/// Starts `argv` as pid 1 of new namespaces, in a session of its own, and returns its pid here.
///
/// It dies with its parent (the calling thread, so call this from a program with one thread): `SIGKILL` from outside
/// a pid namespace reaches even its pid 1, and the kernel kills every process in the namespace with it (`pid_namespaces(7)`).
pub(crate) fn spawn_init(argv: &[&OsStr], stdin: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<Pid> {
    let argv: Vec<CString> = argv
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let environment: Vec<CString> = CLEAN_ENVIRONMENT
        .iter()
        .map(|(key, value)| CString::new(format!("{key}={value}")))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, environment_pointers) = (pointers(&argv), pointers(&environment));
    let program = argv.first().ok_or_else(|| io::Error::other("no program given"))?.as_ptr();
    let (stdin, output) = (stdin.as_raw_fd(), output.as_raw_fd());
    let flags = i64::from(ALL | libc::SIGCHLD);
    // SAFETY: clone(2) without CLONE_VM and with a null stack behaves like fork(2): the child runs on a copy of this
    // stack. The caller has one thread, so no lock is held; the child calls async-signal-safe functions only, on
    // memory prepared above, and ends in execve or _exit.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_i64, 0_i64, 0_i64, 0_i64) };
    if pid == 0 {
        // SAFETY: see above; the descriptors and pointers are alive in the copied address space.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::setsid();
            if libc::dup2(stdin, 0) >= 0 && libc::dup2(output, 1) >= 0 && libc::dup2(output, 2) >= 0 {
                libc::execve(program, argv_pointers.as_ptr(), environment_pointers.as_ptr());
            }
            libc::_exit(127);
        }
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(pid).map(Pid::from_raw).map_err(io::Error::other)
}

/// The processes, as this process sees them, whose pid namespace is the one that `init` is pid 1 of, with their names.
pub(crate) fn processes_of(init: i32) -> Vec<(i32, String)> {
    let Ok(namespace) = std::fs::read_link(format!("/proc/{init}/ns/pid")) else { return Vec::new() };
    all_pids()
        .into_iter()
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == namespace))
        .map(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (pid, name.trim_end().to_owned())
        })
        .collect()
}

/// The pid, as this process sees it, of a child of `parent` that calls itself `inner` in `parent`'s own pid namespace.
pub(crate) fn child_by_inner_pid(parent: i32, inner: i32) -> Option<i32> {
    all_pids().into_iter().find(|pid| {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        if field("PPid:").and_then(|text| text.trim().parse().ok()) != Some(parent) {
            return false;
        }
        // NSpid: the pid here, ..., in the parent's namespace, in its own; a node's init is 1 in the last.
        let inner_pids: Vec<i32> =
            field("NSpid:").unwrap_or("").split_whitespace().filter_map(|word| word.parse().ok()).collect();
        inner_pids.iter().rev().nth(1) == Some(&inner)
    })
}

fn all_pids() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
