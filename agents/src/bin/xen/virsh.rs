//! libvirt's `virsh` as a toolstack of Xen: virsh(1), with the driver libxl (`xen:///`).
//!
//! It is for what is done to a guest. What there is, is asked of `xl` or `xm` as long as one of them is installed: they show what
//! the hypervisor has, and libvirt calls a guest that is just being received "shut off" or "paused".

use crate::listing::{Condition, Domain, Reason};
use crate::vm::{Flag, Vm};
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::prelude::*;

/// The Xen of this host: the word that both of libvirt's drivers for it take.
pub const URI: &str = "xen:///";
/// The target of a migration, where `migration_uri` says nothing else: both drivers take this path.
const TARGET: &str = "xen+ssh://%s/";

/// `virsh -c xen:/// WORDS...`.
fn own(words: &[&str]) -> Cmd {
    Cmd::new("virsh").args(["-c", URI]).args(words.iter().copied())
}

/// What `xl` calls WORDS.
pub fn cmd(words: &[&str]) -> Cmd {
    match words {
        ["list", ..] => own(&["list", "--all"]),
        ["unpause", name] => own(&["resume", name]),
        ["trigger", name, "power"] => own(&["shutdown", name, "--mode", "acpi"]),
        ["mem-set", name, mib] => own(&["setmem", name, &format!("{mib}M")]),
        same => own(same),
    }
}

/// Sends the guest: the target's own libvirt is asked through ssh.
pub fn migration(vm: Option<&Vm>, name: &str, address: &str) -> Cmd {
    let live = !vm.is_some_and(Vm::pauses);
    let tunnelled = vm.is_some_and(|vm| vm.tunnelled == Some(Flag(true)));
    let uri = vm.map(|vm| vm.migration_uri.as_str()).filter(|uri| !uri.is_empty() && *uri != "auto");
    let mut words = vec!["migrate"];
    words.extend(live.then_some("--live"));
    // It is between the two daemons, so that they have to speak with each other.
    words.extend(tunnelled.then_some(["--p2p", "--tunnelled"]).into_iter().flatten());
    let target = uri.unwrap_or(TARGET).replace("%s", address);
    words.extend([name, &target]);
    own(&words)
}

/// Whether libvirt's daemon answers.
pub fn answers(cx: &Cx, until: ocf_lib::deadline::Deadline) -> bool {
    cx.run_until(&own(&["uri"]), until).is_ok_and(|said| said.success())
}

/// `virsh list --all`: Id, Name and State, in columns of a width that depends on the rows. `Err`: what is not understood.
///
/// A guest that libvirt knows and that does not run is none, as with the guests that xend knows.
pub fn parse(text: &str, wanted: &str) -> Result<Vec<Domain>, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().unwrap_or_default();
    if header.split_whitespace().collect::<Vec<_>>() != ["Id", "Name", "State"] {
        return Err(format!("no list of domains, but {header:?}"));
    }
    let mut domains = Vec::new();
    for line in lines.filter(|line| !line.trim_start().starts_with("---")) {
        match row(line) {
            Some(Row::Active(domain)) => domains.push(domain),
            // Nothing tells where the name ends.
            None if line.contains(wanted) => {
                return Err(format!("a row that makes no sense: {:?}", line.trim()));
            }
            Some(Row::Inactive) | None => {}
        }
    }
    Ok(domains)
}

enum Row {
    Active(Domain),
    Inactive,
}

/// A name may have blanks, and a state may: it is one of a closed list.
fn row(line: &str) -> Option<Row> {
    let (id, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let (name, condition) = STATES.iter().find_map(|(state, condition)| {
        let name = rest.strip_suffix(state)?;
        name.ends_with(char::is_whitespace).then(|| (name.trim().to_owned(), *condition))
    })?;
    match (id, condition) {
        ("-", _) | (_, None) => Some(Row::Inactive),
        (id, Some(condition)) => Some(Row::Active(Domain {
            name,
            id: id.parse().ok()?,
            memory: 0,
            processors: 1,
            condition,
            has_run: None,
            uuid: None,
        })),
    }
}

/// `virsh_domain_state` (`virsh-domain-monitor.c`), what each of them is. "no state" is a guest that was on no processor and waited for
/// nothing in that moment.
const STATES: [(&str, Option<Condition>); 9] = [
    ("running", Some(Condition::Running)),
    ("no state", Some(Condition::Running)),
    ("idle", Some(Condition::Blocked)),
    ("blocked", Some(Condition::Blocked)),
    ("paused", Some(Condition::Paused)),
    ("in shutdown", Some(Condition::Running)),
    ("crashed", Some(Condition::ShutDown(Reason::Crash))),
    ("pmsuspended", Some(Condition::Paused)),
    ("shut off", None),
];

/// The last of its errors: the first ones say what was tried.
pub fn cause(stderr: &str) -> Option<String> {
    let mut errors: Vec<&str> =
        stderr.lines().filter_map(|line| line.trim().strip_prefix("error: ")).collect();
    errors.pop().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::dialect::Dialect;
    use ocf_lib::resource::testkit::Bench;
    use std::path::Path;

    /// Recorded of virsh 9.0 with libvirt's own test driver (`test:///default`).
    fn fixture(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    fn conditions(text: &str) -> Vec<(String, Condition)> {
        parse(text, "d1").unwrap().into_iter().map(|domain| (domain.name, domain.condition)).collect()
    }

    #[test]
    fn a_recorded_list_is_read_whole() {
        assert_eq!(
            conditions(&fixture("virsh-list.txt")),
            [
                ("test".to_owned(), Condition::Running),
                ("d1".to_owned(), Condition::Paused),
                ("my long  vm".to_owned(), Condition::Running)
            ],
            "and one that is shut off is none"
        );
    }

    /// The columns of libvirt before 4.10: of a fixed width, which a long name goes beyond.
    #[test]
    fn the_older_table_is_read_too() {
        let text = " Id    Name                           State\n\
            ----------------------------------------------------\n \
            0     Domain-0                       running\n \
            3     d1                             idle\n \
            4     d1-with-a-name-that-is-longer-than-its-column no state\n \
            -     d2                             shut off\n\n";
        assert_eq!(
            conditions(text),
            [
                ("Domain-0".to_owned(), Condition::Running),
                ("d1".to_owned(), Condition::Blocked),
                ("d1-with-a-name-that-is-longer-than-its-column".to_owned(), Condition::Running)
            ]
        );
    }

    #[test]
    fn what_is_no_list_is_an_error_and_never_an_empty_list() {
        for text in ["", "\n", "error: failed to connect to the hypervisor\n", " Id   Name\n"] {
            assert!(parse(text, "d1").is_err(), "{text:?}");
        }
        assert_eq!(parse(" Id   Name   State\n--------------------\n\n", "d1"), Ok(Vec::new()));
        let odd = " Id   Name   State\n---\n 1    d1     dancing\n";
        assert!(parse(odd, "d1").is_err());
        assert_eq!(parse(odd, "d2"), Ok(Vec::new()));
    }

    #[test]
    fn the_words_of_xl_have_their_own_in_virsh() {
        let of = |words: &[&str]| cmd(words).to_string();
        assert_eq!(of(&["shutdown", "d1"]), "virsh -c xen:/// shutdown d1");
        assert_eq!(of(&["destroy", "d1"]), "virsh -c xen:/// destroy d1");
        assert_eq!(of(&["unpause", "d1"]), "virsh -c xen:/// resume d1");
        assert_eq!(of(&["trigger", "d1", "power"]), "virsh -c xen:/// shutdown d1 --mode acpi");
        assert_eq!(of(&["list", "-v"]), "virsh -c xen:/// list --all");
        assert_eq!(of(&["mem-set", "d1", "64"]), "virsh -c xen:/// setmem d1 64M");
    }

    #[test]
    fn a_migration_goes_where_and_how_the_attributes_say() {
        let with = |attributes: &[(&str, &str)]| {
            let bench = Bench::new("Xen", Verb::MigrateTo).dialect(Dialect::Rgmanager);
            let bench = attributes.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
            migration(Vm::of(&bench.into_cx()).0.as_ref(), "d1", "n2").to_string()
        };
        assert_eq!(with(&[]), "virsh -c xen:/// migrate --live d1 xen+ssh://n2/");
        assert_eq!(with(&[("migrate", "pause")]), "virsh -c xen:/// migrate d1 xen+ssh://n2/");
        assert_eq!(
            with(&[("tunnelled", "1"), ("migration_uri", "xen+tls://%s/")]),
            "virsh -c xen:/// migrate --live --p2p --tunnelled d1 xen+tls://n2/"
        );
    }

    #[test]
    fn the_cause_is_the_last_error() {
        assert_eq!(
            cause(&fixture("virsh-create-exists.err")).unwrap(),
            "operation failed: domain 'test' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f"
        );
        assert_eq!(cause(&fixture("virsh-unknown.err")).unwrap(), "failed to get domain 'nosuch'");
        assert!(cause(&fixture("virsh-no-daemon.err")).unwrap().starts_with("Failed to connect socket to"));
        assert!(cause(&fixture("virsh-migrate-no-host.err")).unwrap().contains("Could not resolve hostname"));
        assert_eq!(cause("nothing\n"), None);
    }
}
