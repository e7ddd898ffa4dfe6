//! `unsafe` stands only where the kernel is talked to, each with the sentence that says why it is sound.

use super::{Finding, Source, code_lines};

/// Who may, and what for. A folder stands for the files in it.
const KERNEL_FACING: [(&str, &str); 21] = [
    ("agents/src/net/announce.rs", "raw sockets"),
    ("agents/src/net/netlink", "netlink sockets"),
    ("agents/src/net/netlink.rs", "netlink sockets"),
    ("agents/src/bin/multipath_resize/kernel.rs", "ioctl(2) of disks and partitions"),
    ("agents/src/detached.rs", "fork and setsid of the announcer"),
    ("agents/src/net/multicast_mac.rs", "ioctl on a socket"),
    ("agents/tests", "namespaces, raw sockets"),
    ("conformance/src/behaviour/wire.rs", "the packet socket of what is heard at the peer"),
    ("conformance/src/host.rs", "namespaces, mounts, rights of a trial"),
    ("fence/src/ipmi/transport.rs", "UDP sockets"),
    ("fence/src/persistent_reservation/nvme_ioctl.rs", "ioctl(2) of namespaces"),
    ("fence/src/persistent_reservation/sg.rs", "SG_IO"),
    ("fence/src/persistent_reservation/watchdog.rs", "reboot(2)"),
    ("fence/tests", "namespaces, core limits"),
    ("ocf-lib/src/cmd.rs", "process groups, pre_exec"),
    ("ocf-lib/src/local_time.rs", "localtime_r"),
    ("ocf-lib/src/fence/process.rs", "core limits, dumpable flag"),
    ("ocf-lib/src/resource/trace.rs", "file descriptors"),
    ("ocf-lib/tests", "credentials of a child before exec"),
    ("tests/", "namespaces, mounts, raw sockets"),
    ("xtask/src/bench/", "wait4, ptrace"),
];

/// How far above its `unsafe` the sentence may stand: a statement broken over lines.
const NEAR: usize = 6;

pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.is_rust() {
        return findings;
    }
    let path = std::path::Path::new(&source.path);
    let may = KERNEL_FACING.iter().any(|(place, _)| path.starts_with(place));
    let lines: Vec<&str> = source.text.lines().collect();
    for (number, _) in code_lines(&source.text).filter(|(_, line)| has_unsafe(line)) {
        let place = format!("{}:{number}", source.path);
        if !may {
            findings.push(Finding::new(&place, "unsafe outside of the modules that talk to the kernel"));
        }
        let above = lines.get(number.saturating_sub(NEAR + 1)..number).unwrap_or_default();
        if !above.iter().any(|line| line.contains("SAFETY")) && !comment_block_above(&lines, number) {
            findings.push(Finding::new(&place, "unsafe without a SAFETY comment"));
        }
    }
    findings
}

/// A longer comment that ends directly above and has the word.
fn comment_block_above(lines: &[&str], number: usize) -> bool {
    lines
        .iter()
        .take(number.saturating_sub(1))
        .rev()
        .take_while(|line| line.trim_start().starts_with("//") || line.trim_start().starts_with('#'))
        .any(|line| line.contains("SAFETY") || line.contains("# Safety"))
}

/// The keyword, not a word in a string and not part of a name.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let outside: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    outside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::source;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&source(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn only_in_listed_files() {
        let text = "// SAFETY: it is.\nunsafe { f() }\n";
        assert_eq!(whats("agents/src/bin/x.rs", text).len(), 1);
        assert!(whats("agents/src/net/netlink/wire.rs", text).is_empty());
        assert!(whats("ocf-lib/src/cmd.rs", text).is_empty());
        assert_eq!(whats("ocf-lib/src/cmd.rs.d/x.rs", text).len(), 1);
    }

    #[test]
    fn only_with_its_sentence() {
        assert_eq!(
            whats("ocf-lib/src/cmd.rs", "fn a() {\n    unsafe { f() }\n}\n"),
            ["unsafe without a SAFETY comment"]
        );
        let far = format!("// SAFETY: a long one.\n{}unsafe {{ f() }}\n", "// goes on\n".repeat(9));
        assert!(whats("ocf-lib/src/cmd.rs", &far).is_empty());
        let above_other = format!("// SAFETY: of another.\n{}unsafe {{ f() }}\n", "let a = 1;\n".repeat(9));
        assert_eq!(whats("ocf-lib/src/cmd.rs", &above_other).len(), 1);
    }

    #[test]
    fn the_word_alone_is_nothing() {
        for line in [
            "// unsafe is bad",
            "let unsafe_code = 1;",
            "let a = \"unsafe { }\";",
            "#![deny(unsafe_op_in_unsafe_fn)]",
        ] {
            assert!(whats("agents/src/bin/x.rs", line).is_empty(), "{line}");
        }
    }
}
