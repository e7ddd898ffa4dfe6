//! Options from standard input: `name=value` lines.

use super::option::{Kind, boolean};
use super::spec::Table;
use super::values::Given;
use std::io::Read;
use zeroize::Zeroizing;

/// More input than this is refused. Bytes; a full set of options is a few hundred.
pub const LIMIT: usize = 1 << 20;

/// Names that cluster managers add and no agent needs.
const INJECTED: [&str; 3] = ["agent", "name", "nodename"];

/// Names of long ago, still in configurations: what they mean today.
const HISTORIC: [(&str, &str); 5] = [
    ("option", "action"),
    ("udpport", "ipport"),
    ("vm_name", "port"),
    ("module_name", "port"),
    ("partition", "port"),
];

/// Reads to the end of input.
pub fn read(input: &mut dyn Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Room for any usual input: growing would leave copies of passwords in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
    let mut buffer = Zeroizing::new([0u8; 4096]);
    loop {
        match input.read(buffer.as_mut_slice())? {
            0 => return Ok(bytes),
            n => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
        }
        if bytes.len() > LIMIT {
            return Err(std::io::Error::other(format!("more than {} KiB of options", LIMIT / 1024)));
        }
    }
}

/// The options in `bytes`. Nothing in it can make this fail: what is not understood is a warning.
pub fn parse(table: &Table, bytes: &[u8]) -> Given {
    let mut given = Given::default();
    for line in bytes.split(|b| *b == b'\n') {
        let line = trim(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (name, value) = match line.iter().position(|b| *b == b'=') {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line, &[] as &[u8]),
        };
        let name = String::from_utf8_lossy(trim(name)).into_owned();
        assign(table, &name, unquoted(value), &mut given);
    }
    given.settle_plug();
    given
}

/// Takes one `name=value`, from standard input or from an environment that means the same.
pub fn assign(table: &Table, name: &str, value: &[u8], given: &mut Given) {
    let historic = || HISTORIC.iter().find(|(old, _)| *old == name).and_then(|(_, key)| table.by_key(key));
    if name == "nodename" {
        given.nodename = Some(value.to_vec());
    }
    if let Some(def) = table.by_stdin_name(name).or_else(|| table.by_old_name(name)) {
        if def.kind != Kind::Flag {
            given.push(def.key, name, value.to_vec());
        } else if let Some(on) = boolean(value) {
            given.push(def.key, name, if on { b"1".to_vec() } else { b"0".to_vec() });
        } else {
            given
                .warnings
                .push(format!("Parse error: Ignoring option '{name}' because it does not have value"));
        }
    } else if let Some(def) = historic() {
        given.warnings.push(format!("option '{name}' is deprecated: use '{}'", def.name()));
        given.push(def.key, name, value.to_vec());
    } else if INJECTED.contains(&name) || name == "plug" || name == "port" || name == "separator" {
        // Pacemaker adds plug, cman agent and name: an agent that has no use for them says nothing.
    } else {
        // The name alone: the value of a misspelt password must not reach a log.
        given.warnings.push(format!("Parse error: Ignoring unknown option '{name}'"));
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line {
        if !is_blank(*first) {
            break;
        }
        line = rest;
    }
    while let [rest @ .., last] = line {
        if !is_blank(*last) {
            break;
        }
        line = rest;
    }
    line
}

/// Without the one pair of double quotes that may stand around it.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::common_options::Takes;
    use super::super::spec::FenceSpec;
    use super::*;
    use proptest::prelude::*;

    fn table() -> Table {
        const TAKES: &[Takes] = &[Takes::Ip, Takes::Login, Takes::Password, Takes::Ssl, Takes::Plug];
        let mut spec = FenceSpec::new("fence_x", "x", "x");
        spec.takes = TAKES;
        Table::new(spec, &[], "fence_x")
    }

    fn value(input: &str, key: &str) -> Option<String> {
        parse(&table(), input.as_bytes()).last(key).map(|v| String::from_utf8_lossy(v).into_owned())
    }

    #[test]
    fn the_grammar_of_a_line() {
        for (input, key, expected) in [
            ("ip=h", "ipaddr", "h"),
            ("ipaddr=h\r\n", "ipaddr", "h"),
            ("  ip=h  ", "ipaddr", "h"),
            ("ip =h", "ipaddr", "h"),
            ("passwd=a=b#c", "passwd", "a=b#c"),
            ("passwd=\" a \"", "passwd", " a "),
            ("passwd=\"\"", "passwd", ""),
            ("passwd=\"a\"b\"", "passwd", "a\"b"),
            ("passwd=\"", "passwd", "\""),
            ("passwd='a'", "passwd", "'a'"),
            ("power-timeout=7", "power_timeout", "7"),
            ("power_timeout=7", "power_timeout", "7"),
            ("ip=h1\nipaddr=h2\nip=h3", "ipaddr", "h3"),
            ("action", "action", ""),
            ("option=off", "action", "off"),
            ("action=on\noption=off", "action", "off"),
            ("ssl-insecure=true", "ssl_insecure", "1"),
            ("ssl_insecure=No", "ssl_insecure", "0"),
            ("udpport=99", "ipport", "99"),
        ] {
            assert_eq!(value(input, key).as_deref(), Some(expected), "{input:?}");
        }
        for (input, key) in [
            ("#ip=h", "ipaddr"),
            ("--ip=h", "ipaddr"),
            ("passwd-script=x", "passwd_script"),
            ("ssl=maybe", "ssl"),
            ("ssl=", "ssl"),
        ] {
            assert_eq!(value(input, key), None, "{input:?}");
        }
    }

    #[test]
    fn an_unknown_option_is_named_without_its_value() {
        let given = parse(&table(), b"password2=hunter2\nquiet=perhaps\n");
        assert_eq!(
            given.warnings,
            [
                "Parse error: Ignoring unknown option 'password2'",
                "Parse error: Ignoring option 'quiet' because it does not have value"
            ]
        );
    }

    #[test]
    fn what_managers_add_is_taken_in_silence() {
        let given = parse(&table(), b"agent=1\nname=x\nnodename=n1\n");
        assert!(given.warnings.is_empty() && given.assignments.is_empty());
    }

    #[test]
    fn the_configured_plug_wins_in_any_order() {
        for (input, plug) in [
            ("port=1\nplug=node1\nnodename=node1", "1"),
            ("nodename=node1\nplug=node1\nport=1", "1"),
            ("port=node1\nplug=7\nnodename=node1", "7"),
            ("port=7\nplug=alias\nnodename=node1", "7"),
            ("plug=alias\nnodename=node1", "alias"),
            // Without a cluster manager's nodename the last line wins.
            ("port=1\nplug=2", "2"),
            ("plug=2\nport=1", "1"),
        ] {
            assert_eq!(value(input, "port").as_deref(), Some(plug), "{input:?}");
        }
    }

    #[test]
    fn too_much_input_is_refused() {
        let mut endless = std::io::repeat(b'x');
        assert!(read(&mut endless).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&table(), &bytes);
        }

        #[test]
        fn every_value_comes_back(text in "[!-~][ -~]{0,30}[!-~]") {
            prop_assume!(!(text.starts_with('"') && text.ends_with('"')));
            prop_assert_eq!(value(&format!("passwd={text}\n"), "passwd"), Some(text.clone()));
            prop_assert_eq!(value(&format!("passwd=\"{text}\""), "passwd"), Some(text));
        }
    }
}
