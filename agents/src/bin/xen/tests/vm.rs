//! The agent as rgmanager's `vm.sh`.

use super::*;

/// What virsh says when something else is done to the guest for longer than libvirt waits: in the words of its
/// `libxl_domain.c`, not recorded.
const LOCKED: &str = "error: Failed to destroy domain d1\nerror: Timed out during operation: cannot acquire state change lock\n";
const XML: &str = "<domain type='xen'><name>d1</name></domain>\n";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen").join(name);
    std::fs::read_to_string(path).unwrap()
}

impl Host {
    /// As rgmanager calls it: a name, and a folder with the configuration.
    fn vm(&self, verb: Verb) -> Bench {
        Bench::new("Xen", verb)
            .dialect(Dialect::Rgmanager)
            .set("HA_RSCTMP", self.0.path().to_str().unwrap())
            .set("OCF_RESOURCE_INSTANCE", "vm:d1")
            .param("name", "d1")
            .param("path", self.0.path().to_str().unwrap())
    }
}

fn ended(bench: Bench) -> (u8, String, Vec<String>) {
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    (verdict.code.number(), verdict.reason.unwrap_or_default(), words(&commands))
}

/// With a first answer of virsh, which is never asked for in vain.
fn with_virsh(bench: Bench) -> Bench {
    bench.answer("virsh", 0, "", "")
}

#[test]
fn a_status_runs_one_program_and_reads_no_file() {
    let host = host();
    std::fs::remove_file(host.0.path().join("d1.cfg")).unwrap();
    nix::unistd::mkfifo(&host.0.path().join("d1.cfg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (done, over) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let state = probed(with_virsh(listed(host.vm(Verb::Status), &[&["d1 -b----"]])), &host);
        done.send(state)
    });
    assert_eq!(
        over.recv_timeout(Duration::from_secs(20)).expect("it has read the file"),
        (State::Running, 1)
    );
}

#[test]
fn a_start_finds_the_file_by_the_name() {
    let host = host();
    let bench = listed(host.vm(Verb::Start), &[&[], &[]]).answer("xl", 0, "", "");
    let (code, reason, said) = ended(listed(bench, &[&["d1 ------"]]));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said, [format!("xl create {} name=\"d1\"", host.0.path().join("d1.cfg").display())]);
    // None there, and what was looked for.
    let bench = listed(host.vm(Verb::Start).param("name", "d2"), &[&[], &[]]);
    let (code, reason, said) = ended(bench);
    assert_eq!((code, said.len()), (5, 0));
    assert!(reason.contains("none of d2, d2.cfg, d2.xml is in"), "{reason}");
}

#[test]
fn the_file_that_is_named_is_taken() {
    let host = host();
    let file = host.0.path().join("other");
    std::fs::write(&file, "name = 'x'").unwrap();
    let bench = host.vm(Verb::Start).param("xmlfile", file.to_str().unwrap());
    // As the framework translates the attribute.
    let bench = bench.param("xmfile", file.to_str().unwrap());
    let bench = listed(bench, &[&[], &[]]).answer("xl", 0, "", "");
    let (code, _, said) = ended(listed(bench, &[&["d1 ------"]]));
    assert_eq!((code, said), (0, vec![format!("xl create {} name=\"d1\"", file.display())]));
}

#[test]
fn libvirts_xml_is_created_through_virsh_and_looked_at_through_xl() {
    let host = Host::new(XML);
    let bench = with_virsh(listed(host.vm(Verb::Start), &[&[], &[]]));
    let (code, reason, said) = ended(listed(bench, &[&["d1 ------"]]));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said, [format!("virsh -c xen:/// create {}", host.0.path().join("d1.cfg").display())]);
}

#[test]
fn a_guest_that_only_libvirt_has_a_definition_of_is_started() {
    let host = host();
    std::fs::remove_file(host.0.path().join("d1.cfg")).unwrap();
    let start = || listed(host.vm(Verb::Start).param("use_virsh", "1"), &[&[], &[]]);
    let (code, reason, said) = ended(listed(with_virsh(start()), &[&["d1 ------"]]));
    assert_eq!((code, said), (0, vec!["virsh -c xen:/// start d1".to_owned()]), "{reason}");
    let (code, reason, said) = ended(start());
    assert_eq!((code, said.len()), (5, 0));
    assert_eq!(reason, "virsh is not installed, and use_virsh asks for it");
}

#[test]
fn a_file_that_makes_another_guest_than_the_one_that_is_looked_for_makes_none() {
    for (text, attribute, why) in [
        (XML.replace("d1", "d2"), ("migrate", "live"), "is for a guest called 'd2', not d1"),
        (XML.replace("'xen'", "'kvm'"), ("migrate", "live"), "is for a guest of 'kvm', not of Xen"),
        (XML.to_owned(), ("use_virsh", "0"), "is libvirt's XML, and xl does not read it"),
    ] {
        let host = Host::new(&text);
        let bench = host.vm(Verb::Start).param(attribute.0, attribute.1);
        let lists: Vec<&[&str]> = vec![&[]; 5];
        let (code, reason, said) = ended(with_virsh(listed(bench, &lists)));
        assert_eq!((code, said.len()), (5, 0), "{reason}");
        assert!(reason.contains(why), "{reason}");
    }
}

#[test]
fn nothing_is_created_beside_half_of_a_migration_whatever_creates_it() {
    let host = Host::new(XML);
    for row in ["d1--incoming --p---", "d1 ---ss-", "migrating-d1 -b----"] {
        let rows: [&str; 1] = [row];
        let lists: Vec<&[&str]> = vec![&rows; 1000];
        let (code, reason, said) = ended(with_virsh(listed(host.vm(Verb::Start), &lists)));
        assert_eq!((code, said.len()), (1, 0), "{row}: {reason}");
        assert!(reason.contains("nothing is started beside it"), "{row}: {reason}");
    }
}

#[test]
fn a_guest_that_libvirt_has_under_another_uuid_fails_the_start_with_its_words() {
    let host = Host::new(XML);
    let bench = listed(host.vm(Verb::Start), &[&[], &[]]);
    let bench = bench.answer("virsh", 1, "", &fixture("virsh-create-exists.err"));
    let lists: Vec<&[&str]> = vec![&[]; 30];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!((code, said.len()), (1, 1), "{said:?}");
    assert!(reason.contains("already exists with uuid 6695eb01"), "{reason}");
}

#[test]
fn a_guest_that_libvirt_has_started_in_the_meantime_is_the_one() {
    let host = host();
    std::fs::remove_file(host.0.path().join("d1.cfg")).unwrap();
    let bench = listed(host.vm(Verb::Start).param("use_virsh", "1"), &[&[], &[]]);
    let bench = bench.answer("virsh", 1, "", &fixture("virsh-start-active.err")).answer("virsh", 1, "", "");
    let lists: Vec<&[&str]> = vec![&["d1 -b----"]; 4];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!((code, said.len()), (0, 1), "{reason} {said:?}");
    // It counts one that it was receiving when that was taken away.
    let bench = listed(host.vm(Verb::Start).param("use_virsh", "1"), &[&[], &[]]);
    let bench = bench.answer("virsh", 1, "", &fixture("virsh-create-active.err"));
    let (code, reason, _) = ended(listed(bench, &[&[], &[], &[]]));
    assert_eq!(code, 1, "{reason}");
    assert!(reason.contains("domain 'vm' is already active; it is not here: restart libvirtd"), "{reason}");
}

#[test]
fn what_libvirt_is_receiving_is_never_made_to_run_and_is_taken_away_at_once() {
    let host = host();
    let half = list(&["d1 --p---"]).replace("4.3\n", "0.0\n");
    let looks = |bench: Bench| (0..1000).fold(bench, |bench, _| bench.answer("xl", 0, &half, ""));
    let (code, reason, said) = ended(looks(host.vm(Verb::Start)));
    assert_eq!((code, said.len()), (1, 0), "{said:?}");
    assert!(reason.contains("is paused and has never run: it is being received"), "{reason}");
    assert!(reason.contains("nothing is started beside it"), "{reason}");
    // virsh waits for libvirt's lock, and gives up; no_kill is for guests that have something to lose.
    for no_kill in ["0", "1"] {
        let bench = host.vm(Verb::Stop).param("use_virsh", "1").param("no_kill", no_kill);
        let bench = with_virsh(bench.answer("xl", 0, &half, "")).answer("virsh", 1, "", LOCKED);
        let lists: Vec<&[&str]> = vec![&[]; 20];
        let (code, reason, said) = ended(listed(bench.answer("xl", 0, "", ""), &lists));
        assert_eq!(code, 0, "{reason}");
        assert_eq!(said, ["virsh -c xen:/// uri", "virsh -c xen:/// destroy d1", "xl destroy d1"]);
    }
}

#[test]
fn a_guest_that_libvirt_holds_is_asked_to_shut_down_without_it() {
    let host = Host::new(XML);
    let bench = listed(host.vm(Verb::Stop).param("use_virsh", "1"), &[&["d1 -b----"]]);
    let bench = with_virsh(bench).answer("virsh", 1, "", LOCKED).answer("virsh", 1, "", LOCKED);
    let lists: Vec<&[&str]> = vec![&[]; 20];
    let (code, reason, said) = ended(listed(bench.answer("xl", 0, "", ""), &lists));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said.last().unwrap(), "xl shutdown d1", "{said:?}");
}

#[test]
fn a_migration_of_libvirts_whose_end_was_not_heard_is_settled_by_asking_the_other_host() {
    let host = host();
    let half: [&[&str]; 2] = [&["d1 ---ss-"], &["d1 ---ss-"]];
    let bench = sent(&host, XML, &[]).answer("virsh", 1, "", "error: End of file while reading data\n");
    let bench = listed(bench, &half[..1]).answer("ssh", 0, &list(&["d1 -b----"]), "");
    let bench = listed(bench.answer("xl", 0, "", ""), &[&[]]);
    let (code, reason, said) = ended(bench.answer("ssh", 0, &list(&["d1 -b----"]), ""));
    assert_eq!(code, 0, "{reason} {said:?}");
    assert!(said.contains(&"xl destroy d1".to_owned()), "{said:?}");
}

#[test]
fn a_paused_guest_that_only_libvirt_shows_is_not_made_to_run() {
    let host = Host::new(XML);
    let paused = fixture("virsh-list.txt");
    let bench = (0..1000).fold(host.vm(Verb::Start), |bench, _| bench.answer("virsh", 0, &paused, ""));
    let (code, reason, said) = ended(bench);
    assert_eq!(code, 1);
    assert!(reason.contains("guest d1 is paused; nothing is started beside it"), "{reason}");
    assert!(said.iter().all(|words| words == "virsh -c xen:/// list --all"), "{said:?}");
}

#[test]
fn no_kill_leaves_a_guest_running_and_says_that_the_stop_failed() {
    let host = host();
    let stop = |no_kill: &str| {
        let bench = host.vm(Verb::Stop).param("no_kill", no_kill).timeout_ms(40_000);
        let bench = listed(bench, &[&["d1 -b----"]]).answer("xl", 0, "", "");
        let lists: Vec<&[&str]> = vec![&["d1 -b----"]; 120];
        ended(listed(bench, &lists))
    };
    let (code, reason, said) = stop("1");
    assert_eq!((code, said), (1, vec!["xl shutdown d1".to_owned()]));
    assert!(
        reason.contains("guest d1 did not shut down in time, and no_kill forbids to destroy it"),
        "{reason}"
    );
    assert!(stop("0").2.contains(&"xl destroy d1".to_owned()));
    // What cannot be asked is not destroyed either.
    let bench = listed(host.vm(Verb::Stop).param("no_kill", "1"), &[&["d1 -b----"]]);
    let refused = "PV control interface not available\n";
    let bench = bench.answer("xl", 1, "", refused).answer("xl", 1, "", refused);
    let lists: Vec<&[&str]> = vec![&["d1 -b----"]; 120];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!((code, said), (1, vec!["xl shutdown d1".to_owned(), "xl trigger d1 power".to_owned()]));
    assert!(reason.contains("cannot be asked to shut down"), "{reason}");
}

#[test]
fn a_corpse_is_taken_away_in_spite_of_no_kill() {
    let host = host();
    let bench = listed(host.vm(Verb::Stop).param("no_kill", "1"), &[&["d1 ---sc-"]]).answer("xl", 0, "", "");
    let lists: Vec<&[&str]> = vec![&[]; 20];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!((code, said), (0, vec!["xl destroy d1".to_owned()]), "{reason}");
}

#[test]
fn a_stop_goes_through_virsh_and_on_without_a_libvirt_that_does_not_answer() {
    let host = host();
    let stop = || listed(host.vm(Verb::Stop).param("use_virsh", "1"), &[&["d1 -b----"]]);
    let lists: Vec<&[&str]> = vec![&[]; 20];
    let (code, reason, said) = ended(listed(with_virsh(with_virsh(stop())), &lists));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said, ["virsh -c xen:/// uri", "virsh -c xen:/// shutdown d1"]);
    let away = fixture("virsh-no-daemon.err");
    let (code, reason, said) =
        ended(listed(stop().answer("virsh", 1, "", &away).answer("xl", 0, "", ""), &lists));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said, ["virsh -c xen:/// uri", "xl shutdown d1"]);
}

#[test]
fn a_status_program_is_run_at_its_depth_and_after_a_start_until_it_succeeds() {
    let host = host();
    let program = |verb| host.vm(verb).param("status_program", "ping -c1 192.0.2.1");
    let asked = |level: &str, code| {
        let bench = listed(program(Verb::Status).set("OCF_CHECK_LEVEL", level), &[&["d1 -b----"]]);
        ended(bench.answer("ping", code, "", "no answer\n"))
    };
    assert_eq!(asked("0", 1).0, 0, "not at this depth");
    assert_eq!(asked("10", 0), (0, String::new(), vec!["ping -c1 192.0.2.1".to_owned()]));
    let (code, reason, _) = asked("10", 1);
    assert_eq!((code, reason.as_str()), (1, "status program ping exited 1: no answer"));

    let bench = listed(program(Verb::Start), &[&[], &[]]).answer("xl", 0, "", "");
    let up: Vec<&[&str]> = vec![&["d1 -b----"]; 3];
    let bench =
        listed(bench, &up).answer("ping", 1, "", "").answer("ping", 1, "", "").answer("ping", 0, "", "");
    let (code, reason, said) = ended(bench);
    assert_eq!((code, said.iter().filter(|words| words.starts_with("ping")).count()), (0, 3), "{reason}");
}

fn sent(host: &Host, file: &str, attributes: &[(&str, &str)]) -> Bench {
    std::fs::write(host.0.path().join("d1.cfg"), file).unwrap();
    let bench = host.vm(Verb::MigrateTo).set("OCF_RESKEY_CRM_meta_migrate_target", "n2");
    let bench = attributes.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
    listed(bench, &[&["d1 -b----"], &["d1 -b----"]]).answer("ssh", 0, &list(&[]), "")
}

#[test]
fn a_migration_goes_to_the_address_of_the_mapping() {
    let host = host();
    let attributes = [("migration_mapping", "n1:m1,n2:m2"), ("migrate", "pause")];
    let bench = sent(&host, "name = 'd1'", &attributes).answer("xl", 0, "", "Migration successful.\n");
    let (code, reason, said) = ended(listed(bench, &[&[]]));
    assert_eq!(
        (code, said),
        (0, vec!["ssh m2 xl list".to_owned(), "xl migrate d1 m2".to_owned()]),
        "{reason}"
    );
}

#[test]
fn a_guest_of_libvirt_is_migrated_through_it() {
    let host = host();
    let (code, reason, said) = ended(listed(with_virsh(sent(&host, XML, &[])), &[&[]]));
    assert_eq!(code, 0, "{reason}");
    assert_eq!(said, ["ssh n2 xl list", "virsh -c xen:/// migrate --live d1 xen+ssh://n2/"]);
    // libvirt did not say that it succeeded, and nobody has it.
    let bench = sent(&host, XML, &[]).answer("virsh", 1, "", &fixture("virsh-migrate-no-host.err"));
    let (code, reason, _) = ended(listed(bench, &[&[]]).answer("ssh", 0, &list(&[]), ""));
    assert_eq!(code, 1);
    assert!(reason.contains("guest d1 is not here any more"), "{reason}");
}

#[test]
fn the_suspended_half_of_a_migration_of_libvirts_is_left_to_a_person() {
    let host = host();
    let bench = sent(&host, XML, &[]).answer("virsh", 1, "", &fixture("virsh-migrate-no-host.err"));
    let lists: Vec<&[&str]> = vec![&["d1 ---ss-"]; 60];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!(code, 1, "and rgmanager gets 150");
    assert!(reason.contains("it is suspended here"), "{reason}");
    assert!(!said.iter().any(|words| words.contains("resume") || words.contains("destroy")), "{said:?}");
}

#[test]
fn a_migration_after_which_the_guest_runs_on_here_was_not_done() {
    let host = host();
    let bench = sent(&host, "name = 'd1'", &[]).answer("xl", 1, "", &fixture("migrate-no-route.err"));
    let (code, reason, _) = ended(listed(bench, &[&["d1 -b----"], &["d1 -b----"]]));
    assert_eq!(code, 7, "it stays started here: {reason}");
    assert!(reason.contains("runs on here"), "{reason}");
    // A paused one cannot be sent, and is what it was.
    let bench = host.vm(Verb::MigrateTo).set("OCF_RESKEY_CRM_meta_migrate_target", "n2");
    let (code, reason, _) = ended(listed(bench, &[&["d1 --p---"], &["d1 --p---"], &["d1 --p---"]]));
    assert_eq!(code, 7, "{reason}");
    assert!(reason.contains("it is paused"), "{reason}");
    // One that was given away, to a host that cannot be asked, is a doubt.
    let bench = sent(&host, "name = 'd1'", &[]).answer(
        "xl",
        1,
        "",
        "** Migration failed during final handshake **\n",
    );
    let lists: Vec<&[&str]> = vec![&["d1--migratedaway ---ss-"]; 200];
    assert_eq!(ended(listed(bench, &lists)).0, 1);
    let bench = host.vm(Verb::MigrateTo).set("OCF_RESKEY_CRM_meta_migrate_target", "n2");
    let lists: Vec<&[&str]> = vec![&[]; 60];
    let (code, reason, said) = ended(listed(bench, &lists));
    assert_eq!((code, said.len()), (7, 0), "nothing was there to send: {reason}");
}

#[test]
fn what_is_wrong_with_an_attribute_fails_a_start_and_no_status_and_no_stop() {
    let host = host();
    for (attribute, value) in [
        ("migration_mapping", "n1"),
        ("no_kill", "perhaps"),
        ("hypervisor_uri", "qemu:///system"),
        ("migrate", "slow"),
    ] {
        let of = |verb| host.vm(verb).param(attribute, value);
        let (code, reason, _) = ended(of(Verb::Start));
        assert_eq!(code, 6, "{attribute}: {reason}");
        assert!(reason.starts_with(&format!("parameter {attribute}: ")), "{reason}");
        assert_eq!(ended(listed(of(Verb::Status), &[&["d1 -b----"]])).0, 0, "{attribute}");
        let lists: Vec<&[&str]> = vec![&[]; 20];
        let stop = listed(of(Verb::Stop), &[&["d1 -b----"]]).answer("xl", 0, "", "");
        assert_eq!(ended(listed(stop, &lists)).0, 0, "{attribute}");
        let migration = listed(of(Verb::MigrateTo), &[&["d1 -b----"]]);
        assert_eq!(ended(migration).0, 6, "{attribute}: it stays started");
    }
}

#[test]
fn a_guest_of_qemu_is_not_ours_and_not_called_stopped_while_it_runs() {
    let host = host();
    for hypervisor in ["qemu", "kvm"] {
        let of = |verb| host.vm(verb).param("hypervisor", hypervisor);
        assert_eq!(ended(of(Verb::Start)).0, 6);
        assert_eq!(ended(of(Verb::Stop)).0, 0);
        assert_eq!(ended(of(Verb::Status)).0, 7);
    }
    let process = host.0.path().join("proc/8");
    std::fs::create_dir_all(&process).unwrap();
    std::fs::write(process.join("comm"), "qemu-system-x86\n").unwrap();
    std::fs::write(process.join("cmdline"), "qemu-system-x86_64\0-name\0guest=d1,debug-threads=on\0")
        .unwrap();
    let cx = host.vm(Verb::Status).into_cx();
    let seen = host.agent(&cx).probe(&cx).unwrap();
    assert_eq!(seen.reason(), Some("guest d1 runs here under qemu, which this agent does not manage"));
    let cx = host.vm(Verb::Stop).into_cx();
    let mut faults = Faults::default();
    host.agent(&cx).stop(&cx, &mut faults);
    assert_eq!(faults.as_slice().len(), 1);
    // Pacemaker has another agent for it, and no names that could be meant.
    let cx = host.bench(Verb::Monitor).into_cx();
    assert_eq!(host.agent(&cx).probe(&cx), Ok(State::Stopped));
}
