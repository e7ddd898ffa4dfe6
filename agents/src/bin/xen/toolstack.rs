//! The toolstack: `xl` (Xen 4.1 and later), or `xm` of xend where only that is installed. For rgmanager also libvirt's `virsh`.

use crate::listing::{self, Domain};
use crate::virsh;
use ocf_lib::cmd::{Cmd, Output};
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::dialect::Dialect;
use ocf_lib::resource::prelude::*;
use std::path::Path;

/// How `xl` says that this kernel is no control domain of a Xen hypervisor (libxencall, 4.8 and later; before that libxc), and
/// `virsh` that it cannot have one.
const NO_HYPERVISOR: [&str; 4] = [
    "privileged command interface",
    "cannot open libxc handle",
    "cannot init xl context",
    "failed to connect to the hypervisor",
];
/// What only a kernel under Xen has.
const UNDER_XEN: [&str; 3] = ["/sys/hypervisor/properties", "/proc/xen/capabilities", "/dev/xen/privcmd"];

/// The program that manages domains here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolstack {
    Xl,
    Xm,
    Virsh,
}

impl Toolstack {
    /// What looks at the domains here. `None`: nothing is installed.
    pub fn of_this_host(cx: &Cx) -> Option<Self> {
        let virsh = (cx.dialect() == Dialect::Rgmanager).then_some(Self::Virsh);
        [Self::Xl, Self::Xm].into_iter().chain(virsh).find(|tool| cx.has(tool.program()))
    }

    pub const fn program(self) -> &'static str {
        match self {
            Self::Xl => "xl",
            Self::Xm => "xm",
            Self::Virsh => "virsh",
        }
    }

    /// `xl WORDS...`, or what `virsh` calls these words.
    pub fn cmd<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Cmd {
        match self {
            Self::Xl | Self::Xm => Cmd::new(self.program()).args(words),
            Self::Virsh => virsh::cmd(&words.into_iter().collect::<Vec<_>>()),
        }
    }
}

/// The domains of this host; `None`: there is no Xen here, so nothing runs.
pub fn domains(cx: &Cx, wanted: &str, with_uuid: bool) -> Result<Option<Vec<Domain>>, Fault> {
    let Some(tool) = Toolstack::of_this_host(cx) else {
        return match UNDER_XEN.iter().find(|path| Path::new(path).exists()) {
            None => Ok(None),
            Some(path) => {
                Err(Fault::installed(format!("xl is not installed, and this host runs under Xen ({path})")))
            }
        };
    };
    let words: &[&str] = if with_uuid { &["list", "-v"] } else { &["list"] };
    let cmd = tool.cmd(words.iter().copied());
    let said = cx.run(&cmd)?;
    if !said.success() {
        let words = said.stderr_text();
        let none = NO_HYPERVISOR.iter().any(|no| words.contains(no));
        if none && !UNDER_XEN.iter().any(|path| Path::new(path).exists()) {
            return Ok(None);
        }
        return Err(Fault::generic(format!("cannot see which guests run: {}", failure(&said, &cmd))));
    }
    let text = said.stdout_text();
    let read = match tool {
        Toolstack::Xl | Toolstack::Xm => listing::parse(&text, wanted),
        Toolstack::Virsh => virsh::parse(&text, wanted),
    };
    read.map(Some).map_err(|why| {
        Fault::generic(format!("cannot see which guests run: {} printed {why}", tool.program()))
    })
}

/// How it ended and what the toolstack said first: what comes after the cause is the clearing up.
pub fn failure(output: &Output, cmd: &Cmd) -> String {
    let text = output.stderr_text();
    let program = cmd.program().to_string_lossy();
    let cause = Some(&text).filter(|_| program == "virsh").and_then(|text| virsh::cause(text));
    format!("{program} {}: {}", output.how_it_ended(), cause.unwrap_or_else(|| self::cause(&text)))
}

/// How lines begin that tell of no fault.
const CHATTER: [&str; 7] = [
    "Parsing config",
    "Saving to",
    "xc: info",
    "Shutting down domain",
    "Loading new save file",
    "Savefile contains",
    "migration target: Ready",
];
/// What a migration says whose connection has ended, before it says how that ended.
const OF_A_LOST_CONNECTION: [&str; 3] =
    ["file/stream truncated", "died due to fatal signal Broken pipe", "libxl_domain_suspend failed"];

/// The first line that tells something, without the place in libxl's source.
pub fn cause(stderr: &str) -> String {
    let mut lines = stderr.lines().map(str::trim);
    let mut first = None;
    let telling = lines.find(|line| {
        let chatter = line.is_empty() || CHATTER.iter().any(|words| line.starts_with(words));
        if !chatter && first.is_none() {
            first = Some(*line);
        }
        !chatter && !OF_A_LOST_CONNECTION.iter().any(|words| line.contains(words))
    });
    let line = telling.or(first).unwrap_or("it said nothing");
    let levels = ["libxl: error: ", "libxl: info: ", "xc: error: "];
    let Some(rest) = levels.iter().find_map(|level| line.strip_prefix(level)) else {
        return line.to_owned();
    };
    // `libxl_domain.c:81:libxl__domain_rename: Domain 2:Domain with name ...`, `panic: xg_dom_core.c:205: failed to ...`
    let rest = rest.strip_prefix("panic: ").unwrap_or(rest);
    let place = rest.split_once(": ").filter(|(place, _)| place.contains(".c:"));
    place.map_or(rest, |(_, words)| words).to_owned()
}

/// Runs one command of the toolstack; anything but 0 is a fault with its words.
pub fn run(cx: &Cx, cmd: &Cmd, until: Deadline) -> Result<Output, Fault> {
    let output = cx.run_until(cmd, until)?;
    if output.success() { Ok(output) } else { Err(Fault::generic(failure(&output, cmd))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    fn fixture(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_cause_is_quoted_and_not_the_clearing_up() {
        let of = |name: &str| cause(&fixture(name));
        assert_eq!(of("create-exists.err"), "Domain 2:Domain with name \"d1\" already exists.");
        assert_eq!(
            of("create-nokernel.err"),
            "failed to open file '/root/dom/nosuch': No such file or directory: Internal error"
        );
        assert!(of("create-big.err").contains("Out of memory"), "{}", of("create-big.err"));
        assert!(of("create-nodisk.err").contains("Disk vdev=xvda failed to stat: /dev/nosuch"));
        assert_eq!(of("create-noname.err"), "Domain name must be specified.");
        assert!(of("create-bad1.err").starts_with("bad1.cfg:1: config parsing error"));
        assert!(of("migrate-no-route.err").contains("No route to host"));
        assert_eq!(
            of("migrate-receiver-killed.err"),
            "migration transport process [369] exited with error status 137"
        );
        // If it ends there, the first line is better than none.
        let truncated =
            "libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading ipc msg";
        assert_eq!(cause(truncated), "file/stream truncated reading ipc msg");
    }

    #[test]
    fn xl_is_taken_before_xm() {
        let both = Bench::new("Xen", Verb::Start).answer("xm", 0, "", "").answer("xl", 0, "", "").into_cx();
        assert_eq!(Toolstack::of_this_host(&both), Some(Toolstack::Xl));
        let old = Bench::new("Xen", Verb::Start).answer("xm", 0, "", "").into_cx();
        assert_eq!(Toolstack::of_this_host(&old), Some(Toolstack::Xm));
    }

    #[test]
    fn virsh_is_the_last_and_for_rgmanager_alone() {
        let with = |tools: &[&str], dialect| {
            let bench = Bench::new("Xen", Verb::Start).dialect(dialect);
            Toolstack::of_this_host(
                &tools.iter().fold(bench, |bench, tool| bench.answer(tool, 0, "", "")).into_cx(),
            )
        };
        assert_eq!(with(&["virsh"], Dialect::Ocf11), None);
        assert_eq!(with(&["virsh"], Dialect::Rgmanager), Some(Toolstack::Virsh));
        assert_eq!(with(&["virsh", "xl"], Dialect::Rgmanager), Some(Toolstack::Xl));
    }

    #[test]
    fn where_only_virsh_is_it_lists_and_a_daemon_that_is_away_under_xen_is_no_proof() {
        let asked = |code, out: &str, err: &str| {
            let bench = Bench::new("Xen", Verb::Status).dialect(Dialect::Rgmanager);
            domains(&bench.answer("virsh", code, out, err).into_cx(), "d1", false)
        };
        assert_eq!(asked(0, &fixture("virsh-list.txt"), "").unwrap().unwrap().len(), 3);
        // This machine has no Xen at all: no daemon, one without the driver, one whose driver found nothing.
        for words in ["virsh-no-daemon.err", "virsh-no-driver.err", "virsh-no-xen.err"] {
            assert_eq!(asked(1, "", &fixture(words)), Ok(None), "{words}");
        }
        let fault = asked(1, "", "error: Failed to list domains\nerror: internal error: x\n").unwrap_err();
        assert_eq!(fault.reason(), "cannot see which guests run: virsh exited 1: internal error: x");
    }

    #[test]
    fn a_host_without_xen_has_no_guests_and_a_tool_that_fails_is_no_proof() {
        let no_tool = Bench::new("Xen", Verb::Monitor).into_cx();
        assert_eq!(domains(&no_tool, "d1", false), Ok(None));
        let words = "xencall: error: Could not obtain handle on privileged command interface: No such file or directory\n\
            libxl: error: libxl.c:91:libxl_ctx_alloc: cannot open libxc handle: No such file or directory\n\
            cannot init xl context\n";
        let no_kernel = Bench::new("Xen", Verb::Monitor).answer("xl", 1, "", words).into_cx();
        assert_eq!(domains(&no_kernel, "d1", false), Ok(None));
        let broken =
            Bench::new("Xen", Verb::Monitor).answer("xl", 1, "", "libxl_list_domain failed.\n").into_cx();
        let fault = domains(&broken, "d1", false).unwrap_err();
        assert_eq!(fault.reason(), "cannot see which guests run: xl exited 1: libxl_list_domain failed.");
        let silent = Bench::new("Xen", Verb::Monitor).answer("xl", 0, "", "").into_cx();
        assert!(domains(&silent, "d1", false).is_err());
    }
}
