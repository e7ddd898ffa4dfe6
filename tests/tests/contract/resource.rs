//! The OCF contract of a resource agent, on a host where nothing of it runs.

use super::host::{Disk, INJECTED, isolated, network, processes, read_only_folder};
use super::parameters::{Parameters, malformed, ways};
use super::{HOST, can, document_of, installed, pacemaker, recurring, with};
use crate::document::Node;
use ringfence_tests::subjects::Subject;
use std::path::Path;

/// Every word of the OCF standard, of its earlier versions and of rgmanager.
pub const WORDS: [&str; 17] = [
    "start",
    "stop",
    "monitor",
    "status",
    "promote",
    "demote",
    "notify",
    "migrate_to",
    "migrate_from",
    "reload",
    "reload-agent",
    "recover",
    "restart",
    "validate-all",
    "meta-data",
    "usage",
    "methods",
];

/// Words that answer whether they are declared or not: the standard's mandatory ones, and what upstream's agents know.
const ALWAYS: [&str; 9] =
    ["start", "stop", "monitor", "status", "validate-all", "meta-data", "usage", "methods", "help"];

pub fn each(test: &str, mut judge: impl FnMut(&Subject) + Send) {
    if can(test, &[HOST]) {
        isolated(Disk::ReadOnly, || installed().resource.iter().for_each(&mut judge));
    }
}

pub fn each_way(test: &str, mut judge: impl FnMut(&Subject, &Parameters) + Send) {
    each(test, |agent| ways(&agent.name).iter().for_each(|way| judge(agent, way)));
}

#[test]
fn an_unknown_action_is_3_whatever_else_is_wrong() {
    each("an_unknown_action_is_3", |agent| {
        let document = document_of(agent);
        let declared = Node::names(&document.actions());
        for word in WORDS.into_iter().chain(["bogus", "Start", "start ", "", "--start", "verify_everything"])
        {
            let plain = pacemaker(agent, word);
            let garbage = document.parameters().iter().fold(plain.clone(), |call, parameter| {
                call.param(parameter.attribute("name").unwrap(), "\u{7}$(garbage)")
            });
            let bare = super::Call::new(&agent.file).arg(word);
            let known = declared.iter().any(|name| name == word) || ALWAYS.contains(&word);
            for call in [plain, garbage, bare] {
                let answer = call.run();
                assert_eq!(answer.code != 3, known, "{word:?} of {}:{}", agent.name, answer.told());
            }
        }
    });
}

#[test]
fn no_action_is_2_with_usage_and_further_arguments_are_ignored() {
    each("no_action_is_2", |agent| {
        let document = document_of(agent);
        let none = super::Call::new(&agent.file).run().is(2);
        for action in Node::names(&document.actions()) {
            assert!(none.err.contains(&action), "usage names {action}:{}", none.told());
        }
        for word in ["usage", "help"] {
            let usage = pacemaker(agent, word).run().is(0);
            assert!(usage.out.contains("start") && usage.out.contains("meta-data"), "{}", usage.told());
        }
        for (action, code) in [("meta-data", 0), ("monitor", 7), ("stop", 0), ("bogus", 3)] {
            let way = ways(&agent.name).remove(0);
            with(pacemaker(agent, action).args(["stop", "-h", "\u{7}"]), &way).run().is(code);
        }
    });
}

#[test]
fn lives_through_start_monitor_stop_twice_each() {
    each_way("lives_through_start_monitor_stop", |agent, way| {
        let run = |action: &str| with(pacemaker(agent, action), way).run();
        let before = network();
        for _ in 0..2 {
            run("validate-all").is(0);
            with(pacemaker(agent, "validate-all"), way).env("OCF_CHECK_LEVEL", "10").run().is(0);
            run("monitor").is(7);
            let down = with(recurring(agent), way).run().is(7).says_why();
            assert_eq!(down.out, "", "stdout is not for talking:{}", down.told());
            run("stop").is(0);
            run("start").is(0);
            run("start").is(0);
            run("monitor").is(0);
            with(recurring(agent), way).run().is(0);
            run("stop").is(0);
            run("stop").is(0);
            run("monitor").is(7);
        }
        assert_eq!(network(), before, "{} leaves the network as it was", agent.name);
        nothing_runs(agent);
        nothing_is_kept(agent);
    });
}

/// What outlives an action must not outlive the stop.
pub fn nothing_runs(agent: &Subject) {
    let file = agent.file.display().to_string();
    let left: Vec<_> = processes().into_iter().filter(|(_, line)| line.contains(&file)).collect();
    assert_eq!(left, [], "{} has left processes", agent.name);
}

/// A stopped resource has no file of its own in the run directory: a reboot or the next start would find it.
pub fn nothing_is_kept(agent: &Subject) {
    let entries = std::fs::read_dir("/run/resource-agents").unwrap();
    let left: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert_eq!(left, Vec::<String>::new(), "{} has left files", agent.name);
}

/// On a host where it cannot have been started: a probe is 7 (or 5), stop is 0, a recurring monitor 1 or 7.
#[track_caller]
pub fn harmless(agent: &Subject, prepared: impl Fn(super::Call) -> super::Call) {
    prepared(pacemaker(agent, "monitor")).run().one_of(&[7, 5]);
    prepared(recurring(agent)).run().one_of(&[1, 7]).says_why();
    prepared(pacemaker(agent, "stop")).run().is(0);
}

#[test]
fn a_missing_parameter_fails_no_probe_and_no_stop() {
    each_way("a_missing_parameter", |agent, way| {
        let document = document_of(agent);
        for parameter in document.parameters() {
            if parameter.attribute("required") != Some("1") {
                continue;
            }
            let name = format!("OCF_RESKEY_{}", parameter.attribute("name").unwrap());
            for empty in [false, true] {
                let prepare = |call: super::Call| {
                    let call = with(call, way).without(&name);
                    if empty { call.env(&name, "") } else { call }
                };
                harmless(agent, prepare);
                for action in ["start", "validate-all"] {
                    let answer = prepare(pacemaker(agent, action)).run().is(6).says_why();
                    let said = answer.reasons().join(" ");
                    let short = parameter.attribute("name").unwrap();
                    assert!(said.contains(short), "the reason names {short}:{}", answer.told());
                }
            }
        }
    });
}

#[test]
fn a_malformed_parameter_is_6_and_fails_no_probe_and_no_stop() {
    each_way("a_malformed_parameter", |agent, way| {
        let document = document_of(agent);
        let before = network();
        for parameter in document.parameters() {
            let name = parameter.attribute("name").unwrap();
            for value in malformed(parameter.one("content").attribute("type").unwrap()) {
                let prepare = |call| with(call, way).param(name, *value);
                harmless(agent, prepare);
                for action in ["start", "validate-all"] {
                    let answer = prepare(pacemaker(agent, action)).run().is(6).says_why();
                    let said = answer.reasons().join(" ");
                    assert!(said.contains(name), "the reason names {name}:{}", answer.told());
                }
            }
        }
        assert_eq!(network(), before, "{} has changed nothing", agent.name);
    });
}

#[test]
fn a_host_without_tools_or_with_a_read_only_run_directory_fails_no_probe_and_no_stop() {
    if !can("a_host_without_tools", &[HOST]) {
        return;
    }
    isolated(Disk::ReadOnly, || {
        let full = read_only_folder("read-only");
        for agent in &installed().resource {
            for way in ways(&agent.name) {
                let with = |call| with(call, &way);
                for path in ["", "/nonexistent"] {
                    harmless(agent, |call| with(call).env("PATH", path));
                }
                harmless(agent, |call| with(call).without("PATH"));
                harmless(agent, |call| with(call).env("HA_RSCTMP", &full));
                harmless(agent, |call| with(call).env("HA_RSCTMP", "/nonexistent"));
                harmless(agent, |call| with(call).env("HA_RSCTMP", "/dev/null"));
                // What cannot be done there is told, and nothing else.
                let answer = with(pacemaker(agent, "start")).env("HA_RSCTMP", &full).run();
                if answer.code == 0 {
                    with(pacemaker(agent, "stop")).env("HA_RSCTMP", &full).run().is(0);
                } else {
                    answer.one_of(&[1, 2, 4, 5]).says_why();
                }
                with(pacemaker(agent, "monitor")).run().is(7);
                // What runs goes on running for a monitor, and can be stopped, when the tools are gone.
                with(pacemaker(agent, "start")).run().is(0);
                with(recurring(agent)).without("PATH").run().is(0);
                with(recurring(agent)).env("PATH", "/nonexistent").run().is(0);
                with(pacemaker(agent, "stop")).env("PATH", "/nonexistent").run().is(0);
                with(pacemaker(agent, "monitor")).run().is(7);
                nothing_runs(agent);
            }
        }
    });
}

#[test]
fn locale_and_closed_descriptors_change_nothing() {
    each_way("locale_and_closed_descriptors", |agent, way| {
        for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", "0<&- 2>&-"] {
            let run = |action: &str| {
                let call = with(pacemaker(agent, action), way).without("LC_ALL");
                call.env("LANG", "de_DE.UTF-8").env("LANGUAGE", "de:fr").closing(closed).run()
            };
            run("monitor").is(7);
            run("validate-all").is(0);
            run("start").is(0);
            run("monitor").is(0);
            run("stop").is(0);
            run("monitor").is(7);
        }
        let german = with(pacemaker(agent, "start"), way).env("LC_ALL", "de_DE.UTF-8");
        german.run().is(0);
        with(pacemaker(agent, "stop"), way).run().is(0);
    });
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

/// Killed at any moment, the next stop leaves nothing behind and the next start works.
#[test]
fn a_killed_action_is_repaired_by_the_next_one() {
    const ROUNDS: u64 = 24;
    each_way("a_killed_action", |agent, way| {
        let run = |action: &str| with(pacemaker(agent, action), way).run();
        let before = network();
        for round in 0..ROUNDS {
            let killed = if round % 3 == 2 { "stop" } else { "start" };
            if killed == "stop" {
                run("start").is(0);
            }
            let mut child = with(pacemaker(agent, killed), way).start();
            std::thread::sleep(std::time::Duration::from_micros(round * 400));
            // The whole group, as Pacemaker does it.
            let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            child.wait().unwrap();
            if round % 2 == 0 {
                run("stop").is(0);
                run("monitor").is(7);
                nothing_runs(agent);
            }
            run("start").is(0);
            run("monitor").is(0);
            run("stop").is(0);
            run("monitor").is(7);
        }
        assert_eq!(network(), before, "{} leaves nothing behind", agent.name);
        nothing_runs(agent);
        nothing_is_kept(agent);
        assert!(!Path::new(INJECTED).exists());
    });
}
