//! The contract of a fence agent, under each of its names. Its device is one that refuses every packet at once.

use super::call::{Answer, Call};
use super::document::Node;
use super::fence_metadata::document_of;
use super::host::{Disk, INJECTED, isolated};
use super::parameters::{Parameters, hostile, lines, ways};
use super::{HOST, PATH, can, installed};
use ringfence_tests::subjects::Subject;
use std::path::Path;

const SECRET: &str = "wHitsTabLe7";

fn each(test: &str, mut judge: impl FnMut(&Subject, &Parameters) + Send) {
    if !can(test, &[HOST]) {
        return;
    }
    isolated(Disk::ReadOnly, || {
        for agent in &installed().fence {
            let own = agent.alias_of.as_deref().unwrap_or(&agent.name);
            judge(agent, &ways(&format!("fence:{own}")).remove(0));
        }
    });
}

/// By standard input, as every manager does it.
fn stdin(agent: &Subject, way: &Parameters, more: &str) -> Answer {
    Call::new(&agent.file).env("PATH", PATH).stdin(lines(way) + more).run()
}

fn arguments(agent: &Subject, way: &Parameters, more: &[&str]) -> Answer {
    let call = Call::new(&agent.file).env("PATH", PATH);
    let call = way
        .iter()
        .fold(call, |call, (name, value)| call.arg(format!("--{}={value}", name.replace('_', "-"))));
    call.args(more.iter().copied()).run()
}

/// What it says, without the time that stands before each line.
fn said(answer: &Answer) -> Vec<String> {
    let text = |line: &str| line.split_once(": ").map_or(line, |(_, text)| text).to_owned();
    answer.err.lines().filter(|line| !line.is_empty()).map(text).collect()
}

#[test]
fn input_and_arguments_mean_the_same() {
    each("input_and_arguments", |agent, way| {
        let agree = |lines: &str, words: &[&str], code: i32| {
            let (one, other) = (stdin(agent, way, lines).is(code), arguments(agent, way, words).is(code));
            assert_eq!((&one.out, said(&one)), (&other.out, said(&other)), "{}{}", one.told(), other.told());
        };
        agree("action=validate-all\n", &["-o", "validate-all"], 0);
        agree("action=Validate-All\n", &["--action=VALIDATE-ALL"], 0);
        agree(
            "action=validate-all\npower_timeout=soon\n",
            &["-o", "validate-all", "--power-timeout=soon"],
            1,
        );
        agree("action=bogus\n", &["-o", "bogus"], 1);
        // No answer is no state: neither 0 nor 2.
        agree("action=status\n", &["-o", "status"], 1);
    });
}

#[test]
fn every_option_in_the_metadata_is_understood_under_every_spelling() {
    each("every_option_is_understood", |agent, way| {
        let document = document_of(agent);
        let names = Node::names(&document.parameters());
        for parameter in document.parameters() {
            let name = parameter.attribute("name").unwrap();
            if matches!(name, "action" | "help" | "version")
                || name.contains("script")
                || name.starts_with("debug")
            {
                continue;
            }
            let content = parameter.one("content");
            let first = content.children.first().and_then(|option| option.attribute("value"));
            let value = match content.attribute("type").unwrap() {
                "boolean" => "1",
                "integer" | "second" => "7",
                "select" => first.unwrap(),
                _ => content.attribute("default").filter(|text| !text.is_empty()).unwrap_or("7"),
            };
            let mut spellings = vec![name.to_owned()];
            if parameter.attribute("deprecated").is_none() {
                spellings.push(name.replace('_', "-"));
            }
            for spelling in spellings {
                let answer = stdin(agent, way, &format!("{spelling}={value}\naction=validate-all\n"));
                assert!(!answer.err.contains("unknown option"), "{spelling}:{}", answer.told());
                assert!(!answer.err.contains("does not have value"), "{spelling}:{}", answer.told());
            }
            // As the metadata writes it for the command line.
            for word in parameter.one("getopt").attribute("mixed").unwrap().split(", ") {
                let word = word.split(['=', ' ', '[']).next().unwrap();
                let mut words = vec!["-o", "validate-all", word];
                if content.attribute("type") != Some("boolean") {
                    words.push(value);
                }
                // An agent whose plug is an address takes one with this flag only, as upstream.
                let as_address = names.iter().any(|name| name == "port_as_ip");
                if as_address && matches!(name, "plug" | "port") {
                    words.push("--port-as-ip");
                }
                let answer = arguments(agent, way, &words);
                assert!(!answer.err.contains("not recognized"), "{word}:{}", answer.told());
            }
        }
    });
}

#[test]
fn an_unknown_key_is_a_warning_with_its_name_only() {
    each("an_unknown_key", |agent, way| {
        let answer =
            stdin(agent, way, &format!("pasword={SECRET}\nssl_nonsense=1\naction=validate-all\n")).is(0);
        for name in ["pasword", "ssl_nonsense"] {
            let warned = answer.err.lines().filter(|line| line.contains(name)).count();
            assert_eq!(warned, 1, "one line about {name}:{}", answer.told());
        }
        assert!(!answer.err.contains(SECRET) && answer.out.is_empty(), "{}", answer.told());
        // A line without = is a name too.
        let answer = stdin(agent, way, &format!("{}\naction=validate-all\n", "nonsense")).is(0);
        assert!(answer.err.contains("nonsense"), "{}", answer.told());
    });
}

#[test]
fn what_managers_add_is_taken_in_silence() {
    each("what_managers_add", |agent, way| {
        let cman = format!("agent={}\nname=dev1\nnodename=n1\naction=validate-all\n", agent.name);
        for more in [
            cman.as_str(),
            "agent=1\nnodename=1\naction=validate-all",
            "plug=n1\nnodename=n1\naction=validate-all\n",
        ] {
            let answer = stdin(agent, way, more).is(0);
            assert_eq!((answer.out.as_str(), answer.err.as_str()), ("", ""), "{}", answer.told());
        }
    });
}

#[test]
fn grammar_of_the_input() {
    each("grammar_of_the_input", |agent, way| {
        for (more, code) in [
            ("# a comment\n\n   \naction=validate-all", 0),
            ("  action=validate-all \r\n", 0),
            ("action=\"validate-all\"\n", 0),
            ("action=bogus\naction=validate-all\n", 0),
            ("action=validate-all\naction=bogus\n", 1),
            // The spelling of long ago: ignoring it would reboot the node.
            ("option=validate-all\n", 0),
            ("option=bogus\n", 1),
        ] {
            stdin(agent, way, more).is(code);
        }
        for (more, expected) in
            [("action=\n", "Unrecognised action ''"), ("action=destroy\n", "Unrecognised action 'destroy'")]
        {
            let answer = stdin(agent, way, more).is(1);
            assert!(answer.err.contains(expected), "Pacemaker looks for it:{}", answer.told());
            assert!(answer.err.contains("Please use '-h' for usage"), "{}", answer.told());
        }
        assert!(!Path::new(INJECTED).exists());
    });
}

#[test]
fn booleans_are_these_words_and_no_others() {
    each("booleans", |agent, way| {
        let flags = document_of(agent);
        let flags =
            flags.parameters().into_iter().filter(|p| p.one("content").attribute("type") == Some("boolean"));
        let names: Vec<_> = flags.map(|flag| flag.attribute("name").unwrap().to_owned()).collect();
        for name in names.iter().filter(|name| !matches!(name.as_str(), "help" | "version")) {
            for value in ["1", "0", "yes", "NO", "On", "off", "TRUE", "False"] {
                let answer = stdin(agent, way, &format!("{name}={value}\naction=validate-all\n")).is(0);
                assert!(!answer.err.contains("does not have value"), "{}", answer.told());
            }
            for value in ["", "maybe", "2", "enabled"] {
                let answer = stdin(agent, way, &format!("{name}={value}\naction=validate-all\n")).is(0);
                let words = format!("Ignoring option '{name}' because it does not have value");
                assert!(answer.err.contains(&words), "{}", answer.told());
            }
        }
    });
}

#[test]
fn malformed_numbers_and_choices_are_refused_before_anything_is_sent() {
    each("malformed_numbers", |agent, way| {
        for parameter in document_of(agent).parameters() {
            let name = parameter.attribute("name").unwrap();
            let values: &[&str] = match parameter.one("content").attribute("type").unwrap() {
                "integer" | "second" => &["soon", "1.5", "-1", "2s", "99999999999999999999999"],
                "select" => &["none-of-these"],
                _ => &[],
            };
            // A level of detail that makes no sense must not keep a node from being fenced.
            for value in values.iter().filter(|_| name != "verbose_level") {
                for action in ["validate-all", "status"] {
                    let answer = stdin(agent, way, &format!("{name}={value}\naction={action}\n")).is(1);
                    assert!(answer.err.contains("Failed: "), "{}", answer.told());
                    assert!(
                        !answer.err.contains("panicked") && !answer.err.contains("internal"),
                        "{}",
                        answer.told()
                    );
                    assert_eq!(answer.out, "", "{}", answer.told());
                }
            }
        }
    });
}

#[test]
fn no_value_is_executed_and_the_status_is_0_1_or_2() {
    each("no_fence_value_is_executed", |agent, way| {
        if agent.alias_of.is_some() {
            return;
        }
        for parameter in document_of(agent).parameters() {
            let name = parameter.attribute("name").unwrap();
            // A script is a command line by definition; waiting is what these are for.
            if name.ends_with("script") || matches!(name, "delay" | "action") {
                continue;
            }
            for (kind, value) in hostile() {
                let mut input = lines(way).into_bytes();
                input.extend(format!("{name}=").into_bytes());
                input.extend(std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()));
                input.extend(b"\naction=validate-all\n");
                let answer = Call::new(&agent.file).env("PATH", PATH).stdin(input).run().one_of(&[0, 1]);
                assert!(!answer.err.contains("internal error"), "{name} ({kind}):{}", answer.told());
                assert!(!answer.err.contains('\u{1b}'), "{name} ({kind}):{}", answer.told());
                assert!(!Path::new(INJECTED).exists(), "{name} ({kind}) was executed");
            }
        }
    });
}

#[test]
fn an_unreachable_device_is_a_failure_with_a_reason_and_never_a_success() {
    each("an_unreachable_device", |agent, way| {
        // Under its other names it is the same program: what may differ is how it asks.
        let all = ["status", "on", "off", "reboot", "monitor"];
        for action in if agent.alias_of.is_some() { &all[..1] } else { &all[..] } {
            let answer = stdin(agent, way, &format!("action={action}\n")).is(1);
            assert!(!answer.err.trim().is_empty() && answer.out.is_empty(), "{}", answer.told());
            let quiet = stdin(agent, way, &format!("quiet=1\naction={action}\n")).is(1);
            assert_eq!(quiet.err, "", "{}", quiet.told());
            let loud = stdin(agent, way, &format!("quiet=0\naction={action}\n")).is(1);
            assert!(!loud.err.is_empty(), "quiet=0 is not quiet:{}", loud.told());
        }
        // The default is to reboot.
        stdin(agent, way, "").is(1);
    });
}

#[test]
fn version_help_and_closed_descriptors() {
    each("version_help_and_closed", |agent, way| {
        let version = Call::new(&agent.file).arg("-V").run().is(0);
        assert_eq!(version.out.trim(), env!("CARGO_PKG_VERSION"));
        let help = Call::new(&agent.file).arg("-h").run().is(0);
        assert!(help.err.is_empty() && help.out.contains(&agent.name), "{}", help.told());
        for parameter in document_of(agent).parameters() {
            for word in parameter.one("getopt").attribute("mixed").unwrap().split(", ") {
                let word = word.split(['=', ' ', '[']).next().unwrap();
                assert!(help.out.contains(word), "help names {word}:{}", help.told());
            }
        }
        let wrong = Call::new(&agent.file).arg("--no-such-option").run().is(1);
        assert!(wrong.err.contains("--no-such-option") && wrong.err.contains("-h"), "{}", wrong.told());
        let given = lines(way);
        for closed in ["1>&-", "2>&-", "1>&- 2>&-"] {
            let call =
                |action| Call::new(&agent.file).stdin(format!("{given}action={action}\n")).closing(closed);
            call("validate-all").run().is(0);
            call("status").run().is(1);
        }
        // Without input there are no parameters: whatever is missing is told, nothing is done.
        let nothing = Call::new(&agent.file).closing("0<&-").run();
        nothing.one_of(&[1]);
    });
}

/// The bytes that HALO sends to its Redfish agent: a dash in a name, a word for a flag, no newline at the end.
#[test]
fn takes_the_input_of_halo() {
    each("takes_the_input_of_halo", |agent, way| {
        let address =
            way.iter().find(|(name, _)| name == "ip").map_or("127.0.0.1", |(_, value)| value.as_str());
        let input =
            format!("ipaddr={address}\naction=status\nusername=U\npassword={SECRET} x\nssl-insecure=true");
        let answer = Call::new(&agent.file).env("PATH", PATH).stdin(input).run().is(1);
        assert!(!answer.err.contains(SECRET), "{}", answer.told());
        let knows = Node::names(&document_of(agent).parameters()).iter().any(|name| name == "ssl_insecure");
        let warned = answer.err.contains("Ignoring unknown option 'ssl-insecure'");
        assert_eq!(warned, !knows, "{}", answer.told());
        assert!(!answer.err.contains("ipaddr"), "the old name is fine:{}", answer.told());
    });
}

/// Not in what it prints, not in its debug file, however much it is told to say.
#[test]
fn no_password_is_shown() {
    each("no_password_is_shown", |agent, way| {
        let debug = Path::new(super::host::OWN).join("debug");
        let file = debug.display();
        let mut known = false;
        for parameter in document_of(agent).parameters() {
            let name = parameter.attribute("name").unwrap();
            // Metadata has no mark for a secret: these are the names that administrators know.
            let secret = ["passw", "kg", "token", "secret"].iter().any(|word| name.contains(word));
            if !secret || name.ends_with("script") {
                continue;
            }
            known = true;
            let more =
                format!("{name}={SECRET}\nverbose=1\nverbose_level=5\ndebug_file={file}\naction=status\n");
            let answer = stdin(agent, way, &more).is(1);
            assert!(!answer.err.contains(SECRET) && !answer.out.contains(SECRET), "{name}:{}", answer.told());
            let written = std::fs::read_to_string(&debug).unwrap_or_default();
            assert!(!written.contains(SECRET), "{name} is in the debug file: {written}");
        }
        assert!(known, "{} has a password", agent.name);
        assert!(debug.exists(), "there was a debug file to look into");
    });
}
