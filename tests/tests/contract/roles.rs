//! What an agent can do beyond start, monitor and stop: held to it as soon as its metadata promises it.

use super::document::Node;
use super::resource::{each_way, nothing_runs};
use super::{document_of, pacemaker, recurring, with};

#[test]
fn promotes_and_demotes() {
    each_way("promotes_and_demotes", |agent, way| {
        let run = |action: &str| with(pacemaker(agent, action), way).run();
        if !Node::names(&document_of(agent).actions()).iter().any(|name| name == "promote") {
            return;
        }
        for action in ["promote", "demote"] {
            // Nothing is there to change its role.
            run(action).one_of(&[1, 7]).says_why();
            run("monitor").is(7);
        }
        run("start").is(0);
        for _ in 0..2 {
            run("promote").is(0);
            run("promote").is(0);
            run("monitor").is(8);
            with(recurring(agent), way).run().is(8);
            run("demote").is(0);
            run("demote").is(0);
            run("monitor").is(0);
        }
        // A started resource is an unpromoted one.
        run("promote").is(0);
        run("start").is(0);
        run("monitor").is(0);
        run("promote").is(0);
        run("stop").is(0);
        run("monitor").is(7);
    });
}

#[test]
fn moves_to_another_node() {
    each_way("moves_to_another_node", |agent, way| {
        if !Node::names(&document_of(agent).actions()).iter().any(|name| name == "migrate_to") {
            return;
        }
        let run = |action: &str| {
            let call = pacemaker(agent, action).param("CRM_meta_migrate_source", "n1");
            with(call.param("CRM_meta_migrate_target", "n2"), way).run()
        };
        run("start").is(0);
        run("migrate_to").is(0);
        // Pacemaker stops it on the source afterwards.
        run("stop").is(0);
        run("monitor").is(7);
        run("migrate_from").is(0);
        run("monitor").is(0);
        run("stop").is(0);
        run("monitor").is(7);
    });
}

#[test]
fn reloads_and_is_notified() {
    each_way("reloads_and_is_notified", |agent, way| {
        let document = document_of(agent);
        let names = Node::names(&document.actions());
        let run = |action: &str| with(pacemaker(agent, action), way).run();
        run("start").is(0);
        for action in ["reload", "reload-agent", "notify"] {
            if names.iter().any(|name| name == action) {
                run(action).is(0);
                run("monitor").is(0);
            }
        }
        // Without the action, Pacemaker restarts it whatever the parameter promises.
        let reloadable = document.parameters().iter().any(|parameter| {
            let framework = parameter.attribute("name").is_some_and(|name| name.starts_with("trace_"));
            parameter.attribute("reloadable") == Some("1") && !framework
        });
        let reloads = names.iter().any(|name| name == "reload-agent");
        assert!(reloads || !reloadable, "{}: reloadable parameters and no reload-agent", agent.name);
        run("stop").is(0);
        nothing_runs(agent);
    });
}

/// Nobody may do anything: that is told, and is neither a stopped resource that runs nor one that is wrong everywhere.
#[test]
fn a_caller_without_rights_is_told_so() {
    each_way("a_caller_without_rights", |agent, way| {
        // Where everybody can read it, whatever the modes above the tree are.
        let copy = std::path::Path::new(super::host::OWN).join(&agent.name);
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
