//! A host for one trial: namespaces for processes, mounts, network, names; a disk that cannot be written.
//!
//! An agent under judgement is called with wrong and hostile values as root. Nothing it does gets out: it sees only the
//! processes of its trial, no real devices, a read-only disk with a few empty folders, a network of its own, and it has
//! no right to boot, load modules, or reach hardware.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A folder that only this host has and that may be written.
pub const OWN: &str = "/run/judge";

/// Folders that are empty, private and writable in a trial.
const FRESH: [&str; 6] = ["/run", "/tmp", "/var/tmp", "/var/log", "/var/lib/pacemaker", "/var/lib/heartbeat"];

/// Runs `work` in a host of its own and answers the exit status it returns. The process that calls this must be
/// single-threaded and ends with the trial.
pub fn with_own_host(subject: &Path, work: impl FnOnce() -> u8) -> Result<u8, String> {
    let told = |doing: &'static str| move |errno: nix::errno::Errno| format!("{doing}: {}", errno.desc());
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWPID,
    )
    .map_err(told("make namespaces (needs root)"))?;
    // SAFETY: the process is single-threaded, so no lock can be held by a thread that the child does not have.
    match unsafe { fork() }.map_err(told("start the first process of the host"))? {
        ForkResult::Child => {
            // SAFETY: plain prctl; the child dies with the judge, and with it every process of the host.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let name = subject.file_name().unwrap_or_default().to_string_lossy();
            let status = match furnish(subject).and_then(|()| crate::behaviour::stage(&name)) {
                Ok(()) => work(),
                Err(why) => {
                    eprint(&why);
                    CANNOT
                }
            };
            // SAFETY: ends this copy of the process at once; its parent alone unwinds and flushes.
            unsafe { libc::_exit(i32::from(status)) }
        }
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code).unwrap_or(CANNOT)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Err(format!("the trial died by {signal}")),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(format!("wait for the trial: {}", errno.desc())),
            }
        },
    }
}

/// The exit status of a trial whose host could not be made.
pub const CANNOT: u8 = 3;

#[allow(clippy::print_stderr, reason = "read by the judge's own parent process")]
fn eprint(why: &str) {
    eprintln!("cannot make a host for the trial: {why}");
}

fn furnish(subject: &Path) -> Result<(), String> {
    private_mounts()?;
    let folder = subject.parent().unwrap_or(Path::new("/")).to_owned();
    // Held open, because an empty folder may be put above it.
    let keep = File::open(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    read_only()?;
    for place in FRESH.iter().filter(|place| Path::new(place).is_dir()) {
        tmpfs(place, "mode=755")?;
    }
    devices()?;
    mount_at("proc", "/proc", "proc", MsFlags::empty())?;
    let _ = mount_at("sysfs", "/sys", "sysfs", MsFlags::MS_RDONLY);
    mask("/proc/sysrq-trigger");
    // These are not the trial's own: what is written there, the real host obeys. /proc/sys/net is.
    for folder in ["/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/fs", "/proc/irq", "/proc/bus"] {
        read_only_folder(folder)?;
    }
    for place in ["/run/resource-agents", "/run/lock", "/run/tmp", OWN] {
        fs::create_dir_all(place).map_err(|why| format!("{place}: {why}"))?;
    }
    if FRESH.iter().any(|fresh| folder.starts_with(fresh)) {
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let source = PathBuf::from(format!("/proc/self/fd/{}", keep.as_raw_fd()));
        bind(&source, &folder)?;
    }
    let _ = nix::unistd::sethostname("judged");
    for capability in [CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME] {
        // SAFETY: takes plain numbers; the right is gone from every program started from here on.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    network();
    Ok(())
}

const CAP_SYS_MODULE: libc::c_ulong = 16;
const CAP_SYS_RAWIO: libc::c_ulong = 17;
const CAP_SYS_BOOT: libc::c_ulong = 22;
const CAP_SYS_TIME: libc::c_ulong = 25;

fn private_mounts() -> Result<(), String> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(|e| format!("separate the mounts: {}", e.desc()))
}

/// Every mount becomes read-only (`mount_setattr(2)`, Linux 5.12).
fn read_only() -> Result<(), String> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attributes = Attributes { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, namespace: 0 };
    // SAFETY: the path is a literal with NUL, the structure has the kernel's layout and its true size is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            std::mem::size_of::<Attributes>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(format!("make the disk read-only: {}", std::io::Error::last_os_error()))
    }
}

/// `/dev` with the devices that do nothing.
fn devices() -> Result<(), String> {
    let plain = ["null", "zero", "full", "random", "urandom"];
    let kept: Vec<(&str, File)> = plain
        .iter()
        .filter_map(|name| Some((*name, File::open(Path::new("/dev").join(name)).ok()?)))
        .collect();
    tmpfs("/dev", "mode=755")?;
    for (name, file) in &kept {
        let target = Path::new("/dev").join(name);
        File::create(&target).map_err(|why| format!("{}: {why}", target.display()))?;
        bind(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), &target)?;
    }
    for folder in ["/dev/shm", "/dev/pts"] {
        fs::create_dir_all(folder).map_err(|why| format!("{folder}: {why}"))?;
    }
    // Agents that drive a terminal program (ssh, telnet) need terminals.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("newinstance,ptmxmode=0666,mode=620");
    if mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, options).is_ok() {
        std::os::unix::fs::symlink("pts/ptmx", "/dev/ptmx").map_err(|why| why.to_string())?;
    }
    for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        std::os::unix::fs::symlink(to, Path::new("/dev").join(name)).map_err(|why| why.to_string())?;
    }
    Ok(())
}

fn tmpfs(at: &str, options: &str) -> Result<(), String> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options))
        .map_err(|e| format!("empty {at}: {}", e.desc()))
}

fn mount_at(source: &str, at: &str, kind: &str, flags: MsFlags) -> Result<(), String> {
    mount(Some(source), at, Some(kind), flags, None::<&str>).map_err(|e| format!("mount {at}: {}", e.desc()))
}

fn bind(source: &Path, at: &Path) -> Result<(), String> {
    mount(Some(source), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| format!("bind {}: {}", at.display(), e.desc()))
}

/// A folder that may be read but not written; one that is not there is fine.
fn read_only_folder(folder: &str) -> Result<(), String> {
    if !Path::new(folder).is_dir() {
        return Ok(());
    }
    bind(Path::new(folder), Path::new(folder))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, folder, None::<&str>, flags, None::<&str>)
        .map_err(|e| format!("make {folder} read-only: {}", e.desc()))
}

fn mask(file: &str) {
    if Path::new(file).exists() {
        let _ = bind(Path::new("/dev/null"), Path::new(file));
    }
}

/// `lo` up, and the pair `judge0` (`192.0.2.1/24`, `2001:db8::1/64`) and `judge1`. A host without `ip` has no network:
/// the cases that need one say so.
fn network() {
    for words in [
        "link set lo up",
        "link add judge0 type veth peer name judge1",
        "link set judge1 up",
        "link set judge0 up",
        "address add 192.0.2.1/24 brd + dev judge0",
        "address add 2001:db8::1/64 dev judge0 nodad",
    ] {
        let _ = crate::tool::output("ip", &words.split(' ').collect::<Vec<_>>());
    }
}
