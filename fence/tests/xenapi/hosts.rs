//! Pools of several hosts: masters, slaves, and hosts that are gone.

use std::net::TcpListener;
use std::time::Duration;

use ringfence_tests::sim::xenapi::{Life, Pool, Quirks, Settings};

use super::agent::{Run, at, given};

fn pool() -> Pool {
    Pool::start(Settings { hosts: 3, ..Settings::default() }).unwrap()
}

fn act(urls: &str, lines: &str) -> Run {
    given(&at(urls, lines))
}

#[test]
fn a_slave_sends_us_to_the_master() {
    for path in ["", "/jsonrpc"] {
        for tls in [false, true] {
            let pool = Pool::start(Settings { hosts: 3, tls, ..Settings::default() }).unwrap();
            let trust = if tls { format!("ssl_fingerprint={}", pool.fingerprint()) } else { String::new() };
            for master in [1, 0, 2] {
                pool.set_master(master);
                pool.set_power("node1", "Running").unwrap();
                let url = format!("{}{path}", pool.url(0));
                act(&url, &format!("action=off\n{trust}")).is(0, "Success: Powered OFF\n", "");
                assert!(!pool.is_running("node1"));
            }
            assert_eq!(pool.open_sessions(), 0);
        }
    }
}

#[test]
fn hosts_are_tried_in_order() {
    let pool = pool();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for urls in [
        format!("http://{dead},{}", pool.url(0)),
        format!("http://{dead} http://no-such-host.invalid {}", pool.url(1)),
        format!("{},{}", pool.url(2), pool.url(0)),
    ] {
        act(&urls, "action=status").is(0, "Status: ON\n", "");
    }
    // The first that lets us in is the one: nobody else is asked.
    pool.forget_orders();
    act(&format!("{},{}", pool.url(0), pool.url(1)), "action=status").is(0, "Status: ON\n", "");
    assert_eq!(pool.calls().iter().filter(|call| call.contains("login")).count(), 1);
    assert_eq!(pool.open_sessions(), 0);
}

#[test]
fn a_master_that_is_gone_is_told_by_name_and_its_successor_found() {
    let pool = pool();
    pool.set_life(0, Life::Down);
    let run = act(&pool.url(1), "action=status");
    run.is(1, "", &format!("{} names {} as the pool's master", pool.address(1), pool.address(0)));
    let run = act(&format!("{},{},{}", pool.url(0), pool.url(1), pool.url(2)), "action=status");
    run.is(1, "", "connection refused");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    pool.set_master(2);
    act(&format!("{},{}", pool.url(0), pool.url(1)), "action=status").is(0, "Status: ON\n", "");
    assert_eq!(pool.open_sessions(), 0);
}

#[test]
fn a_silent_host_does_not_use_up_the_time_of_the_others() {
    let pool = pool();
    pool.set_life(0, Life::Silent);
    pool.set_master(1);
    let run = act(&format!("{},{}", pool.url(0), pool.url(1)), "action=status\nlogin_timeout=2");
    run.is(0, "Status: ON\n", "");
    assert!(run.took < Duration::from_secs(2), "{run:?}");
    let run = act(&pool.url(0), "action=status\nlogin_timeout=1");
    run.is(1, "", "timed out");
    assert!(run.took < Duration::from_secs(3), "{run:?}");
}

/// Wrong credentials are those of the whole pool: asking every host with them could lock the account.
#[test]
fn wrong_credentials_are_tried_once() {
    let pool = pool();
    let urls = format!("{},{},{}", pool.url(0), pool.url(1), pool.url(2));
    act(&urls, "password=nonsense\naction=status").is(1, "", "SESSION_AUTHENTICATION_FAILED");
    assert_eq!(pool.calls(), ["session.login_with_password"]);
}

#[test]
fn a_slave_that_sends_us_anywhere_is_not_followed() {
    for (says, words) in [
        ("http://127.0.0.9/", "whose address is none"),
        ("evil\r\nX: y", "whose address is none"),
        ("", "whose address is none"),
    ] {
        let pool = Pool::start(Settings {
            hosts: 2,
            quirks: Quirks { slave_says: Some(says.into()), ..Quirks::default() },
            ..Settings::default()
        })
        .unwrap();
        act(&pool.url(1), "action=status").is(1, "", words);
    }
    // In a circle
    let pool = Pool::start(Settings {
        hosts: 2,
        quirks: Quirks { slave_says: Some("127.0.0.2".into()), ..Quirks::default() },
        ..Settings::default()
    })
    .unwrap();
    act(&pool.url(1), "action=status").is(1, "", "is not the pool's master");
    assert_eq!(pool.calls().len(), 4);
}

#[test]
fn the_master_moves_while_we_work() {
    let quirks = Quirks { takes: Duration::from_millis(2500), ..Quirks::default() };
    let pool = Pool::start(Settings { hosts: 3, quirks, ..Settings::default() }).unwrap();
    let urls = format!("{},{}", pool.url(0), pool.url(1));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| act(&urls, "action=off"));
        while pool.orders().is_empty() && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        pool.set_master(1);
        run.join().unwrap().is(0, "Success: Powered OFF\n", "");
    });
    assert!(!pool.is_running("node1"));
    assert_eq!(pool.open_sessions(), 0);
    // and the old one goes down altogether
    pool.set_power("node1", "Running").unwrap();
    pool.forget_orders();
    pool.set_master(0);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| act(&urls, "action=off\npower_timeout=4"));
        while pool.orders().is_empty() && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        pool.set_master(1);
        // The machine runs on host 0 by default: it goes down with it, and nobody may call that off.
        pool.set_life(0, Life::Down);
        let run = run.join().unwrap();
        run.is(1, "", "power OFF");
    });
    assert_eq!(pool.open_sessions(), 0);
}
