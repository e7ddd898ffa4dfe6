//! Which device is trusted with the password.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringfence_tests::sim::ribcl::Generation;

use super::agent::{Bed, bed, called, given};

fn options(bed: &Bed, lines: &str) -> String {
    format!(
        "ip=127.0.0.1\nipport={}\nusername=admin\npassword=s3cret1\nstonith_status_sleep=0\n{lines}\n",
        bed.sim.address().port()
    )
}

#[test]
fn a_wrong_certificate_is_refused_by_default_and_sees_no_login() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        let bed = bed(generation);
        for lines in ["action=off", "action=off\nssl=1", "action=off\nssl_secure=1", "action=off\nssl=0"] {
            let run = given(&options(&bed, lines));
            run.is(1, "", "Unable to connect/login to fencing device").is(
                1,
                "",
                "certificate is not trusted",
            );
            // What to do about it stands beside it.
            let shown = bed.sim.fingerprint().to_uppercase();
            assert!(run.stderr.contains(&shown) && run.stderr.contains("ssl_ca_file"), "{run:?}");
        }
        assert!(bed.sim.is_on() && bed.sim.log().is_empty(), "{:?}", bed.sim.log());
        assert_eq!(bed.sim.connections(), 4, "nothing is tried twice");
    }
}

#[test]
fn the_right_ca_file_or_fingerprint_is_accepted() {
    let bed = bed(Generation::Ilo2);
    let ca = bed.folder.path().join("ca.pem");
    std::fs::write(&ca, bed.sim.certificate_pem()).unwrap();
    given(&options(&bed, &format!("action=off\nssl_ca_file={}", ca.display()))).is(
        0,
        "Success: Powered OFF\n",
        "",
    );
    let pin = bed.sim.fingerprint();
    given(&options(&bed, &format!("action=on\nssl_fingerprint={pin}"))).is(0, "Success: Powered ON\n", "");
    given(&options(&bed, &format!("action=off\nssl_insecure=1\nssl_fingerprint={}", "0".repeat(64)))).is(
        1,
        "",
        "not the one of ssl_fingerprint",
    );
    assert!(bed.sim.is_on());
}

/// Upstream takes the mere presence of `ssl_insecure` as "do not verify".
#[test]
fn ssl_insecure_0_verifies() {
    let bed = bed(Generation::Ilo2);
    for word in ["0", "no", "off", "false"] {
        given(&options(&bed, &format!("action=status\nssl_insecure={word}"))).is(
            1,
            "",
            "certificate is not trusted",
        );
    }
    for word in ["1", "yes", "on", "true"] {
        given(&options(&bed, &format!("action=status\nssl_insecure={word}"))).is(0, "Status: ON\n", "");
    }
    let port = bed.sim.address().port().to_string();
    let base = ["-a", "127.0.0.1", "-u", &port, "-l", "admin", "-p", "s3cret1", "-o", "status"];
    called(&[&base[..], &["--ssl-insecure=false"]].concat()).is(1, "", "certificate is not trusted");
    called(&[&base[..], &["--ssl-insecure"]].concat()).is(0, "Status: ON\n", "");
    // Both: the stricter one.
    given(&options(&bed, "action=status\nssl_insecure=1\nssl_secure=1")).is(
        1,
        "",
        "certificate is not trusted",
    );
}

#[test]
fn a_ca_file_that_is_missing_or_empty_is_told() {
    let bed = bed(Generation::Ilo2);
    let empty = bed.folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    given(&options(&bed, "action=status\nssl_ca_file=/nowhere/ca.pem")).is(1, "", "/nowhere/ca.pem");
    given(&options(&bed, &format!("action=status\nssl_ca_file={}", empty.display()))).is(
        1,
        "",
        "no certificate",
    );
    given(&options(&bed, "action=validate-all\nssl_fingerprint=00:11")).is(1, "", "64 hexadecimal digits");
    assert!(bed.sim.log().is_empty());
}

/// A proxy that makes one connection and keeps what it was asked.
fn proxy(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = tell.send(head);
            let _ = client.write_all(answer.as_bytes());
            let Ok(mut device) = TcpStream::connect(to) else { continue };
            let (mut from_client, mut to_device) = (client.try_clone().unwrap(), device.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_device);
                let _ = to_device.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut device, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (port, told)
}

#[test]
fn a_proxy_is_asked_for_the_device_and_sees_no_password() {
    for generation in [Generation::Ilo2, Generation::Ilo4] {
        let bed = bed(generation);
        let (port, told) = proxy("HTTP/1.1 200 Connection established\r\n\r\n");
        bed.given(&format!("action=off\nilo_proxyhost=127.0.0.1\nilo_proxyport={port}")).is(
            0,
            "Success: Powered OFF\n",
            "",
        );
        let asked = told.recv_timeout(Duration::from_secs(5)).unwrap();
        let device = bed.sim.address();
        assert_eq!(asked, format!("CONNECT {device} HTTP/1.1\r\nHost: {device}\r\n\r\n"));
    }
}

#[test]
fn a_proxy_that_refuses_is_told_as_such() {
    let bed = bed(Generation::Ilo2);
    let (port, _told) = proxy("HTTP/1.1 403 Forbidden\r\n\r\n");
    let run = bed.given(&format!("action=off\nilo_proxyhost=127.0.0.1\nilo_proxyport={port}"));
    run.is(1, "", "the proxy makes no connection").is(1, "", "403 Forbidden");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bed.given(&format!("action=off\nilo_proxyhost=127.0.0.1\nilo_proxyport={closed}")).is(
        1,
        "",
        "the proxy: ",
    );
    bed.given("action=off\nilo_proxyhost=127.0.0.1\nilo_proxyport=x").is(1, "", "--ilo-proxyport");
    assert!(bed.sim.is_on());
}
