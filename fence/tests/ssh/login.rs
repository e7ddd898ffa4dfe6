//! Who is let in, and to whom anything is said at all.

use super::node::{Node, given, mode, until};
use std::fs;
use std::process::Command;

fn keygen(args: &[&str]) {
    assert!(Command::new("ssh-keygen").args(args).output().unwrap().status.success(), "{args:?}");
}

#[test]
fn a_host_whose_key_is_not_known_hears_nothing() {
    let node = Node::start("");
    let hosts = node.path("hosts");
    let known = fs::read_to_string(node.path("known_hosts")).unwrap();
    let with = |text: &str, lines: &str| {
        fs::write(&hosts, text).unwrap();
        node.act(&format!("known_hosts={}\n{lines}", hosts.display()))
    };
    for action in ["status", "reboot", "off", "monitor"] {
        let dare = format!("action={action}\nlivedangerously=yes");
        with("", &dare).is(1, "", "is not known (ssh-ed25519 SHA256:");
        keygen(&[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            node.path(&format!("other-{action}")).to_str().unwrap(),
        ]);
        let other = fs::read_to_string(node.path(&format!("other-{action}.pub"))).unwrap();
        let other: Vec<&str> = other.split(' ').take(2).collect();
        let name = known.split(' ').next().unwrap();
        with(&format!("{name} {}\n", other.join(" ")), &dare).is(1, "", "is not the known one");
        with(&format!("{known}@revoked {known}"), &dare).is(1, "", "is revoked");
        with(&known.replace("]:", "]:1"), &dare).is(1, "", "is not known");
        with(&format!("{name} ssh-rsa AAAA\n"), &dare).is(1, "", "only keys of the kind ssh-rsa are known");
    }
    assert_eq!(node.orders(), "");
    let log = fs::read_to_string(node.path("sshd.log")).unwrap();
    assert!(!log.contains("Accepted") && !log.contains("Failed"), "{log}");
}

/// As OpenSSH's own tool writes them.
#[test]
fn hashed_known_hosts() {
    let node = Node::start("");
    let hashed = node.path("hashed");
    fs::copy(node.path("known_hosts"), &hashed).unwrap();
    keygen(&["-q", "-H", "-f", hashed.to_str().unwrap()]);
    let text = fs::read_to_string(&hashed).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("127.0.0.1"), "{text}");
    let options = format!("action=status\nknown_hosts={}", hashed.display());
    node.act(&options).is(0, "Status: ON\n", "");
    node.act(&format!("{options}\nplug=127.0.0.2")).is(1, "", "");
}

#[test]
fn keys_and_pass_phrases() {
    let node = Node::start("PasswordAuthentication no\nKbdInteractiveAuthentication no");
    let status = |lines: &str| node.act(&format!("action=status\n{lines}"));
    let mut authorized = fs::read_to_string(node.path("authorized_keys")).unwrap();
    for (kind, phrase) in [("ecdsa", ""), ("ed25519", "s3sam"), ("ecdsa", "s3sam"), ("rsa", "")] {
        let file = node.path(&format!("key-{kind}-{phrase}"));
        keygen(&["-q", "-t", kind, "-N", phrase, "-f", file.to_str().unwrap()]);
        let public = node.path(&format!("key-{kind}-{phrase}.pub"));
        authorized += &fs::read_to_string(public).unwrap();
        fs::write(node.path("authorized_keys"), &authorized).unwrap();
        let option = format!("identity_file={}", file.display());
        if kind == "rsa" {
            status(&option).is(1, "", "keys of the kind ssh-rsa are not used: take ed25519 or ecdsa");
        } else if phrase.is_empty() {
            status(&option).is(0, "Status: ON\n", "");
        } else {
            status(&option).is(1, "", "it needs a pass phrase");
            status(&format!("{option}\npassword=wr0ng")).is(1, "", "the pass phrase does not open it");
            status(&format!("{option}\npassword={phrase}")).is(0, "Status: ON\n", "");
            status(&format!("{option}\npassword_script=echo {phrase}")).is(0, "Status: ON\n", "");
        }
    }
    let stranger = node.path("stranger");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", stranger.to_str().unwrap()]);
    status(&format!("identity_file={}", stranger.display())).is(1, "", "refused user 'root'");
    status("login=nobody").is(1, "", "refused user 'nobody'");
    mode(&node.path("id"), 0o644);
    status("").is(1, "", "mode 0644 lets others read it");
    fs::write(node.path("id"), "no key\n").unwrap();
    mode(&node.path("id"), 0o600);
    status("").is(1, "", "no private key that can be used");
    status("identity_file=/nonexistent/key").is(1, "", "does not exist");
}

#[test]
fn passwords_and_what_is_said_of_them() {
    let node = Node::start("");
    let options = |lines: &str| {
        let all = node.options(lines);
        all.split_inclusive('\n').filter(|line| !line.starts_with("identity_file")).collect::<String>()
    };
    given(&options("action=status\npassword=s3cret1\nverbose=1")).is(0, "Status: ON\n", "");
    for lines in ["password=Wr0ng#1", "password_script=echo Wr0ng#1"] {
        let run = given(&options(&format!("action=reboot\nverbose=1\n{lines}")));
        run.is(1, "", "refused user 'root' (tried: ");
        if lines.starts_with("password=") {
            assert!(!format!("{run:?}").contains("Wr0ng#1"), "{run:?}");
        }
    }
    assert_eq!(node.orders(), "");
}

/// PAM asks for passwords in this way.
#[test]
fn sshd_without_any_way_in() {
    let node =
        Node::start("PasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication no");
    node.act("action=off").is(1, "", "closed the connection during the login");
    let node = Node::start("ForceCommand /bin/false");
    node.act("action=off").is(1, "", "did not carry out the command: it ended with 1");
    // Something that only repeats what it is sent is not a shell.
    let node = Node::start("ForceCommand echo \"$SSH_ORIGINAL_COMMAND\"");
    node.act("action=off").is(1, "", "did not carry out the command");
    assert_eq!(node.orders(), "");
}

/// Every login is ended, whatever came of it.
#[test]
fn no_login_stays_behind() {
    let node = Node::start("");
    node.be("lies", true);
    node.act("action=status").is(0, "Status: ON\n", "");
    node.act("action=monitor").is(0, "", "");
    node.act("action=off\npower_timeout=1").is(1, "", "");
    node.act("action=reboot\npower_timeout=1").is(1, "", "");
    node.act("action=off\noff_command=exit 7\npower_timeout=1").is(1, "", "ended with 7");
    let child = super::agent::started(
        super::agent::command(std::path::Path::new(super::node::PROGRAM)),
        &node.options("action=off\npower_timeout=30"),
    );
    until("a third order", || node.orders() == "obo");
    assert!(node.logins() > 0, "the witness sees one that is open");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(super::agent::ended(child, std::time::Instant::now()).signal, Some(15));
    let log = fs::read_to_string(node.path("sshd.log")).unwrap();
    assert_eq!(log.matches("Accepted publickey for root").count(), 6, "{log}");
    until("all of them are closed", || node.logins() == 0);
}
