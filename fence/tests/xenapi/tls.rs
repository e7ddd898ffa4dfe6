//! https: whose certificate is good, and what each option makes of it.

use std::path::Path;

use ringfence_tests::sim::xenapi::{Pool, Settings};

use super::agent::{Run, at, given, run};

fn pool() -> Pool {
    Pool::start(Settings { tls: true, ..Settings::default() }).unwrap()
}

fn act(pool: &Pool, lines: &str) -> Run {
    given(&at(&pool.url(0), &format!("action=status\n{lines}")))
}

#[test]
fn a_certificate_is_verified_unless_it_is_said_otherwise() {
    let (pool, other) = (pool(), pool());
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    };
    let (authority, wrong) = (file(pool.authority()), file(other.authority()));
    let (authority, wrong) = (authority.path().display(), wrong.path().display());
    let untrusted = "the device's certificate is not trusted";
    for lines in [
        String::new(),
        "ssl_insecure=0".into(),
        "ssl_insecure=no".into(),
        "ssl_insecure=1\nssl_secure=1".into(),
        format!("ssl_ca_file={wrong}"),
        format!("ssl_fingerprint={}", other.fingerprint()),
        format!("ssl_insecure=1\nssl_fingerprint={}", other.fingerprint()),
    ] {
        act(&pool, &lines).is(1, "", untrusted);
    }
    // Not a word of the application was sent.
    assert_eq!((pool.requests(), pool.sessions_opened()), (0, 0));
    for lines in [
        "ssl_insecure=1".into(),
        format!("ssl_ca_file={authority}"),
        format!("ssl_fingerprint={}", pool.fingerprint()),
        format!("ssl_fingerprint={},{}", other.fingerprint(), pool.fingerprint().to_uppercase()),
        format!("ssl_insecure=0\nssl_ca_file={authority}"),
    ] {
        act(&pool, &lines).is(0, "Status: ON\n", "");
    }
    assert_eq!(pool.open_sessions(), 0);
    // The refusal names the fingerprint that would let it pass.
    let run = act(&pool, "");
    assert!(run.stderr.to_lowercase().contains(pool.fingerprint()), "{run:?}");
}

#[test]
fn options_that_protect_nothing_are_refused() {
    let plain = Pool::start(Settings::default()).unwrap();
    for lines in
        ["ssl_ca_file=/etc/ssl/certs/ca-certificates.crt", &format!("ssl_fingerprint={}", "00".repeat(32))]
    {
        act(&plain, lines).is(1, "", "protect nothing");
    }
    act(&pool(), "ssl_fingerprint=00").is(1, "", "is not a sha-256");
    act(&pool(), "ssl_ca_file=/nowhere").is(1, "", "/nowhere");
}

#[test]
fn http_and_https_do_not_understand_each_other() {
    let (plain, secure) = (Pool::start(Settings::default()).unwrap(), pool());
    given(&at(&plain.url(0).replace("http:", "https:"), "action=off\nssl_insecure=1")).is(1, "", "tls");
    let run = given(&at(&secure.url(0).replace("https:", "http:"), "action=off\nlogin_timeout=2"));
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    assert!(plain.is_running("node1") && secure.is_running("node1"));
}

/// Upstream's cannot be told whom to trust.
#[test]
fn upstream_refuses_what_no_system_authority_signed() {
    let pool = pool();
    let text = at(&pool.url(0), "action=status");
    let theirs = run(Path::new("/usr/sbin/fence_xenapi"), &[], &text);
    assert_eq!(theirs.code, Some(1), "{theirs:?}");
}
