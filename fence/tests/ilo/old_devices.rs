//! A device whose TLS is of 1999: TLS 1.0, a key of 1024 bits, a certificate without names. Reached through `gnutls-cli`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringfence_tests::sim::ribcl::{Generation, Ribcl, Settings};

use super::agent::{Run, given};

/// The TLS end in front of a simulator that speaks plainly. rustls could not be one.
const TERMINATOR: &str = r#"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def pump(source, sink):
    try:
        while True:
            data = source.recv(4096)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(client):
    try:
        client = context.wrap_socket(client, server_side=True)
    except OSError:
        return
    device = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    threading.Thread(target=pump, args=(client, device), daemon=True).start()
    pump(device, client)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
"#;

struct Old {
    sim: Ribcl,
    terminator: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Old {
    fn start(generation: Generation) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:1024",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=ILO0OLD",
                "-keyout",
            ])
            .arg(place("key.pem"))
            .arg("-out")
            .arg(place("cert.pem"))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let settings = Settings { tls: false, ..Settings::new(generation, folder.path()) };
        let sim = Ribcl::start(settings).unwrap();
        let mut terminator = Command::new("python3")
            .args(["-W", "ignore", "-c", TERMINATOR])
            .args([place("cert.pem"), place("key.pem")])
            .arg(sim.address().port().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(terminator.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { sim, terminator, port: line.trim().parse().unwrap(), folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn fingerprint(&self) -> String {
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-sha256", "-fingerprint", "-in"])
            .arg(self.certificate())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split('=').nth(1).unwrap().trim().to_owned()
    }

    fn given(&self, lines: &str) -> Run {
        given(&format!(
            "ip=127.0.0.1\nipport={}\nusername=admin\npassword=s3cret1\nstonith_status_sleep=0\n{lines}\n",
            self.port
        ))
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        let _ = self.terminator.kill();
        let _ = self.terminator.wait();
    }
}

#[test]
fn a_device_of_tls_1_0_is_switched_and_warned_about() {
    for generation in [Generation::Riloe, Generation::Ilo2, Generation::Ilo3] {
        let old = Old::start(generation);
        let pin = old.fingerprint();
        let run = old.given(&format!("action=off\nssl_fingerprint={pin}"));
        run.is(0, "Success: Powered OFF\n", "gnutls-cli is used");
        assert_eq!(run.stderr.matches("gnutls-cli is used").count(), 1, "said once: {run:?}");
        assert!(!old.sim.is_on());
        for lines in ["tls1.0=1", "ssl_insecure=1", "tls1.0=1\nssl_insecure=1"] {
            let pin =
                if lines.contains("insecure") { String::new() } else { format!("ssl_fingerprint={pin}") };
            old.given(&format!("action=status\n{lines}\n{pin}")).is(2, "Status: OFF\n", "gnutls-cli is used");
        }
        old.given(&format!("action=reboot\nssl_fingerprint={pin}")).is(0, "Success: Rebooted\n", "");
        assert!(old.sim.is_on());
    }
}

#[test]
fn an_old_device_is_verified_like_any_other() {
    let old = Old::start(Generation::Ilo2);
    for lines in
        ["", "ssl_insecure=0", "tls1.0=1", "ssl_secure=1", &format!("ssl_fingerprint={}", "0".repeat(64))]
    {
        let run = old.given(&format!("action=off\n{lines}"));
        run.is(1, "", "certificate is not trusted");
        let shown = old.fingerprint().replace(':', "");
        assert!(run.stderr.contains(&shown), "{run:?}");
    }
    // Somebody else's certificate in the file.
    let other = Old::start(Generation::Ilo2);
    old.given(&format!("action=off\nssl_ca_file={}", other.certificate().display())).is(
        1,
        "",
        "certificate is not trusted",
    );
    assert!(old.sim.is_on() && old.sim.log().is_empty(), "{:?}", old.sim.log());
    old.given(&format!("action=off\nssl_ca_file={}", old.certificate().display())).is(
        0,
        "Success: Powered OFF\n",
        "",
    );
}

#[test]
fn what_is_missing_is_named() {
    let old = Old::start(Generation::Ilo2);
    for lines in ["", "tls1.0=1"] {
        let run =
            old.given(&format!("action=off\nssl_insecure=1\ngnutlscli_path=/nowhere/gnutls-cli\n{lines}"));
        run.is(1, "", "gnutls-bin");
    }
    old.given("action=off\nssl_insecure=1\nnotls=1").is(1, "", "gnutls-cli");
    old.given("action=off\nssl_insecure=1\ntls1.0=1\nilo_proxyhost=127.0.0.1").is(1, "", "ilo_proxyhost");
    assert!(old.sim.is_on());
}

#[test]
fn the_password_is_neither_in_an_argument_nor_in_what_is_said() {
    let old = Old::start(Generation::Ilo2);
    let folder = tempfile::tempdir().unwrap();
    // In gnutls-cli's place: keeps its arguments and environment, and then is it.
    let (program, kept) = (folder.path().join("gnutls-cli"), folder.path().join("kept"));
    let script = format!("#!/bin/sh\n(echo \"$@\"; env) >>{}\nexec gnutls-cli \"$@\"\n", kept.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = old
        .given(&format!("action=off\nssl_insecure=1\nverbose_level=9\ngnutlscli_path={}", program.display()));
    run.is(0, "Success: Powered OFF\n", "");
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(kept.contains("--priority") && !kept.contains("s3cret1"), "{kept}");
    assert!(!run.stderr.contains("s3cret1"));
}

#[test]
fn a_bridge_that_says_nothing_ends_at_the_deadline_and_leaves_no_process() {
    let old = Old::start(Generation::Ilo2);
    let folder = tempfile::tempdir().unwrap();
    let (program, mark) = (folder.path().join("gnutls-cli"), folder.path().join("mark"));
    std::fs::write(&program, format!("#!/bin/sh\nsleep 3\ntouch {}\n", mark.display())).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = old.given(&format!(
        "action=status\nssl_insecure=1\ntls1.0=1\nlogin_timeout=1\ngnutlscli_path={}",
        program.display()
    ));
    run.is(1, "", "timed out");
    assert!(run.took < Duration::from_millis(2800), "{run:?}");
    std::thread::sleep(Duration::from_secs(3));
    assert!(!mark.exists(), "it was left behind");
}

#[test]
fn a_signal_ends_the_program_and_its_bridge_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let old = Old::start(Generation::Ilo2);
    let folder = tempfile::tempdir().unwrap();
    let (program, begun) = (folder.path().join("gnutls-cli"), folder.path().join("begun"));
    // The number of the process that sleeps, which is to be gone afterwards.
    let script = format!("#!/bin/sh\necho $$ >{}\nexec sleep 30\n", begun.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut child = super::ran::started(
        super::ran::command(std::path::Path::new(super::agent::PROGRAM)),
        &format!(
            "ip=127.0.0.1\nipport={}\nusername=admin\npassword=s3cret1\nssl_insecure=1\ntls1.0=1\nlogin_timeout=30\n\
             action=off\ngnutlscli_path={}\n",
            old.port,
            program.display()
        ),
    );
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let bridge = loop {
        let text = std::fs::read_to_string(&begun).unwrap_or_default();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        assert!(std::time::Instant::now() < until, "the bridge was not started");
        std::thread::sleep(Duration::from_millis(10));
    };
    let told = std::time::Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "{status:?}");
    assert!(told.elapsed() < Duration::from_millis(2500), "{:?}", told.elapsed());
    assert!(!std::path::Path::new(&format!("/proc/{bridge}")).exists(), "it was left behind");
    assert!(old.sim.is_on());
}
