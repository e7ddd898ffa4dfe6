//! Upstream's own tester likes it.

use super::world::{entries, needs, sh, try_sh, world};

const FOLDER: &str = "/usr/lib/ocf/resource.d/ringfence";

#[test]
fn ocf_tester_passes_on_both_families() {
    if !needs("ocf-tester") || !needs("/usr/lib/ocf/resource.d/heartbeat") {
        return;
    }
    world(|| {
        // a copy of the folder that this mount namespace alone sees, and the agent in it
        sh(&format!(
            "mkdir /run/ocf && cp -a /usr/lib/ocf/resource.d/. /run/ocf && mount --bind /run/ocf /usr/lib/ocf/resource.d \
             && mkdir -p {FOLDER} && touch {FOLDER}/IPaddr2 && mount --bind {} {FOLDER}/IPaddr2",
            env!("CARGO_BIN_EXE_ipaddr2")
        ));
        for ip in ["10.0.0.50", "fd00::50"] {
            let line = format!("ocf-tester -n vip -o ip={ip} -o nic=v0 {FOLDER}/IPaddr2 </dev/null");
            let (passed, output) = try_sh(&line);
            assert!(passed && output.contains("passed all tests"), "{ip}: {output}");
            assert!(!output.to_lowercase().contains("error"), "{ip}: {output}");
            assert!(entries(ip).is_empty());
        }
    });
}
