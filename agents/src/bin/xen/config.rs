//! A guest's configuration file: xl.cfg(5), and the older form that xend ran as Python. Nothing of it is executed.
//!
//! Both are assignments `KEY = VALUE`, ended by a line's end or `;`, where a value is a string, a number or a list of strings.

use crate::domain_xml;
use std::path::PathBuf;

/// What the agent has to know of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// As it stands there, without its quotes.
    pub name: Option<String>,
    pub uuid: Option<String>,
    pub disks: Vec<Disk>,
    /// It is libvirt's XML, for the kind of domain that stands there.
    pub libvirt: Option<String>,
}

/// A disk of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// A path, or what a block script understands.
    pub target: String,
    /// Written to, and by this guest alone (`w` and not `w!`).
    pub exclusive: bool,
}

/// Reads what can be read; what is not understood is passed over, for the toolstack judges the file.
pub fn parse(text: &str) -> Config {
    if domain_xml::is_xml(text) {
        return domain_xml::parse(text);
    }
    let mut config = Config::default();
    for (key, value) in assignments(text) {
        match key {
            "name" => config.name = Some(plain(value)),
            "uuid" => config.uuid = Some(plain(value).to_lowercase()),
            "disk" => config.disks = strings(value).iter().filter_map(|spec| disk(spec)).collect(),
            _ => {}
        }
    }
    config
}

/// Key and value of each statement, the value as it is written.
fn assignments(text: &str) -> Vec<(&str, &str)> {
    statements(text)
        .into_iter()
        .filter_map(|(start, end)| {
            let (key, value) = text.get(start..end)?.split_once('=')?;
            Some((key.trim(), value.trim()))
        })
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect()
}

/// Where each statement begins and ends: outside of strings, lists and remarks. A remark ends a statement.
fn statements(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    let mut quote = None;
    let mut remark = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\n') if remark => {
                remark = false;
                start = at + 1;
            }
            _ if remark => {}
            (Some(_), '\\') => escaped = true,
            // A string ends with its line at the latest, so that one that was not closed hides no more than that.
            (Some(open), _) if c == open || c == '\n' => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            // Inside of a list the remark is part of the value; `strings` passes over it.
            (None, '#') if depth == 0 => {
                found.push((start, at));
                remark = true;
            }
            (None, '\n' | ';') if depth == 0 => {
                found.push((start, at));
                start = at + 1;
            }
            (Some(_) | None, _) => {}
        }
    }
    if !remark {
        found.push((start, text.len()));
    }
    found
}

/// The text of a string, or a bare word.
fn plain(value: &str) -> String {
    strings(value).into_iter().next().unwrap_or_else(|| value.to_owned())
}

/// The strings in a value, in order.
fn strings(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(char, String)> = None;
    let mut escaped = false;
    let mut remark = false;
    for c in value.chars() {
        match &mut open {
            Some((_, text)) if escaped => {
                text.push(c);
                escaped = false;
            }
            Some(_) if c == '\\' => escaped = true,
            Some((quote, _)) if c == *quote => found.extend(open.take().map(|(_, text)| text)),
            Some((_, text)) => text.push(c),
            None if remark => remark = c != '\n',
            None if c == '#' => remark = true,
            None if c == '"' || c == '\'' => open = Some((c, String::new())),
            None => {}
        }
    }
    found
}

/// xl-disk-configuration(5): `TARGET, FORMAT, VDEV, ACCESS` and `KEY=VALUE` in any mixture; before it
/// `PREFIX:TARGET,VDEV,ACCESS`.
fn disk(spec: &str) -> Option<Disk> {
    let mut target = None;
    let mut access = None;
    let mut places = Vec::new();
    let mut rest = spec;
    loop {
        let (word, more) = rest.split_once(',').unwrap_or((rest, ""));
        match word.trim().split_once('=') {
            // The target by its key is everything up to the end, commas and all.
            Some(("target", _)) => {
                let (_, all) = rest.split_once('=')?;
                target = Some(all.trim());
                break;
            }
            Some(("access", value)) => access = Some(value.trim()),
            Some((key, _)) if key.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !key.is_empty() => {}
            _ => places.push(word.trim()),
        }
        if more.is_empty() {
            break;
        }
        rest = more;
    }
    // Old: target, device, access. New: target, format, device, access.
    let is_access = |word: &&&str| matches!(**word, "r" | "ro" | "w" | "rw" | "w!" | "rw!");
    let access = access.or_else(|| places.iter().skip(1).find(is_access).copied()).unwrap_or("rw");
    let target = target.or_else(|| places.first().copied())?;
    let target = ["phy:", "file:", "tap2:", "tap:", "aio:", "raw:", "qcow2:", "qcow:", "vhd:", "vmdk:"]
        .iter()
        .fold(target, |target, prefix| target.strip_prefix(prefix).unwrap_or(target));
    let target = if spec.starts_with("phy:") && !target.starts_with('/') {
        format!("/dev/{target}")
    } else {
        target.to_owned()
    };
    (!target.is_empty()).then_some(Disk { target, exclusive: matches!(access, "w" | "rw") })
}

/// The name by which a guest is known that no parameter names: as the file says, unless that is computed (`%`, blanks); else the
/// resource's own.
pub fn guest_name(file: Option<&str>, instance: &str) -> String {
    let usable = |name: &&str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '%');
    file.filter(usable).unwrap_or(instance).to_owned()
}

/// The file with another amount of memory, MiB. `None`: it says nothing of memory, so it stays.
pub fn with_memory(text: &str, memory: u64) -> Option<String> {
    if domain_xml::is_xml(text) {
        return None;
    }
    let (start, end) = statements(text).into_iter().find(|(start, end)| {
        text.get(*start..*end)
            .and_then(|statement| statement.split_once('='))
            .is_some_and(|(key, _)| key.trim() == "memory")
    })?;
    let statement = text.get(start..end)?;
    let before = start + statement.len() - statement.trim_start().len();
    let after = start + statement.trim_end().len();
    Some(format!("{}memory = {memory}{}", text.get(..before)?, text.get(after..)?))
}

/// A file under its path, or what keeps it from being read.
pub fn read(path: &str) -> Result<Config, std::io::Error> {
    std::fs::read(PathBuf::from(path)).map(|bytes| parse(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_name_stands_in_both_syntaxes() {
        for text in [
            "name = \"d1\"\n",
            "name='d1'",
            "  name  =  'd1' # the one\n",
            "kernel = '/x'; name = \"d1\"; memory = 64\n",
            "# name = 'other'\nname = 'd1'\n",
            "name = 'old'\nname = 'd1'\n",
            "vif = [ 'mac=00:16:3e:00:00:01, # name = x\n',\n'bridge=br0' ]\nname = 'd1'\n",
            "vnc_name = 'no'\nname = \"d1\"\ncmdline = \"name=other\"\n",
            "name = d1\n",
            "extra = 'it is \\'here\\''\nname='d1'",
            "# don't\nname='d1'",
        ] {
            assert_eq!(parse(text).name.as_deref(), Some("d1"), "{text}");
        }
        assert_eq!(parse("kernel = '/x'\n").name, None);
    }

    #[test]
    fn a_computed_name_gives_way_to_the_resources_own() {
        let of = |text| guest_name(parse(text).name.as_deref(), "res");
        assert_eq!(of("name = 'd1'"), "d1");
        for text in ["name = 'd%d' % vmid", "name = 'a b'", "name = \"vm\" + str(1)", "name = ''", ""] {
            let name = of(text);
            assert!(name == "res" || (text.contains('+') && name == "vm"), "{text}: {name}");
        }
    }

    #[test]
    fn disks_are_read_in_every_form() {
        let of = |spec: &str| {
            let disk = disk(spec).unwrap();
            (disk.target, disk.exclusive)
        };
        let exclusive = |target: &str| (target.to_owned(), true);
        let shared = |target: &str| (target.to_owned(), false);
        assert_eq!(of("phy:/dev/vg/d1,xvda,w"), exclusive("/dev/vg/d1"));
        assert_eq!(of("phy:vg/d1,xvda,w!"), shared("/dev/vg/d1"));
        assert_eq!(of("file:/img/d1,xvda,r"), shared("/img/d1"));
        assert_eq!(of("tap:aio:/img/d1,xvda,w"), exclusive("/img/d1"));
        assert_eq!(of("/dev/vg/d1,raw,xvda,rw"), exclusive("/dev/vg/d1"));
        assert_eq!(of("/dev/vg/d1,raw,xvda,ro"), shared("/dev/vg/d1"));
        assert_eq!(of("/dev/vg/d1"), exclusive("/dev/vg/d1"));
        assert_eq!(of("format=raw, vdev=xvda, access=w, target=/img/a,b"), exclusive("/img/a,b"));
        assert_eq!(of("vdev=xvda,access=r,target=/img/a"), shared("/img/a"));
        assert_eq!(disk(""), None);
        let list =
            parse("disk = [ 'phy:/dev/a,xvda,w', # 'phy:/dev/no,xvdb,w'\n  \"phy:/dev/b,xvdb,r\" ]\n").disks;
        assert_eq!(list.iter().map(|disk| disk.target.as_str()).collect::<Vec<_>>(), ["/dev/a", "/dev/b"]);
    }

    #[test]
    fn memory_is_changed_in_its_place_and_nothing_else_is() {
        let text = "kernel = '/x' # memory = 1\n  memory = 64 # MiB\nmaxmem = 128\n";
        assert_eq!(
            with_memory(text, 96).unwrap(),
            "kernel = '/x' # memory = 1\n  memory = 96 # MiB\nmaxmem = 128\n"
        );
        assert_eq!(with_memory("maxmem = 128\n", 96), None);
        assert_eq!(with_memory("<domain>\nmemory = 64\n</domain>", 96), None, "libvirt's");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", memory: u64) {
            let _ = (parse(&text), with_memory(&text, memory));
        }

        #[test]
        fn the_memory_that_was_written_is_the_only_change(before in "[a-z]{1,8} = '[a-z #;]{0,9}'\n", after in "[a-z]{1,8} = 1\n") {
            prop_assume!(!before.starts_with("memory") && !after.starts_with("memory"));
            let text = format!("{before}memory=5\n{after}");
            prop_assert_eq!(with_memory(&text, 7).unwrap(), format!("{before}memory = 7\n{after}"));
        }
    }
}
