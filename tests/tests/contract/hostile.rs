//! Values that are an attack, a mistake, or noise: nothing runs, nothing breaks, nothing is forged.

use super::host::INJECTED;
use super::parameters::hostile;
use super::resource::{each, harmless, nothing_runs};
use super::{document_of, pacemaker, with};
use crate::parameters::ways;
use std::path::Path;

#[test]
fn no_value_is_executed_and_none_fails_a_probe_or_a_stop() {
    each("no_value_is_executed", |agent| {
        // One way is enough: the others differ in a value that is replaced here in turn.
        let way = ways(&agent.name).remove(0);
        let before = super::host::network();
        for parameter in document_of(agent).parameters() {
            let name = parameter.attribute("name").unwrap();
            for (kind, value) in hostile() {
                let prepare = |call| with(call, &way).param(name, value.clone());
                harmless(agent, prepare);
                let checked = prepare(pacemaker(agent, "validate-all")).run().one_of(&[0, 2, 4, 5, 6]);
                let valid = checked.code == 0;
                if !valid {
                    checked.says_why();
                }
                let started = prepare(pacemaker(agent, "start")).run();
                assert!(valid || started.code != 0, "{name} ({kind}) is refused and used:{}", started.told());
                let forged = started.err.lines().chain(started.out.lines()).any(|line| line == "forged line");
                assert!(!forged, "{name} ({kind}):{}", started.told());
                assert!(
                    !started.err.contains('\u{1b}'),
                    "escape sequences reach a terminal:{}",
                    started.told()
                );
                if started.code == 0 {
                    prepare(pacemaker(agent, "monitor")).run().is(0);
                } else {
                    started.one_of(&[1, 2, 4, 5, 6]).says_why();
                }
                prepare(pacemaker(agent, "stop")).run().is(0);
                prepare(pacemaker(agent, "monitor")).run().one_of(&[7, 5]);
                assert!(!Path::new(INJECTED).exists(), "{name} ({kind}) of {} was executed", agent.name);
            }
        }
        assert_eq!(super::host::network(), before, "{}", agent.name);
        nothing_runs(agent);
    });
}

/// The variables that are not parameters: instance, check level, intervals, trace.
#[test]
fn no_variable_of_the_manager_is_executed_either() {
    const NAMES: [&str; 12] = [
        "OCF_RESOURCE_INSTANCE",
        "OCF_CHECK_LEVEL",
        "OCF_RA_VERSION_MINOR",
        "OCF_OUTPUT_FORMAT",
        "OCF_RESKEY_CRM_meta_timeout",
        "OCF_RESKEY_CRM_meta_clone",
        "OCF_RESKEY_CRM_meta_on_node",
        "OCF_RESKEY_CRM_meta_notify",
        "OCF_RESKEY_crm_feature_set",
        "HA_DATEFMT",
        "HA_debug",
        "PCMK_debug",
    ];
    each("no_variable_is_executed", |agent| {
        let way = ways(&agent.name).remove(0);
        for name in NAMES {
            for (kind, value) in hostile() {
                let prepare = |action: &str| with(pacemaker(agent, action), &way).env(name, value.clone());
                prepare("monitor").run().one_of(&[7, 5]);
                let started = prepare("start").run();
                // The date's format is the administrator's: it may be several lines.
                let ours = name != "HA_DATEFMT";
                assert!(
                    !ours || !started.err.lines().any(|line| line == "forged line"),
                    "{name} ({kind}):{}",
                    started.told()
                );
                if started.code != 0 {
                    started.one_of(&[1, 2, 4, 5, 6]).says_why();
                }
                prepare("stop").run().is(0);
                assert!(!Path::new(INJECTED).exists(), "{name} ({kind}) of {} was executed", agent.name);
            }
        }
        nothing_runs(agent);
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
        let folder = Path::new(super::host::OWN).join("trace");
        for (kind, value) in hostile().into_iter().chain([("folder", folder.clone().into_os_string())]) {
            for (action, code) in [("monitor", 7), ("start", 0), ("monitor", 0), ("stop", 0), ("monitor", 7)]
            {
                let answer = traced(action, &value);
                assert_eq!(answer.code, code, "{kind}:{}", answer.told());
            }
            assert!(!Path::new(INJECTED).exists(), "{kind} of {} was executed", agent.name);
        }
        let written = std::fs::read_dir(folder.join(&agent.name)).unwrap().count();
        assert!(written > 0, "{} traces", agent.name);
        nothing_runs(agent);
    });
}
