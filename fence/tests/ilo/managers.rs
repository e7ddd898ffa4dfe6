//! Heartbeat's plugin `external/riloe`: the program under the plugin's name, and the real `stonith`.

use std::path::PathBuf;
use std::time::Instant;

use ringfence_tests::sim::ribcl::{Generation, Quirks};

use super::agent::{Bed, PROGRAM, Run, bed, with};
use super::ran::{command, ended, started};

/// The program as `external/riloe`.
fn plugin(bed: &Bed) -> PathBuf {
    let folder = bed.folder.path().join("stonith/plugins/external");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("riloe");
    if !path.exists() {
        std::os::unix::fs::symlink(PROGRAM, &path).unwrap();
    }
    path
}

fn called(bed: &Bed, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = command(&plugin(bed));
    command.args(args).envs(variables.iter().copied());
    let begun = Instant::now();
    ended(started(command, ""), begun)
}

/// With the parameters of a configuration; `more` wins.
fn configured(bed: &Bed, args: &[&str], more: &[(&str, &str)]) -> Run {
    let port = bed.sim.address().port().to_string();
    let pin = bed.sim.fingerprint();
    let mut variables = vec![
        ("hostlist", "node1"),
        ("ilo_hostname", "127.0.0.1"),
        ("ipport", &port),
        ("ilo_user", "admin"),
        ("ilo_password", "s3cret1"),
        ("ssl_fingerprint", &pin),
    ];
    variables.extend_from_slice(more);
    called(bed, args, &variables)
}

#[test]
fn information_needs_no_configuration() {
    let bed = bed(Generation::Ilo2);
    let names = called(&bed, &["getconfignames"], &[]);
    let words: Vec<_> = names.stdout.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "hostlist",
            "ilo_hostname",
            "ilo_user",
            "ilo_password",
            "ilo_can_reset",
            "ilo_protocol",
            "ilo_powerdown_method",
            "ilo_proxyhost",
            "ilo_proxyport"
        ]
    );
    for op in ["getinfo-devid", "getinfo-devname", "getinfo-devdescr", "getinfo-devurl", "getinfo-xml"] {
        let run = called(&bed, &[op], &[]);
        assert!(run.code == Some(0) && !run.stdout.is_empty(), "{op} {run:?}");
    }
    assert_eq!(bed.sim.connections(), 0);
}

#[test]
fn the_plugin_switches_what_upstreams_switches() {
    for generation in [Generation::Riloe, Generation::Ilo2, Generation::Ilo4] {
        let bed = bed(generation);
        let fine = |run: &Run| assert_eq!(run.code, Some(0), "{generation:?} {run:?} {:?}", bed.sim.log());
        fine(&configured(&bed, &["status"], &[]));
        assert_eq!(configured(&bed, &["gethosts"], &[]).stdout, "node1\n");
        fine(&configured(&bed, &["off", "NODE1"], &[]));
        assert!(!bed.sim.is_on());
        fine(&configured(&bed, &["status"], &[]));
        fine(&configured(&bed, &["on", "node1"], &[]));
        assert!(bed.sim.is_on());
        bed.sim.forget();
        fine(&configured(&bed, &["reset", "node1"], &[]));
        let log = bed.sim.log();
        assert!(log.contains(&"power off".into()) && bed.sim.is_on(), "{log:?}");
        // Its default, as upstream's: the power, not the button.
        assert!(log.contains(&"order SET_HOST_POWER HOST_POWER=No".into()), "{log:?}");
    }
}

#[test]
fn the_nine_parameters_mean_what_they_meant() {
    let bed = bed(Generation::Ilo2);
    for (name, value, order) in [
        ("ilo_can_reset", "1", "order COLD_BOOT_SERVER"),
        ("ilo_powerdown_method", "button", "order HOLD_PWR_BTN"),
        ("ilo_powerdown_method", "anything", "order SET_HOST_POWER HOST_POWER=No"),
        ("ilo_protocol", "2.0", "order SET_HOST_POWER HOST_POWER=No"),
    ] {
        bed.sim.forget();
        let run = configured(&bed, &["reset", "node1"], &[(name, value)]);
        assert_eq!(run.code, Some(0), "{name}={value} {run:?}");
        assert!(bed.sim.log().contains(&order.to_owned()), "{name}={value} {:?}", bed.sim.log());
        assert!(bed.sim.is_on());
    }
    bed.sim.forget();
    for (more, words) in [
        (("ilo_proxyport", "x"), "--ilo-proxyport"),
        (("ilo_protocol", "x"), "--ribcl-version"),
        (("hostlist", "node2"), "does not control host 'node1'"),
        (("ilo_hostname", ""), "ilo_hostname is not set"),
    ] {
        let run = configured(&bed, &["reset", "node1"], &[more]);
        assert!(run.code == Some(1) && run.stderr.contains(words), "{more:?} {run:?}");
    }
    assert!(bed.sim.log().is_empty());
}

#[test]
fn the_plugin_verifies_and_does_not_believe() {
    let bed = bed(Generation::Ilo2);
    let run = configured(&bed, &["reset", "node1"], &[("ssl_fingerprint", "")]);
    assert!(run.code == Some(1) && run.stderr.contains("certificate is not trusted"), "{run:?}");
    configured(&bed, &["status"], &[("ssl_fingerprint", ""), ("ssl_insecure", "1")]).is(0, "", "");
    let run = configured(&bed, &["status"], &[("ilo_password", "wrong")]);
    assert!(run.code == Some(1) && run.stderr.contains("refuses user or password"), "{run:?}");
    let bed = with(Generation::Ilo2, true, Quirks { busy: 99, ..Quirks::default() });
    let run = configured(&bed, &["off", "node1"], &[]);
    assert!(run.code == Some(1) && run.stderr.contains("is busy") && bed.sim.is_on(), "{run:?}");
}

/// The real `stonith` (package `cluster-glue`) and Pacemaker's `fence_legacy`, in a mount namespace in which our program lies in
/// the original's place. Needs root.
#[test]
fn heartbeats_stonith_and_fence_legacy() {
    let bed = bed(Generation::Ilo2);
    let mut command = command(std::path::Path::new("/usr/bin/timeout"));
    command
        .args(["-k", "2", "40", "unshare", "--mount", "--propagation", "private", "sh", "-c"])
        .arg(
            r#"
            mount --bind "$PROGRAM" /usr/lib/stonith/plugins/external/riloe || exit 91
            step() { name=$1; shift; "$@"; echo "== $name: $? $(cat "$FOLDER/power")"; }
            P="hostlist=n1 ilo_hostname=127.0.0.1 ipport=$PORT ssl_fingerprint=$PIN ilo_user=admin"
            step types sh -c 'stonith -L | grep -x external/riloe'
            step names stonith -t external/riloe -n
            step list stonith -t external/riloe -l $P ilo_password=s3cret1
            step status stonith -t external/riloe -S $P ilo_password=s3cret1
            step denied stonith -t external/riloe -S $P ilo_password=Wr0ng#1
            step off stonith -t external/riloe -T off $P ilo_password=s3cret1 n1
            step on stonith -t external/riloe -T on $P ilo_password=s3cret1 N1
            step reset stonith -t external/riloe -T reset $P ilo_password=s3cret1 n1
            step stranger stonith -t external/riloe -T off $P ilo_password=s3cret1 n2
            legacy() { printf 'plugin=external/riloe\nhostlist=n1\nilo_hostname=127.0.0.1\nipport=%s\nssl_fingerprint=%s\nilo_user=admin\nilo_password=s3cret1\naction=%s\nnodename=n1\n' $PORT $PIN $1 | fence_legacy; }
            step legacy-monitor legacy monitor
            step legacy-off legacy off
            step legacy-on legacy on
            step legacy-reboot legacy reboot
            "#,
        )
        .env("PROGRAM", PROGRAM)
        .env("FOLDER", bed.folder.path())
        .env("PIN", bed.sim.fingerprint())
        .env("PORT", bed.sim.address().port().to_string());
    let begun = Instant::now();
    let run = ended(started(command, ""), begun);
    let said = |name: &str| {
        let mark = format!("== {name}: ");
        let line = run.stdout.lines().find_map(|line| line.strip_prefix(mark.as_str()));
        line.unwrap_or_else(|| panic!("no step {name}: {run:?}")).to_owned()
    };
    for (name, want) in [
        ("types", "0 on"),
        ("names", "0 on"),
        ("list", "0 on"),
        ("status", "0 on"),
        ("off", "0 off"),
        ("on", "0 on"),
        ("reset", "0 on"),
        ("legacy-monitor", "0 on"),
        ("legacy-off", "0 off"),
        ("legacy-on", "0 on"),
        ("legacy-reboot", "0 on"),
    ] {
        assert_eq!(said(name), want, "{name} {run:?}");
    }
    for name in ["denied", "stranger"] {
        assert!(!said(name).starts_with("0 ") && said(name).ends_with(" on"), "{name} {run:?}");
    }
    let offs = bed.sim.log().iter().filter(|line| *line == "power off").count();
    assert_eq!(offs, 4, "{:?}", bed.sim.log());
}
