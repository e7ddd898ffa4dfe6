//! The Xen agent as rgmanager's `vm.sh` on real Xen hosts: over `xl`, and over a libvirtd with libvirt's own driver for Xen.
#![cfg(feature = "lab")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too; the figures are for who reads the log"
)]

use ringfence_tests::lab::xen::{Domain, Watch};
use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};
use std::time::{Duration, Instant};

/// What rgmanager gives an action here.
const LIMIT: Duration = Duration::from_secs(120);
/// Its driver for Xen alone: the others would look at a machine that they are not asked about. None of the processors that it knows
/// fits one that is emulated, which has all of a 486 but for one feature.
const LIBVIRTD: &str = r#"mkdir -p /run/drivers /run/libvirt /var/log/libvirt
cp /usr/lib/*/libvirt/connection-driver/libvirt_driver_libxl.so /run/drivers/
sed -i "/'vme'/d" /usr/share/libvirt/cpu_map/x86_486.xml
printf 'unix_sock_dir = "/run/libvirt"\nauth_unix_rw = "none"\n' >/run/libvirtd.conf
LIBVIRT_DRIVER_DIR=/run/drivers libvirtd -d -f /run/libvirtd.conf
timeout 60 sh -c 'until virsh -c xen:/// uri >/dev/null 2>&1; do sleep 0.3; done'"#;

fn guest() -> Domain {
    Domain::named("vm")
}

/// The same guest in libvirt's words (formatdomain).
fn xml() -> String {
    format!(
        "<domain type='xen'><name>vm</name><uuid>{}</uuid><memory unit='MiB'>112</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/usr/lib/lab/xen/kernel</kernel>\
         <initrd>/var/lib/lab/xen-guest</initrd><cmdline>console=hvc0 quiet</cmdline></os>\
         <devices><console type='pty'><target type='xen' port='0'/></console></devices></domain>\n",
        guest().uuid()
    )
}

fn with_libvirt(host: &Guest) {
    host.put("/etc/xen/vm.xml", &xml()).unwrap();
    sh(host, LIBVIRTD);
}

fn sh(host: &Guest, script: &str) -> String {
    host.run_within(LIMIT, &format!("set -e\n{script}")).unwrap().ok().unwrap().text().to_owned()
}

/// `vm.sh WORDS`, as clurgmgrd calls it, with more of its environment.
fn vm(host: &Guest, words: &str, attributes: &str) -> Ran {
    let script = format!(
        "mkdir -p /usr/share/cluster && ln -sf /usr/lib/ocf/resource.d/ringfence/Xen /usr/share/cluster/vm.sh && \
         exec env OCF_ROOT=/usr/share/cluster OCF_RESOURCE_INSTANCE=vm:vm OCF_RESOURCE_TYPE=vm \
         OCF_RESKEY_RGMANAGER_meta_refcnt=0 OCF_RESKEY_name=vm OCF_RESKEY_path=/etc/xen {attributes} \
         /usr/share/cluster/vm.sh {words}"
    );
    host.run_within(LIMIT, &script).unwrap()
}

fn is(host: &Guest, words: &str, attributes: &str, code: i32) -> String {
    let began = Instant::now();
    let ran = vm(host, words, attributes).expect(code).unwrap();
    println!("figure: vm.sh {words} on {}: {:.1} s", host.name(), began.elapsed().as_secs_f64());
    ran.stderr
}

/// The life of a guest on two hosts, moved to and fro.
fn lives(hosts: [&Guest; 2], attributes: &str, watch: &Watch<'_>) {
    let (vm, [a, b]) = (guest(), hosts);
    is(a, "stop", attributes, 0);
    is(a, "status", attributes, 7);
    is(a, "start", attributes, 0);
    watch.hears(&vm).unwrap();
    is(a, "status", attributes, 0);
    for (from, to) in [(a, b), (b, a)] {
        is(from, &format!("migrate {}", to.name()), attributes, 0);
        watch.hears(&vm).unwrap();
        assert_eq!(watch.so_far().there(&vm), [(to.name().to_owned(), "live".to_owned())]);
        is(from, "status", attributes, 7);
        is(to, "status", attributes, 0);
        is(from, "stop", attributes, 0);
    }
    // Nobody is there, and it runs on here.
    let said = is(a, "migrate nohost", attributes, 7);
    assert!(said.contains("guest vm runs on here"), "{said}");
    watch.hears(&vm).unwrap();
    is(a, "stop", attributes, 0);
    assert_eq!(watch.so_far().there(&vm), []);
    is(a, "status", attributes, 7);
}

fn case(test: &str, prepare: impl Fn(&Guest), attributes: &str) {
    let lab = Lab::open(&Needs::of(test).xen().agents()).unwrap();
    let hosts = lab.guests(["xa", "xb"], &Disks::none()).unwrap();
    let [a, b] = &hosts;
    for host in &hosts {
        prepare(host);
    }
    let watch = Watch::over(&[a, b]).unwrap();
    lives([a, b], attributes, &watch);
    let seen = watch.end().unwrap();
    seen.never_two(&guest()).unwrap();
    let lives: Vec<_> = seen.lives(&guest()).into_iter().map(|life| life.hosts).collect();
    assert_eq!(lives, [["xa", "xb", "xa"]]);
}

#[test]
fn a_xen_guest_of_rgmanagers_is_moved_by_xl() {
    case("a_xen_guest_of_rgmanagers_is_moved_by_xl", |host| guest().put(host).unwrap(), "");
}

#[test]
fn a_xen_guest_of_rgmanagers_is_moved_by_libvirt() {
    case("a_xen_guest_of_rgmanagers_is_moved_by_libvirt", with_libvirt, "OCF_RESKEY_use_virsh=1");
}

/// libvirt cannot be told to give up: what it does after the agent's time is its own.
#[test]
fn a_migration_by_libvirt_that_is_cut_leaves_no_second_guest() {
    let test = "a_migration_by_libvirt_that_is_cut_leaves_no_second_guest";
    let lab = Lab::open(&Needs::of(test).xen().agents()).unwrap();
    let [a, b] = lab.guests(["xa", "xb"], &Disks::none()).unwrap();
    for host in [&a, &b] {
        with_libvirt(host);
    }
    let watch = Watch::over(&[&a, &b]).unwrap();
    let more = "OCF_RESKEY_use_virsh=1 OCF_RESKEY_RGMANAGER_meta_timeout=30";
    is(&a, "start", more, 0);
    watch.hears(&guest()).unwrap();
    let began = Instant::now();
    let said = std::thread::scope(|scope| {
        let sending = scope.spawn(|| is(&a, "migrate xb", more, 7));
        watch.until("an arrival", LIMIT, |seen| seen.there(&guest()).len() == 2).unwrap();
        b.link(false).unwrap();
        sending.join().unwrap()
    });
    assert!(began.elapsed() < Duration::from_secs(33), "{:?}", began.elapsed());
    assert!(said.contains("not migrated, guest vm runs on here: xb had not taken it after"), "{said}");
    assert!(said.contains("libvirt goes on, and may suspend it yet"), "{said}");
    assert_eq!(watch.so_far().now_on(&guest()), ["xa"]);

    b.link(true).unwrap();
    let halves = [("xa", "shutdown"), ("xb", "paused")].map(|(host, is)| (host.to_owned(), is.to_owned()));
    watch.until("libvirt to go on", LIMIT, |seen| seen.there(&guest()) == halves).unwrap();
    // Of the two halves none is made to run, and the loss is told.
    assert!(is(&a, "status", more, 1).contains("guest vm is suspended"));
    let said = is(&b, "start", more, 1);
    assert!(said.contains("has never run") && said.contains("nothing is started beside it"), "{said}");
    assert_eq!(watch.so_far().there(&guest()), halves);
    // libvirt holds both, and keeps nobody from taking them away.
    for host in [&a, &b] {
        is(host, "stop", more, 0);
    }
    assert_eq!(watch.so_far().there(&guest()), []);
    let ran = vm(&b, "start", more);
    if ran.code != 0 {
        println!("figure: start after it: {}", ran.stderr);
        assert!(ran.stderr.contains("restart libvirtd"), "{ran:?}");
        sh(&b, &format!("pkill -KILL -x libvirtd; sleep 1; {LIBVIRTD}"));
        is(&b, "start", more, 0);
    }
    watch.hears(&guest()).unwrap();
    let seen = watch.end().unwrap();
    seen.never_two(&guest()).unwrap();
    assert_eq!(seen.now_on(&guest()), ["xb"]);
}
