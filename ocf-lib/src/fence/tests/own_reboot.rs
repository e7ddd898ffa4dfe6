//! A device whose nodes are its plugs, which reboots them in its own way and cannot switch one on.

use super::super::prelude::*;
use super::fake::*;

fence_options! {
    pub struct Options {
        hosts: String => option("hosts").default("").help("Nodes"),
    }
}

struct Own;

impl PowerDevice for Own {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[Takes::Plug],
        external: Some(External {
            name: "own",
            devid: "Own",
            devdescr: "Own.",
            devurl: "http://example.com/",
            params: &[external_param("hostlist", Meaning::Plugs("hosts"), true, "Nodes")],
        }),
        ..FenceSpec::new("fence_own", "Own", "Own.")
    };
    type Options = Options;

    fn connect(options: Options, _: Call) -> Result<Self, FenceError> {
        LAB.with_borrow_mut(|lab| lab.said.push(format!("hosts={}", options.hosts)));
        Ok(Self)
    }

    fn status(&mut self, plug: &Plug) -> Result<Power, FenceError> {
        LAB.with_borrow_mut(|lab| lab.calls.push(format!("status {}", plug.name())));
        Ok(Power::On)
    }

    fn set(&mut self, _: &Plug, _: Wanted) -> Result<(), FenceError> {
        Err(FenceError::unsupported("no power"))
    }

    fn reboot(&mut self, plugs: &[Plug]) -> Result<Rebooted, FenceError> {
        for plug in plugs {
            LAB.with_borrow_mut(|lab| lab.calls.push(format!("reboot {}", plug.name())));
            if plug.name() == "stays" {
                return Err(FenceError::refused("it stays"));
            }
        }
        Ok(Rebooted::Verified)
    }

    fn monitor(&mut self, _: &[Plug]) -> Result<Monitored, FenceError> {
        Ok(Monitored::Good)
    }
}

fn plugin(words: &[&'static str], hosts: &'static str) -> Ran {
    let mut argv = vec!["/usr/lib/stonith/plugins/external/own"];
    argv.extend(words);
    run_device::<Own>(lab(&[]), Caller { argv, stdin: Vec::new(), env: vec![("hostlist", hosts)] })
}

#[test]
fn a_device_may_reboot_by_itself() {
    let ran = run_device::<Own>(lab(&[]), stdin("plug=a,b\n"));
    assert_eq!((ran.status, ran.out.as_str()), (0, "Success: Rebooted\n"), "{}", ran.err);
    assert_eq!(ran.calls, ["reboot a", "reboot b"]);
    let ran = run_device::<Own>(lab(&[]), stdin("plug=a,stays\n"));
    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{}", ran.err);
}

#[test]
fn the_host_of_a_plugin_is_the_plug_as_the_list_spells_it() {
    let ran = plugin(&["reset", "node1"], "Other, Node1");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(ran.calls, ["reboot Node1"]);
    assert!(ran.said("hosts=Other, Node1"), "{:?}", ran.said);
    for host in ["node", "node11", "Other,"] {
        let ran = plugin(&["reset", host], "Other, Node1");
        assert_eq!((ran.status, ran.calls.len()), (1, 0), "{host}: {}", ran.err);
    }
    assert_eq!(plugin(&["gethosts"], "Other, Node1").out, "Other\nNode1\n");
    // Without a list nobody says that this host is ours.
    assert_eq!(plugin(&["reset", "node1"], "").status, 1);
    assert_eq!(plugin(&["status"], "Node1").status, 0);
}
