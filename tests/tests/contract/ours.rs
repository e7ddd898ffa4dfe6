//! What ours promise beyond the standards, on a host where nothing of them runs. What every agent must do is the
//! judge's (`judge.rs`).

use super::call::Call;
use super::document::Node;
use super::host::{Disk, INJECTED, OWN, isolated};
use super::parameters::{Parameters, malformed, only_in_the_lab, ways};
use super::{HOST, can, document_of, fence_document_of, installed, pacemaker, with};
use ringfence_tests::subjects::Subject;
use std::os::unix::fs::symlink;
use std::path::Path;

fn each(test: &str, judge: impl FnMut(&Subject) + Send) {
    if can(test, &[HOST]) {
        let here = |agent: &&Subject| !only_in_the_lab(&agent.name);
        isolated(Disk::ReadOnly, || installed().resource.iter().filter(here).for_each(judge));
    }
}

fn each_way(test: &str, mut judge: impl FnMut(&Subject, &Parameters) + Send) {
    each(test, |agent| ways(&agent.name).iter().for_each(|way| judge(agent, way)));
}

#[test]
fn validation_answers_a_program_in_json() {
    each_way("validation_in_json", |agent, way| {
        let ask = |call: super::Call| {
            let answer = call.env("OCF_OUTPUT_FORMAT", "json").run();
            let value: serde_json::Value =
                serde_json::from_str(&answer.out).unwrap_or_else(|why| panic!("{why}:{}", answer.told()));
            (answer.code, value)
        };
        let (code, right) = ask(with(pacemaker(agent, "validate-all"), way));
        assert_eq!((code, &right["valid"], &right["findings"]), (0, &true.into(), &serde_json::json!([])));
        for parameter in document_of(agent).parameters() {
            let name = parameter.attribute("name").unwrap();
            for value in malformed(parameter.one("content").attribute("type").unwrap()) {
                let (code, wrong) = ask(with(pacemaker(agent, "validate-all"), way).param(name, *value));
                assert_eq!((code, &wrong["valid"]), (6, &false.into()), "{name}={value}");
                assert_eq!(wrong["findings"][0]["parameter"], name, "{wrong}");
                assert_eq!(wrong["findings"][0]["code"], 6, "{wrong}");
            }
        }
    });
}

/// Arguments first, action last; judged by the words.
#[test]
fn serves_heartbeat_and_init() {
    each_way("serves_heartbeat_and_init", |agent, way| {
        let link = |folder: &str| {
            let folder = Path::new(OWN).join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            let link = folder.join(&agent.name);
            let _ = std::fs::remove_file(&link);
            symlink(&agent.file, &link).unwrap();
            link
        };
        let (heartbeat, init) = (link("ha.d/resource.d"), link("init.d"));
        for (program, stopped) in [(heartbeat, 7), (init, 3)] {
            let call =
                |action: &str| with(Call::new(&program).arg(action).env("PATH", super::PATH), way).run();
            let status = call("status").is(stopped);
            assert!(status.out.contains("stopped"), "{}", status.told());
            call("start").is(0);
            let status = call("status").is(0);
            assert!(status.out.contains("running"), "{}", status.told());
            call("stop").is(0);
            call("stop").is(0);
            call("status").is(stopped);
        }
    });
}

/// Nobody may do anything: that is told, and is neither a stopped resource that runs nor one that is wrong everywhere.
#[test]
fn a_caller_without_rights_is_told_so() {
    each_way("a_caller_without_rights", |agent, way| {
        // Where everybody can read it, whatever the modes above the tree are.
        let copy = Path::new(OWN).join(&agent.name);
        std::fs::copy(&agent.file, &copy).unwrap();
        let nobody = ringfence_tests::subjects::Subject { file: copy, ..agent.clone() };
        let run = |action: &str| with(pacemaker(&nobody, action), way).by_nobody().run();
        run("validate-all").is(0);
        run("monitor").is(7);
        run("stop").is(0);
        run("start").one_of(&[1, 2, 4]).says_why();
        with(pacemaker(agent, "start"), way).run().is(0);
        assert_ne!(run("monitor").code, 7, "what runs is never called stopped");
        let stopped = run("stop");
        assert_ne!(stopped.code, 0, "{}", stopped.told());
        stopped.one_of(&[1, 4]).says_why();
        with(pacemaker(agent, "monitor"), way).run().is(0);
        with(pacemaker(agent, "stop"), way).run().is(0);
    });
}

/// A trace is for a person who looks for a fault: it may not become one.
#[test]
fn no_trace_directory_fails_an_action() {
    each("no_trace_directory", |agent| {
        let way = ways(&agent.name).remove(0);
        let traced = |action: &str, folder: &std::ffi::OsStr| {
            with(pacemaker(agent, action), &way).param("trace_ra", "true").param("trace_dir", folder).run()
        };
        let folder = Path::new(OWN).join("trace");
        let hostile =
            ["", " ", "$(touch /run/injected)", "../../run/rf/x", "a\nb", "-h"].map(std::ffi::OsString::from);
        for value in hostile.into_iter().chain([folder.clone().into_os_string()]) {
            for (action, code) in [("monitor", 7), ("start", 0), ("monitor", 0), ("stop", 0), ("monitor", 7)]
            {
                let answer = traced(action, &value);
                assert_eq!(answer.code, code, "{value:?}:{}", answer.told());
            }
            assert!(!Path::new(INJECTED).exists(), "{value:?} of {} was executed", agent.name);
        }
        let written = std::fs::read_dir(folder.join(&agent.name)).unwrap().count();
        assert!(written > 0, "{} traces", agent.name);
    });
}

#[test]
fn every_link_is_announced_and_every_announced_name_is_a_link() {
    let subjects = installed();
    for agent in subjects.fence.iter().filter(|agent| agent.alias_of.is_none()) {
        let mut announced: Vec<_> = Node::names(&fence_document_of(agent).all("symlink").collect::<Vec<_>>());
        let links = subjects.fence.iter().filter(|other| other.alias_of.as_deref() == Some(&agent.name));
        let mut links: Vec<_> = links.map(|link| link.name.clone()).collect();
        announced.sort();
        links.sort();
        assert_eq!(links, announced, "{}", agent.name);
    }
}
