//! What an agent prints about itself, kept word for word: a change of it is a change of an interface.
//!
//! Every installed agent is asked; one without a snapshot is red until its snapshot is reviewed and committed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::subjects::{Subjects, subjects};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

fn installed() -> Subjects {
    subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

/// Standard output of a call with an environment that says nothing but `env`.
fn printed(file: &Path, called: &str, args: &[&str], env: &[(&str, &str)]) -> String {
    let output = Command::new(file)
        .arg0(called)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{called} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every snapshot is looked at before the first difference is told.
#[derive(Default)]
struct Snapshots(Vec<String>);

impl Snapshots {
    fn check(&mut self, name: &str, text: &str) {
        let compared = std::panic::catch_unwind(|| {
            insta::with_settings!({ snapshot_path => "snapshots/cli", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(name, text);
            });
        });
        if compared.is_err() {
            self.0.push(name.to_owned());
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "review with cargo insta review: {:?}", self.0);
        }
    }
}

#[test]
fn resource_agents() {
    let mut snapshots = Snapshots::default();
    for agent in installed().resource {
        let name = &agent.name;
        let ocf = format!("/usr/lib/ocf/resource.d/ringfence/{name}");
        let cluster = format!("/usr/share/cluster/{name}.sh");
        let mut check = |kind: &str, called: &str, action: &str, env: &[(&str, &str)]| {
            snapshots.check(&format!("{name}.{kind}"), &printed(&agent.file, called, &[action], env));
        };
        check("meta-data-1.0", &ocf, "meta-data", &[]);
        check(
            "meta-data-1.1",
            &ocf,
            "meta-data",
            &[("OCF_RA_VERSION_MAJOR", "1"), ("OCF_RA_VERSION_MINOR", "1")],
        );
        check("meta-data-rgmanager", &cluster, "meta-data", &[]);
        check("usage", &ocf, "usage", &[]);
    }
}

#[test]
fn fence_agents() {
    let mut snapshots = Snapshots::default();
    for agent in installed().fence {
        let called = format!("/usr/sbin/{}", agent.name);
        for (kind, args) in [("metadata", &["-o", "metadata"][..]), ("help", &["-h"])] {
            snapshots.check(&format!("{}.{kind}", agent.name), &printed(&agent.file, &called, args, &[]));
        }
    }
}

#[test]
fn external_plugins() {
    let mut snapshots = Snapshots::default();
    for plugin in installed().external {
        let called = format!("/usr/lib/stonith/plugins/external/{}", plugin.name);
        let mut text = String::new();
        for operation in [
            "getconfignames",
            "getinfo-devid",
            "getinfo-devname",
            "getinfo-devdescr",
            "getinfo-devurl",
            "getinfo-xml",
        ] {
            text = text + "$ " + operation + "\n" + &printed(&plugin.file, &called, &[operation], &[]);
        }
        snapshots.check(&format!("external-{}", plugin.name), &text);
    }
}

/// A snapshot that nobody writes any more is an agent that went away unnoticed.
#[test]
fn no_snapshot_is_left_over() {
    let subjects = installed();
    let known = |file: &str| {
        let agent = subjects
            .resource
            .iter()
            .chain(&subjects.fence)
            .any(|s| file.starts_with(&format!("{}.", s.name)));
        agent || subjects.external.iter().any(|s| file == format!("external-{}.snap", s.name))
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/cli");
    let files =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = files.filter(|file| !known(file)).collect();
    assert_eq!(left, Vec::<String>::new());
}
