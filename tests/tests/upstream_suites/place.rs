//! A place for Pacemaker's daemons: namespaces of its own, our agents where an administrator would have them, and
//! everything that a daemon writes in memory. With the namespaces all of it ends.

use ringfence_tests::subjects::Subjects;
use std::process::{Command, Stdio};

/// Runs as the first process of the place. `step NAME COMMAND...` runs a command and tells how it ended.
const PRELUDE: &str = r#"
set -u
for d in /run /var/lib/pacemaker /var/log; do mount -t tmpfs tmpfs $d || exit 90; done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 91
mkdir -p /run/crm /run/lock /run/resource-agents /var/log/pacemaker
for d in cib pengine cores blackbox; do mkdir -p /var/lib/pacemaker/$d; done
chown -R hacluster:haclient /run/crm /var/lib/pacemaker
for agent in "$TREE"/usr/sbin/fence_*; do
    at=/usr/sbin/$(basename "$agent")
    [ -e "$at" ] && { mount --bind "$(readlink -f "$agent")" "$(readlink -f "$at")" || exit 92; }
done
mount -t tmpfs tmpfs /usr/lib/ocf/resource.d && mkdir /usr/lib/ocf/resource.d/ringfence || exit 93
mount --bind "$TREE/usr/lib/ocf/resource.d/ringfence" /usr/lib/ocf/resource.d/ringfence || exit 94
ip link set lo up || exit 95
hostname solo
step() { name=$1; shift; "$@" >/run/said 2>&1; echo "== $name: $?"; sed "s/^/   /" /run/said; }
"#;

/// What was said, by step.
pub struct Ran {
    pub text: String,
}

/// Runs a shell script there, for 100 seconds at most.
pub fn ran(subjects: &Subjects, variables: &[(&str, String)], script: &str) -> Ran {
    let done = Command::new("timeout")
        .args(["-k", "2", "100", "unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork"])
        .args(["--mount-proc", "--kill-child", "--propagation", "private", "sh", "-c"])
        .arg(format!("{PRELUDE}{script}"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TREE", &subjects.tree)
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!(
        "{}{}[ended: {}]\n",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
        done.status
    );
    Ran { text }
}

impl Ran {
    /// What stands behind `== NAME: `, and what the step said.
    #[track_caller]
    pub fn step(&self, name: &str) -> (&str, Vec<&str>) {
        let mark = format!("== {name}: ");
        let mut lines = self.text.lines().skip_while(|line| !line.starts_with(&mark));
        let first = lines.next().unwrap_or_else(|| panic!("no step {name}:\n{}", self.text));
        let said = lines.take_while(|line| line.starts_with("   ")).map(str::trim).collect();
        (first.trim_start_matches(&mark), said)
    }

    #[track_caller]
    pub fn is(&self, name: &str, wanted: &str) {
        let (ended, said) = self.step(name);
        assert_eq!(ended, wanted, "step {name}: {said:?}\n{}", self.text);
    }

    /// It failed by itself: 124 is Pacemaker's own "timed out", 137 would be a kill.
    #[track_caller]
    pub fn fails(&self, name: &str) {
        let (ended, said) = self.step(name);
        assert!(ended != "0" && ended != "137", "step {name} should fail: {ended} {said:?}\n{}", self.text);
    }
}
