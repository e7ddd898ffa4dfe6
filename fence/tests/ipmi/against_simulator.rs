//! The client against our simulator: what each BMC does, and what the client makes of it.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringfence_fence::ipmi::{Auth, Control, Error, Privilege, Session, Target, Version, parse_kg_hex};
use ringfence_tests::sim::bmc::{Bmc, Config, Quirks};
use zeroize::Zeroizing;

use super::target;

const AUTOMATIC: Version = Version::V20 { suite: None };

fn bmc(quirks: Quirks) -> Bmc {
    Bmc::start(Config { quirks, ..Config::default() }).unwrap()
}

fn error_of(target: &Target) -> Error {
    Session::open(target).err().expect("must not open")
}

/// Status, off, status, on, in one session.
fn work(bmc: &Bmc, target: &Target) {
    let before = bmc.sessions_opened();
    let mut session = Session::open(target).unwrap();
    assert!(session.chassis_status().unwrap().on);
    session.chassis_control(Control::Off).unwrap();
    assert!(!session.chassis_status().unwrap().on);
    assert!(!bmc.is_on());
    session.chassis_control(Control::On).unwrap();
    assert!(session.chassis_status().unwrap().on);
    session.close();
    assert_eq!((bmc.open_sessions(), bmc.half_open_sessions()), (0, 0));
    assert_eq!(bmc.sessions_opened(), before + 1);
}

#[test]
fn every_suite() {
    let bmc = Bmc::start(Config { suites: vec![0, 1, 2, 3, 15, 16, 17], ..Config::default() }).unwrap();
    for suite in [0, 1, 2, 3, 15, 16, 17] {
        work(&bmc, &Target { version: Version::V20 { suite: Some(suite) }, ..target(bmc.address()) });
    }
}

#[test]
fn a_status_costs_seven_round_trips() {
    let bmc = bmc(Quirks::default());
    for suite in [3, 17] {
        let mut session =
            Session::open(&Target { version: Version::V20 { suite: Some(suite) }, ..target(bmc.address()) })
                .unwrap();
        session.chassis_status().unwrap();
        let traffic = session.close();
        assert_eq!((traffic.round_trips, traffic.retransmissions), (7, 0));
    }
}

#[test]
fn version_1_5_with_each_authentication() {
    let bmc = bmc(Quirks::default());
    for auth in [None, Some(Auth::Md5), Some(Auth::Password), Some(Auth::None)] {
        work(&bmc, &Target { version: Version::V15 { auth }, ..target(bmc.address()) });
    }
}

#[test]
fn version_1_5_faults_are_told_apart() {
    let bmc = bmc(Quirks::default());
    let md5 = Target { version: Version::V15 { auth: Some(Auth::Md5) }, ..target(bmc.address()) };
    assert_eq!(error_of(&Target { username: b"nobody".to_vec(), ..md5.clone() }), Error::WrongUser);
    assert_eq!(
        error_of(&Target { password: Zeroizing::new(b"wrong".to_vec()), ..md5.clone() }),
        Error::WrongPassword
    );
    let operator = Target { username: b"oper".to_vec(), ..md5 };
    assert!(matches!(error_of(&operator), Error::Privilege { .. }));
    assert!(Session::open(&Target { privilege: Privilege::Operator, ..operator }).is_ok());
    let only_none = Bmc::start(Config { auths: vec![0], ..Config::default() }).unwrap();
    let error =
        error_of(&Target { version: Version::V15 { auth: Some(Auth::Md5) }, ..target(only_none.address()) });
    assert_eq!(error, Error::AuthUnsupported);
}

#[test]
fn automatic_takes_17_when_there_and_3_when_not() {
    for (suites, drops, want) in
        [(vec![17, 3], false, 17), (vec![17], false, 17), (vec![3], false, 3), (vec![3], true, 3)]
    {
        let bmc = Bmc::start(Config {
            suites,
            quirks: Quirks { drops_unknown_suites: drops, ..Quirks::default() },
            ..Config::default()
        })
        .unwrap();
        let begun = Instant::now();
        let mut session = Session::open(&Target { version: AUTOMATIC, ..target(bmc.address()) }).unwrap();
        assert_eq!(session.suite(), Some(want));
        assert!(session.chassis_status().unwrap().on);
        // a BMC that drops suite 17 costs three quarters of one packet time-out, one that refuses it nothing
        let limit = if drops { 600 } else { 250 };
        assert!(begun.elapsed() < Duration::from_millis(limit), "{:?}", begun.elapsed());
    }
}

#[test]
fn no_common_suite() {
    let bmc = Bmc::start(Config { suites: vec![1], ..Config::default() }).unwrap();
    let error = error_of(&Target { version: AUTOMATIC, ..target(bmc.address()) });
    assert_eq!(error, Error::CipherUnsupported { tried: vec![17, 3] });
    let error = error_of(&Target { version: Version::V20 { suite: Some(17) }, ..target(bmc.address()) });
    assert_eq!(error, Error::CipherUnsupported { tried: vec![17] });
    assert!(matches!(
        error_of(&Target { version: Version::V20 { suite: Some(8) }, ..target(bmc.address()) }),
        Error::Invalid(_)
    ));
}

#[test]
fn user_password_and_privilege_are_told_apart() {
    let bmc = bmc(Quirks::default());
    for suite in [3, 17] {
        let right = Target { version: Version::V20 { suite: Some(suite) }, ..target(bmc.address()) };
        assert_eq!(error_of(&Target { username: b"nobody".to_vec(), ..right.clone() }), Error::WrongUser);
        assert_eq!(
            error_of(&Target { password: Zeroizing::new(b"wrong".to_vec()), ..right.clone() }),
            Error::WrongPassword
        );
        let operator = Target { username: b"oper".to_vec(), ..right.clone() };
        let error = error_of(&operator);
        assert!(matches!(error, Error::Privilege { .. }));
        assert!(error.to_string().contains("privlvl=operator"));
        assert!(Session::open(&Target { privilege: Privilege::Operator, ..operator }).is_ok());
        let mut reader =
            Session::open(&Target { username: b"user".to_vec(), privilege: Privilege::User, ..right })
                .unwrap();
        assert!(reader.chassis_status().unwrap().on);
        assert!(matches!(reader.chassis_control(Control::Off), Err(Error::Privilege { .. })));
    }
    assert_eq!((bmc.open_sessions(), bmc.half_open_sessions(), bmc.controls().len()), (0, 0, 0));
}

#[test]
fn kg_right_wrong_and_missing() {
    let bmc =
        Bmc::start(Config { kg: Some(b"0123456789abcdefghij".to_vec()), slots: 64, ..Config::default() })
            .unwrap();
    for suite in [3, 17] {
        bmc.set_power(true);
        let bare = Target { version: Version::V20 { suite: Some(suite) }, ..target(bmc.address()) };
        let right = parse_kg_hex("303132333435363738396162636465666768696a").unwrap();
        work(&bmc, &Target { kg: Some(right), ..bare.clone() });
        assert_eq!(error_of(&bare), Error::WrongKg { given: false });
        assert_eq!(
            error_of(&Target { kg: Some(Zeroizing::new(b"other".to_vec())), ..bare }),
            Error::WrongKg { given: true }
        );
        // the BMC activates such a session and only the holder of the key could close it: it expires by itself
        bmc.amnesia().strike();
    }
}

#[test]
fn capability_quirks() {
    for quirks in [
        Quirks { refuses_v20_bit: true, ..Quirks::default() },
        Quirks { mute_v20_bit: true, ..Quirks::default() },
        Quirks { mute_cipher_suites: true, ..Quirks::default() },
    ] {
        let bmc = bmc(quirks);
        work(&bmc, &Target { version: AUTOMATIC, ..target(bmc.address()) });
    }
    let old = bmc(Quirks { only_v15: true, ..Quirks::default() });
    assert_eq!(error_of(&target(old.address())), Error::NoVersion20);
}

#[test]
fn a_lie_about_a_command_is_not_repeated_by_the_status() {
    let bmc = bmc(Quirks { lies: true, ..Quirks::default() });
    let mut session = Session::open(&target(bmc.address())).unwrap();
    session.chassis_control(Control::Off).unwrap();
    assert!(session.chassis_status().unwrap().on);
}

#[test]
fn cycle_of_a_node_that_is_off() {
    let bmc = Bmc::start(Config { on: false, ..Config::default() }).unwrap();
    let mut session = Session::open(&target(bmc.address())).unwrap();
    for control in [Control::Cycle, Control::Reset, Control::Diag] {
        assert!(matches!(session.chassis_control(control), Err(Error::WrongState(_))));
    }
}

#[test]
fn slow_power_is_seen_as_it_is() {
    let bmc = bmc(Quirks { slow_power: Duration::from_millis(150), ..Quirks::default() });
    let mut session = Session::open(&target(bmc.address())).unwrap();
    session.chassis_control(Control::Off).unwrap();
    assert!(session.chassis_status().unwrap().on);
    let until = Instant::now() + Duration::from_secs(2);
    while session.chassis_status().unwrap().on {
        assert!(Instant::now() < until);
    }
    assert!(!bmc.is_on());
}

#[test]
fn a_busy_bmc_is_asked_again_and_an_incapable_one_is_named() {
    let busy = bmc(Quirks { busy: 3, ..Quirks::default() });
    let mut session = Session::open(&target(busy.address())).unwrap();
    session.chassis_control(Control::Cycle).unwrap();
    assert_eq!(busy.controls(), [2]);
    let poor = bmc(Quirks { no_control: true, ..Quirks::default() });
    let mut session = Session::open(&target(poor.address())).unwrap();
    assert!(matches!(session.chassis_control(Control::Cycle), Err(Error::Unsupported(_))));
}

#[test]
fn slots_never_leak() {
    let bmc = Bmc::start(Config { slots: 2, ..Config::default() }).unwrap();
    for _ in 0..60 {
        let mut session = Session::open(&target(bmc.address())).unwrap();
        session.chassis_status().unwrap();
    }
    for _ in 0..10 {
        assert_eq!(
            error_of(&Target { password: Zeroizing::new(b"wrong".to_vec()), ..target(bmc.address()) }),
            Error::WrongPassword
        );
    }
    assert_eq!(bmc.open_sessions(), 0);
}

#[test]
fn all_slots_taken() {
    let bmc = Bmc::start(Config { slots: 1, ..Config::default() }).unwrap();
    let first = Session::open(&target(bmc.address())).unwrap();
    let mut hasty = target(bmc.address());
    hasty.connect_deadline = Instant::now() + Duration::from_millis(700);
    assert_eq!(error_of(&hasty), Error::Busy);
    // a slot that becomes free in time is used
    let address = bmc.address();
    let waiting = std::thread::spawn(move || Session::open(&target(address)).map(|_| ()));
    std::thread::sleep(Duration::from_millis(300));
    drop(first);
    waiting.join().unwrap().unwrap();
}

#[test]
fn a_lost_session_is_opened_again() {
    let bmc = bmc(Quirks::default());
    let mut session = Session::open(&target(bmc.address())).unwrap();
    for _ in 0..2 {
        bmc.amnesia().strike();
        session.chassis_control(Control::Off).unwrap();
        assert!(!session.chassis_status().unwrap().on);
    }
    session.close();
    assert_eq!(bmc.open_sessions(), 0);
    assert_eq!(bmc.sessions_opened(), 3);
}

#[test]
fn a_bmc_that_forgets_on_power_changes() {
    let bmc = bmc(Quirks { forgets_on_power: true, ..Quirks::default() });
    let mut session = Session::open(&target(bmc.address())).unwrap();
    session.chassis_control(Control::Off).unwrap();
    assert!(!session.chassis_status().unwrap().on);
    session.close();
    assert_eq!(bmc.open_sessions(), 0);
}

#[test]
fn a_command_that_must_not_be_repeated_goes_out_once() {
    for control in [Control::Cycle, Control::Reset, Control::Diag] {
        let bmc = bmc(Quirks::default());
        let mut session =
            Session::open(&Target { packet_timeout: Duration::from_millis(100), ..target(bmc.address()) })
                .unwrap();
        // slower than the packet time-out: the answer comes too late, the command arrives
        bmc.set_quirks(Quirks { answers_after: Duration::from_millis(300), ..Quirks::default() });
        let error = session.chassis_control(control).unwrap_err();
        assert!(matches!(error, Error::TimedOut { maybe_done: true, .. }), "{error}");
        bmc.set_quirks(Quirks::default());
        session.close();
        assert_eq!(bmc.controls().len(), 1);
        assert_eq!(bmc.open_sessions_after(Duration::from_secs(1)), 0);
    }
}

#[test]
fn bridging_in_both_forms() {
    for bridges_inline in [false, true] {
        let config = Config {
            bridged: [(0x72, true)].into(),
            quirks: Quirks { bridges_inline, ..Quirks::default() },
            ..Config::default()
        };
        let bmc = Bmc::start(config).unwrap();
        let through = Target { bridge_to: Some(0x72), ..target(bmc.address()) };
        let mut session = Session::open(&through).unwrap();
        assert!(session.chassis_status().unwrap().on);
        session.chassis_control(Control::Off).unwrap();
        assert!(!session.chassis_status().unwrap().on);
        assert_eq!((bmc.bridged_is_on(0x72), bmc.is_on()), (Some(false), true));
        assert!(matches!(session.chassis_control(Control::Cycle), Err(Error::WrongState(_))));
        session.close();
        let nobody = Session::open(&Target { bridge_to: Some(0x74), ..through })
            .unwrap()
            .chassis_status()
            .unwrap_err();
        assert_eq!(nobody, Error::Completion { what: "get chassis status", code: 0x83 });
    }
}

#[test]
fn ipv6_in_each_spelling() {
    let bmc = Bmc::start(Config { listen: "[::1]:0".parse().unwrap(), ..Config::default() }).unwrap();
    for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
        work(&bmc, &Target { host: host.into(), ..target(bmc.address()) });
    }
}

#[test]
fn a_name_is_tried_at_each_of_its_addresses() {
    let bmc = bmc(Quirks::default());
    work(&bmc, &Target { host: "localhost".into(), ..target(bmc.address()) });
}

#[test]
fn silence_ends_at_the_deadline_and_a_closed_port_at_once() {
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = mute.local_addr().unwrap();
    let begun = Instant::now();
    let mut wanted = target(address);
    wanted.connect_deadline = begun + Duration::from_millis(700);
    let error = error_of(&wanted);
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(690) && took < Duration::from_millis(1100), "{took:?}");
    drop(mute);
    let begun = Instant::now();
    let error = error_of(&target(address));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_user_the_bmc_ignores_is_a_timeout_with_a_hint() {
    let bmc = bmc(Quirks { mute_unknown_user: true, ..Quirks::default() });
    let mut wanted = Target { username: b"nobody".to_vec(), ..target(bmc.address()) };
    wanted.connect_deadline = Instant::now() + Duration::from_millis(800);
    let text = error_of(&wanted).to_string();
    assert!(text.contains("timed out") && text.contains("user name"), "{text}");
}
