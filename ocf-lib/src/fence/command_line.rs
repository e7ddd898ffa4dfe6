//! Options from the command line, by clap, fed from the same table as standard input.

use super::option::{Kind, boolean};
use super::spec::Table;
use super::values::Given;
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

const OPERANDS: &str = "operands";

fn command(table: &Table) -> Command {
    let mut command = Command::new(table.spec.name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .infer_long_args(true)
        .arg(
            Arg::new(OPERANDS).action(ArgAction::Append).value_parser(ValueParser::os_string()).num_args(0..),
        );
    for def in &table.defs {
        let mut arg = Arg::new(def.key)
            .long(def.long)
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_parser(ValueParser::os_string());
        if let Some(short) = def.short {
            arg = arg.short(short);
        }
        for (old, letter) in table.old_names(def.key) {
            arg = arg.alias(old);
            if let Some(letter) = letter {
                arg = arg.short_alias(letter);
            }
        }
        if def.kind == Kind::Flag {
            // `--ssl` and, which upstream does not know, `--ssl=false`.
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("1");
        } else {
            arg = arg.num_args(1);
        }
        command = command.arg(arg);
    }
    command
}

/// The options in `args` (without the program's name), or the line that says why not.
pub fn parse(table: &Table, args: &[OsString]) -> Result<Given, String> {
    let matches =
        command(table).try_get_matches_from(args).map_err(|error| complaint(table, args, &error))?;
    let mut given = Given::default();
    for def in &table.defs {
        for value in matches.get_many::<OsString>(def.key).into_iter().flatten() {
            let bytes = value.as_bytes();
            if def.kind != Kind::Flag {
                given.push(def.key, def.long, bytes.to_vec());
            } else if let Some(on) = boolean(bytes) {
                given.push(def.key, def.long, if on { b"1".to_vec() } else { b"0".to_vec() });
                if def.key == "verbose" && on {
                    given.verbosity += 1;
                }
            } else {
                return Err(format!("Parse error: option --{} must be true or false", def.long));
            }
        }
    }
    // An agent that knows `plug` only as another name of the address.
    let plug_given = given.last("port").is_some();
    let port_as_ip = given.last("port_as_ip") == Some(b"1");
    if plug_given && table.plug_is_address() && !port_as_ip {
        return Err("Parser error: option -n/--plug is not recognized".into());
    }
    let operands: Vec<String> = matches
        .get_many::<OsString>(OPERANDS)
        .into_iter()
        .flatten()
        .map(|operand| format!("'{}'", operand.to_string_lossy()))
        .collect();
    if !operands.is_empty() {
        given.warnings.push(format!("Unused arguments on command line: [{}]", operands.join(", ")));
    }
    Ok(given)
}

/// clap's error in the words of getopt, without any value: it may be a password.
fn complaint(table: &Table, args: &[OsString], error: &clap::Error) -> String {
    let shown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let name = shown.split(['=', ' ', '<']).next().unwrap_or_default().trim_end_matches('[').to_owned();
    #[allow(clippy::wildcard_enum_match_arm, reason = "clap's ErrorKind is open")]
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let ambiguous = name.strip_prefix("--").is_some_and(|prefix| {
                !prefix.is_empty() && table.defs.iter().filter(|def| def.long.starts_with(prefix)).count() > 1
            });
            if ambiguous {
                format!("Parse error: option {name} not a unique prefix")
            } else {
                format!("Parse error: option {name} not recognized")
            }
        }
        ErrorKind::InvalidValue
        | ErrorKind::NoEquals
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => {
            // clap names the long form; getopt the one that was used, which can only be the last word.
            let used = args.last().map(|arg| arg.to_string_lossy());
            let short = used
                .as_deref()
                .filter(|arg| arg.starts_with('-') && !arg.starts_with("--"))
                .and_then(|arg| arg.chars().last());
            match short {
                Some(letter) => format!("Parse error: option -{letter} requires argument"),
                None => format!("Parse error: option {name} requires argument"),
            }
        }
        _ => format!("Parse error: option {name} is not usable here"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::common_options::Takes;
    use super::super::spec::FenceSpec;
    use super::*;

    fn parsed(takes: &'static [Takes], args: &[&str]) -> Result<Given, String> {
        let mut spec = FenceSpec::new("fence_x", "x", "x");
        spec.takes = takes;
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        parse(&Table::new(spec, &[], "fence_x"), &args)
    }

    const ALL: &[Takes] = &[Takes::Ip, Takes::Login, Takes::Password, Takes::Ssl, Takes::Plug];

    fn value(args: &[&str], key: &str) -> Option<String> {
        parsed(ALL, args).unwrap().last(key).map(|v| String::from_utf8_lossy(v).into_owned())
    }

    #[test]
    fn options_in_every_gnu_form() {
        for (args, key, expected) in [
            (&["--ip=h"][..], "ipaddr", "h"),
            (&["--ip", "h"], "ipaddr", "h"),
            (&["-ah"], "ipaddr", "h"),
            (&["-a", "h"], "ipaddr", "h"),
            // getopt would take "=h": see the list of divergences.
            (&["-a=h"], "ipaddr", "h"),
            (&["--act", "status"], "action", "status"),
            (&["-p", "-dash"], "passwd", "-dash"),
            (&["--password", "--x"], "passwd", "--x"),
            (&["word", "-a", "h"], "ipaddr", "h"),
            (&["-qvva", "h"], "ipaddr", "h"),
            (&["-a", "h1", "-a", "h2"], "ipaddr", "h2"),
            (&["-o", ""], "action", ""),
            (&["--ssl"], "ssl", "1"),
            (&["--ssl=false"], "ssl", "0"),
            (&["-z"], "ssl", "1"),
        ] {
            assert_eq!(value(args, key).as_deref(), Some(expected), "{args:?}");
        }
        assert_eq!(value(&["--", "-a", "h"], "ipaddr"), None);
    }

    #[test]
    fn verbosity_is_counted() {
        assert_eq!(parsed(ALL, &["-vvv"]).unwrap().verbosity, 3);
        assert_eq!(parsed(ALL, &["-v", "--verbose"]).unwrap().verbosity, 2);
    }

    #[test]
    fn complaints_are_those_of_getopt() {
        let complaint = |args: &[&str]| parsed(ALL, args).err().unwrap_or_default();
        assert_eq!(complaint(&["--foo"]), "Parse error: option --foo not recognized");
        assert_eq!(complaint(&["--foo=secret"]), "Parse error: option --foo not recognized");
        assert_eq!(complaint(&["-Z"]), "Parse error: option -Z not recognized");
        assert_eq!(complaint(&["--pass", "x"]), "Parse error: option --pass not a unique prefix");
        assert_eq!(complaint(&["--action"]), "Parse error: option --action requires argument");
        assert_eq!(complaint(&["--ssl=maybe"]), "Parse error: option --ssl must be true or false");
    }

    #[test]
    fn operands_are_a_warning() {
        assert_eq!(
            parsed(ALL, &["extra", "-q", "more"]).unwrap().warnings,
            ["Unused arguments on command line: ['extra', 'more']"]
        );
    }

    #[test]
    fn an_older_form_has_names_and_letters_of_its_own_under_its_name_only() {
        use super::super::action::Action;
        use super::super::spec::OldForm;
        use super::super::stdin_input;
        const FORM: OldForm = OldForm {
            called: "fence_old",
            options: &[("uuid", Some('U'), "port"), ("session-user", None, "login"), ("op", None, "action")],
            actions: &[("poweroff", "off"), ("restart", "reboot")],
        };
        let mut spec = FenceSpec::new("fence_x", "x", "x");
        spec.takes = ALL;
        spec.old_forms = &[FORM];
        let (old, new) = (Table::new(spec, &[], "fence_old"), Table::new(spec, &[], "fence_x"));
        let line = |table: &Table, args: &[&str]| {
            parse(table, &args.iter().map(OsString::from).collect::<Vec<_>>()).ok()
        };
        let value =
            |given: Given, key: &str| given.last(key).map(|v| String::from_utf8_lossy(v).into_owned());
        for args in [&["-U", "a"][..], &["-Ua"], &["--uuid=a"], &["--uuid", "a"], &["-n", "a"]] {
            assert_eq!(value(line(&old, args).unwrap(), "port").as_deref(), Some("a"), "{args:?}");
        }
        assert!(line(&new, &["-U", "a"]).is_none() && line(&new, &["--uuid=a"]).is_none());
        for (text, key) in
            [("uuid=a", "port"), ("session_user=a", "login"), ("session-user=a", "login"), ("op=a", "action")]
        {
            let given = stdin_input::parse(&old, text.as_bytes());
            assert!(given.warnings.is_empty(), "{text}");
            assert_eq!(value(given, key).as_deref(), Some("a"), "{text}");
            assert_eq!(value(stdin_input::parse(&new, text.as_bytes()), key), None, "{text}");
        }
        for (word, was, is) in [
            ("poweroff", Some(Action::Off), None),
            ("restart", Some(Action::Reboot), None),
            ("off", Some(Action::Off), Some(Action::Off)),
        ] {
            assert_eq!((Action::accepted(&old, word), Action::accepted(&new, word)), (was, is), "{word}");
        }
        assert!(old.clashes().is_empty());
    }

    #[test]
    fn plug_is_refused_where_it_is_only_an_address() {
        let takes: &'static [Takes] = &[Takes::Ip];
        assert_eq!(
            parsed(takes, &["-n", "3"]).err().unwrap(),
            "Parser error: option -n/--plug is not recognized"
        );
        assert!(parsed(takes, &["-n", "3", "--port-as-ip"]).is_ok());
    }
}
