//! LVM's filter with real LVM: a volume that it sees under two names, its files and its devices file, a root on a logical volume.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use ringfence_tests::lab::{Disks, Guest, Lab, Needs, Ran};
use std::time::Duration;

const AGENT: &str = "ringfence/LVM-filter";
const RULES: [(&str, &str); 2] = [("accept", "^/dev/mapper/alias$"), ("reject", "^/dev/sd")];

/// What lies beneath a DRBD or multipath device is what lies beneath this one: the same volume under two names.
const ALIAS: &str = "set -e
L=$(readlink -f /dev/lab/one)
dmsetup create alias --table \"0 $(blockdev --getsz $L) linear $L 0\"
dmsetup mknodes
F='devices/global_filter=[\"a|^/dev/mapper/|\",\"r|.*|\"]'
pvcreate -qq --config \"$F\" /dev/mapper/alias
vgcreate -qq --config \"$F\" vg /dev/mapper/alias
vgcreate -qq other /dev/lab/two 2>/dev/null";

/// Text, mode, owner and attributes of a file.
const ALL_OF: &str = "python3 -c \"
import os, sys
for f in sys.argv[1:]:
    s = os.stat(f)
    print(f, oct(s.st_mode), s.st_uid, s.st_gid, [(n, os.getxattr(f, n)) for n in sorted(os.listxattr(f))], open(f).read())
\" /etc/lvm/lvm.conf /etc/lvm/lvmlocal.conf";

fn lab(test: &str) -> (Lab, Guest) {
    let lab = Lab::open(&Needs::of(test).agents()).unwrap();
    let [guest] = lab.guests(["n1"], &Disks::none().own("one", 64).own("two", 64)).unwrap();
    guest.run(ALIAS).unwrap().ok().unwrap();
    (lab, guest)
}

fn call(guest: &Guest, action: &str, parameters: &[(&str, &str)]) -> Ran {
    guest.agent(AGENT, action, parameters).unwrap()
}

fn good(guest: &Guest, action: &str, parameters: &[(&str, &str)]) {
    call(guest, action, parameters).ok().unwrap();
}

fn monitor(guest: &Guest, level: &str, parameters: &[(&str, &str)]) -> Ran {
    let parameters = [parameters, &[("CRM_meta_interval", "60000")]].concat();
    guest.agent_with(AGENT, "monitor", &parameters, &[("OCF_CHECK_LEVEL", level)]).unwrap()
}

/// The names under which LVM itself sees volumes.
fn seen(guest: &Guest) -> Vec<String> {
    let json = guest
        .run("pvs --all --reportformat json -o pv_name,pv_uuid,vg_name,pv_duplicate 2>/dev/null")
        .unwrap()
        .ok()
        .unwrap();
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let rows = report.pointer("/report/0/pv").unwrap().as_array().unwrap();
    rows.iter()
        .filter(|row| row["pv_uuid"] != "")
        .map(|row| row["pv_name"].as_str().unwrap().to_owned())
        .collect()
}

fn all_of(guest: &Guest) -> String {
    guest.run(ALL_OF).unwrap().ok().unwrap().stdout
}

#[test]
fn a_volume_that_lvm_sees_twice_is_seen_once() {
    let (_lab, guest) = lab("a_volume_that_lvm_sees_twice_is_seen_once");
    let twice = ["/dev/mapper/alias", "/dev/sda", "/dev/sdb"];
    let once = ["/dev/mapper/alias"];
    guest
        .run("set -e; sed -i 's|^local {|# mine\\nlocal {|' /etc/lvm/lvmlocal.conf; chmod 640 /etc/lvm/lvmlocal.conf
            chown 0:6 /etc/lvm/lvmlocal.conf; python3 -c \"import os; os.setxattr('/etc/lvm/lvmlocal.conf', 'trusted.lab', b'label')\"")
        .unwrap()
        .ok()
        .unwrap();
    let before = all_of(&guest);
    assert!(before.contains("trusted.lab") && before.contains("0o100640 0 6"), "{before}");
    assert_eq!(seen(&guest), twice);
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    good(&guest, "stop", &RULES);
    let plan = guest
        .run("/usr/lib/ocf/resource.d/ringfence/LVM-filter plan 'accept=^/dev/mapper/alias$' 'reject=^/dev/sd'")
        .unwrap()
        .ok()
        .unwrap();
    for line in [
        "/etc/lvm/lvmlocal.conf",
        "+\tglobal_filter = [ \"a|^/dev/mapper/alias$|\", \"r|^/dev/sd|\" ]",
        "vg: now /dev/mapper/alias, /dev/sda, then /dev/mapper/alias",
        "other: now /dev/sdb, then not seen",
    ] {
        assert!(plan.stdout.lines().any(|seen| seen == line), "{line}: {plan:?}");
    }
    let level = [("OCF_CHECK_LEVEL", "10")];
    let checked = guest.agent_with(AGENT, "validate-all", &RULES, &level).unwrap().ok().unwrap();
    assert!(checked.stderr.contains("other: now /dev/sdb, then not seen"), "{checked:?}");
    assert_eq!(all_of(&guest), before, "a preview has changed something");

    for _ in 0..2 {
        good(&guest, "start", &RULES);
        assert_eq!(seen(&guest), once);
    }
    for level in ["0", "10"] {
        monitor(&guest, level, &RULES).ok().unwrap();
        let traced = format!(
            "env OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_interval=60000 OCF_CHECK_LEVEL={level} 'OCF_RESKEY_accept={}' \
             'OCF_RESKEY_reject={}' strace -qq -f -e trace=execve /usr/lib/ocf/resource.d/ringfence/LVM-filter monitor 2>&1 | \
             grep -c 'execve.* = 0'",
            RULES[0].1, RULES[1].1
        );
        // Itself, and LVM.
        assert_eq!(guest.run(&traced).unwrap().text(), "2", "level {level}");
    }
    good(&guest, "stop", &RULES);
    assert_eq!(all_of(&guest), before);
    assert_eq!(seen(&guest), twice);
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    good(&guest, "stop", &RULES);
}

#[test]
fn what_an_administrator_writes_stays_and_what_overrides_the_rules_is_found() {
    let (_lab, guest) = lab("what_an_administrator_writes_stays_and_what_overrides_the_rules_is_found");
    let set = |rule: &str| format!("global_filter = [ {rule}\"r|^/dev/cdrom|\" ] # no media");
    guest
        .run(&format!("sed -i 's:^devices {{:devices {{\\n\\t{}:' /etc/lvm/lvm.conf", set("")))
        .unwrap()
        .ok()
        .unwrap();
    let before = all_of(&guest);
    good(&guest, "start", &RULES);
    let ours = "\"a|^/dev/mapper/alias$|\", \"r|^/dev/sd|\", ";
    assert!(all_of(&guest).contains(&set(ours)), "the file that has the setting is the one to edit");
    assert_eq!(seen(&guest), ["/dev/mapper/alias"]);
    // The other file overrides this one: LVM's own answer tells.
    guest.run("echo 'devices/global_filter = \"a|.*|\"' >>/etc/lvm/lvmlocal.conf").unwrap().ok().unwrap();
    let bad = monitor(&guest, "0", &RULES);
    assert!(bad.code == 1 && bad.stderr.contains("LVM does not take the rules"), "{bad:?}");
    let bad = monitor(&guest, "10", &RULES);
    assert!(bad.code == 1 && bad.stderr.contains("LVM sees /dev/sda beside another name"), "{bad:?}");
    guest.run("dmsetup remove alias").unwrap().ok().unwrap();
    let bad = monitor(&guest, "10", &RULES);
    assert!(bad.code == 1 && bad.stderr.contains("which the rules hide"), "{bad:?}");
    // Edits of any kind: a rule, a comment, another setting, another mode.
    guest
        .run("set -e; sed -i '$d' /etc/lvm/lvmlocal.conf; F=/etc/lvm/lvm.conf; sed -i 's:no media:no DVDs:; s:\"r|^/dev/cdrom|\":& , \"r|^/dev/fd|\":' $F
            echo 'shell/history_size = 7' >>$F; chmod 600 $F")
        .unwrap()
        .ok()
        .unwrap();
    good(&guest, "stop", &RULES);
    let expected = before
        .replacen("0o100644", "0o100600", 1)
        .replace("[ \"r|^/dev/cdrom|\" ] # no media", "[ \"r|^/dev/cdrom|\", \"r|^/dev/fd|\" ] # no DVDs")
        .replace("\n/etc/lvm/lvmlocal.conf", "shell/history_size = 7\n\n/etc/lvm/lvmlocal.conf");
    assert_eq!(all_of(&guest), expected);
}

#[test]
fn the_devices_file_is_changed_and_comes_back() {
    let (_lab, guest) = lab("the_devices_file_is_changed_and_comes_back");
    guest
        .put("/etc/lvm/lvmlocal.conf", "devices {\n\tuse_devicesfile = 1\n}\n")
        .and_then(|()| {
            guest.run("lvm lvmdevices -y --adddev /dev/sda 2>&1 && lvm lvmdevices -y --adddev /dev/sdb")
        })
        .unwrap()
        .ok()
        .unwrap();
    let file = "/etc/lvm/devices/system.devices";
    let before = guest.read(file).unwrap();
    assert_eq!(seen(&guest), ["/dev/sda", "/dev/sdb"]);
    let rules = [("accept", "/dev/mapper/alias"), ("reject", "/dev/sda")];
    let expressions = call(&guest, "start", &RULES);
    assert!(
        expressions.code != 0 && expressions.stderr.contains("needs paths of devices"),
        "{expressions:?}"
    );
    good(&guest, "start", &rules);
    assert_eq!(seen(&guest), ["/dev/mapper/alias", "/dev/sdb"]);
    for level in ["0", "10"] {
        monitor(&guest, level, &rules).ok().unwrap();
    }
    good(&guest, "stop", &rules);
    assert_eq!(guest.read(file).unwrap(), before);
    // Somebody adds and removes devices meanwhile.
    good(&guest, "start", &rules);
    guest.run("lvm lvmdevices -y --deldev /dev/sdb").unwrap().ok().unwrap();
    monitor(&guest, "0", &rules).ok().unwrap();
    good(&guest, "stop", &rules);
    assert_eq!(seen(&guest), ["/dev/sda"]);
    // LVM does not look at it any more.
    good(&guest, "start", &rules);
    guest.run("sed -i 's/= 1/= 0/' /etc/lvm/lvmlocal.conf").unwrap().ok().unwrap();
    let bad = monitor(&guest, "0", &rules);
    assert!(bad.code == 1 && bad.stderr.contains("does not use its devices file"), "{bad:?}");
    good(&guest, "stop", &rules);
    // The first entry of a new file would hide all other devices.
    guest.run(&format!("sed -i 's/= 0/= 1/' /etc/lvm/lvmlocal.conf; rm {file}")).unwrap().ok().unwrap();
    let none = call(&guest, "start", &[&rules[..], &[("method", "devices")]].concat());
    assert!(none.code != 0 && none.stderr.contains("make it first"), "{none:?}");
    assert_eq!(seen(&guest).len(), 3);
}

/// A root on a logical volume of group `other`, and a shell in it.
const ROOT: &str = "set -e
lvcreate -qq -y -L 24M -n root other; mkfs.ext4 -q /dev/other/root; mkdir /new; mount /dev/other/root /new; cd /new
mkdir usr etc dev proc sys run var host tmp ringfence
for d in usr etc dev proc sys run host ringfence; do mount --rbind /$d /new/$d; done
for l in bin sbin lib lib64; do ln -s usr/$l $l; done
grep -q ' / / .*other-root' /new/proc/1/mountinfo && exit 1; chroot /new grep -q ' / / .*other-root' /proc/self/mountinfo";

#[test]
fn the_disk_of_the_root_and_what_is_in_use_are_not_hidden() {
    let (_lab, guest) = lab("the_disk_of_the_root_and_what_is_in_use_are_not_hidden");
    guest.run(ROOT).unwrap().ok().unwrap();
    let before = all_of(&guest);
    let in_root = |action: &str, more: &str| {
        let script = format!(
            "cd /; env OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_timeout=60000 'OCF_RESKEY_accept={}' 'OCF_RESKEY_reject={}' {more} \
             chroot /new /usr/lib/ocf/resource.d/ringfence/LVM-filter {action} 'accept={}' 'reject={}'",
            RULES[0].1, RULES[1].1, RULES[0].1, RULES[1].1
        );
        guest.run(&script).unwrap()
    };
    let why = "the rules would hide /dev/sdb of group other, which the root file system is on";
    // Nobody may say otherwise.
    let refused = in_root("start", "OCF_RESKEY_allow_vanish=true");
    assert!(refused.code != 0 && refused.stderr.contains(why), "{refused:?}");
    let plan = in_root("plan", "");
    assert!(plan.code != 0 && plan.stderr.contains(why), "{plan:?}");
    assert!(plan.stdout.contains("other: now /dev/sdb, then not seen"), "{plan:?}");
    // Outside it is a group with an active volume.
    let refused = call(&guest, "start", &RULES);
    assert!(refused.code != 0 && refused.stderr.contains("whose volumes are active here"), "{refused:?}");
    assert_eq!(all_of(&guest), before);
    assert_eq!(guest.run("ls /var/lib/ringfence 2>/dev/null").unwrap().text(), "");
    good(&guest, "start", &[&RULES[..], &[("allow_vanish", "true")]].concat());
    good(&guest, "stop", &RULES);
    assert_eq!(all_of(&guest), before);
}

#[test]
fn what_cannot_be_written_or_understood_stays_as_it_is() {
    let (_lab, guest) = lab("what_cannot_be_written_or_understood_stays_as_it_is");
    let before = all_of(&guest);
    // A configuration that is read-only.
    guest.run("mount --bind /etc/lvm /etc/lvm && mount -o remount,ro,bind /etc/lvm").unwrap().ok().unwrap();
    let refused = call(&guest, "start", &RULES);
    assert!(refused.code != 0 && refused.stderr.contains("read-only file system"), "{refused:?}");
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    good(&guest, "stop", &RULES);
    guest.run("umount /etc/lvm").unwrap().ok().unwrap();
    assert_eq!(all_of(&guest), before);
    // While it runs: it is not stopped, and says why; later it is.
    good(&guest, "start", &RULES);
    guest.run("mount --bind /etc/lvm /etc/lvm && mount -o remount,ro,bind /etc/lvm").unwrap().ok().unwrap();
    monitor(&guest, "0", &RULES).ok().unwrap();
    let refused = call(&guest, "stop", &RULES);
    assert!(refused.code == 1 && refused.stderr.contains("read-only file system"), "{refused:?}");
    guest.run("umount /etc/lvm").unwrap().ok().unwrap();
    monitor(&guest, "0", &RULES).ok().unwrap();
    good(&guest, "stop", &RULES);
    assert_eq!(all_of(&guest), before);

    // A disk that is full: too small for a second copy of the file.
    let full = "set -e; cp -a /etc/lvm /tmp/lvm; mount -t tmpfs -o size=256k small /etc/lvm; cp -a /tmp/lvm/lvm*.conf /etc/lvm/
                sed -i 's:^devices {:&\\n\\tglobal_filter = [ \"a|.*|\" ]:' /etc/lvm/lvm.conf
                cat /dev/zero >/etc/lvm/fill 2>/dev/null || true; df /etc/lvm";
    guest.run(full).unwrap().ok().unwrap();
    let small = all_of(&guest);
    let refused = call(&guest, "start", &RULES);
    assert!(refused.code != 0 && refused.stderr.contains("no space left on device"), "{refused:?}");
    assert_eq!(all_of(&guest), small);
    assert_eq!(
        guest.run("ls /etc/lvm; ls /var/lib/ringfence").unwrap().text(),
        "fill\nlvm.conf\nlvmlocal.conf"
    );
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    guest.run("rm /etc/lvm/fill").unwrap().ok().unwrap();
    good(&guest, "start", &RULES);
    guest.run("cat /dev/zero >/etc/lvm/fill 2>/dev/null || true").unwrap().ok().unwrap();
    let refused = call(&guest, "stop", &RULES);
    assert!(refused.code == 1 && refused.stderr.contains("no space left on device"), "{refused:?}");
    guest.run("rm /etc/lvm/fill").unwrap().ok().unwrap();
    good(&guest, "stop", &RULES);
    assert_eq!(all_of(&guest), small);
    guest.run("umount /etc/lvm").unwrap().ok().unwrap();

    // A file that is not understood.
    guest
        .run("cp /etc/lvm/lvm.conf /tmp/lvm.conf; echo 'devices {' >>/etc/lvm/lvm.conf")
        .unwrap()
        .ok()
        .unwrap();
    let broken = all_of(&guest);
    let refused = call(&guest, "start", &RULES);
    assert!(refused.code != 0 && refused.stderr.contains("lvm.conf"), "{refused:?}");
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    good(&guest, "stop", &RULES);
    assert_eq!(all_of(&guest), broken);
    guest.run("cat /tmp/lvm.conf >/etc/lvm/lvm.conf").unwrap().ok().unwrap();
    // Broken while it runs: the rules go, the rest stays.
    good(&guest, "start", &RULES);
    guest.run("echo 'devices {' >>/etc/lvm/lvmlocal.conf").unwrap().ok().unwrap();
    assert_eq!(monitor(&guest, "0", &RULES).code, 1);
    good(&guest, "stop", &RULES);
    let text = guest.read("/etc/lvm/lvmlocal.conf").unwrap();
    assert!(!text.contains("mapper/alias") && text.ends_with("devices {\n"), "{text}");

    // Without LVM.
    guest.run("mv /usr/sbin/lvm /usr/sbin/lvm.gone").unwrap().ok().unwrap();
    assert_eq!(call(&guest, "monitor", &RULES).code, 7);
    good(&guest, "stop", &RULES);
    let refused = call(&guest, "start", &RULES);
    assert!(refused.code == 5 && refused.stderr.contains("lvm"), "{refused:?}");
}

/// Kills a start and a stop at each call that changes something; `stop`, and every other time `start`, heals.
const KILLED: &str = r#"
A=/usr/lib/ocf/resource.d/ringfence/LVM-filter
export OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_CRM_meta_timeout=60000 'OCF_RESKEY_accept=^/dev/mapper/alias$' 'OCF_RESKEY_reject=^/dev/sd'
C=rename,unlink,fsync,mkdir,fchown,fchmod,ftruncate
look() { cat /etc/lvm/lvm.conf /etc/lvm/lvmlocal.conf; ls /etc/lvm /var/lib/ringfence; }
say() { echo "$*" >&2; exit 1; }
$A start && $A stop || say "cannot start and stop"
look >/tmp/before
for action in start stop; do
    n=1; kills=0
    while [ $n -lt 40 ]; do
        [ $action = start ] || $A start || say "not ready for stop $n"
        strace -qq -o /dev/null -e trace=$C -e inject=$C:signal=KILL:when=$n $A $action 2>/dev/null
        code=$?
        [ $code = 137 ] || break
        kills=$((kills+1))
        at="after a kill at call $n of $action"
        $A monitor; code=$?
        case $code in 0|1|7) ;; *) say "monitor says $code $at";; esac
        if [ $((n % 2)) = 0 ]; then
            $A start && $A monitor || say "start does not heal $at"
        fi
        $A stop || say "stop fails $at"
        $A monitor; [ $? = 7 ] || say "not stopped $at"
        look >/tmp/now
        cmp -s /tmp/now /tmp/before || { diff /tmp/before /tmp/now; say "something is left $at"; }
        n=$((n+1))
    done
    [ $action = stop ] || $A stop
    echo "$action $kills"
done
"#;

#[test]
fn a_start_or_stop_that_is_killed_is_healed_by_stop() {
    let (_lab, guest) = lab("a_start_or_stop_that_is_killed_is_healed_by_stop");
    let ran = guest.run_within(Duration::from_secs(400), KILLED).unwrap().ok().unwrap();
    let kills: Vec<u32> =
        ran.stdout.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    assert!(kills.len() == 2 && kills.iter().all(|kills| *kills > 2), "{ran:?}");
}
