//! Heartbeat v1 (`haresources`): positional arguments, the action last.

use super::hand_over;
use crate::env::Env;
use crate::resource::spec::Spec;
use std::ffi::OsString;

pub(super) fn translate(spec: &Spec, arguments: &[OsString], mut env: Env) -> Env {
    for (foreign, value) in spec.heartbeat.iter().zip(arguments) {
        hand_over(&mut env, foreign, value);
    }
    if !env.is_set("OCF_RESOURCE_INSTANCE") {
        // One name for each line of haresources, so that two of a type do not share a state file.
        let words: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().replace('/', "_")).collect();
        let instance = if words.is_empty() { "default".to_owned() } else { words.join("_") };
        env.set("OCF_RESOURCE_INSTANCE", instance);
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::spec::{Foreign, foreign};

    const POSITIONS: &[Foreign] = &[foreign("ip", &["ip", "cidr_netmask", "nic"]).split('/')];

    #[test]
    fn one_argument_can_hold_several_parameters() {
        let spec = Spec::new("IPaddr2", "1").heartbeat(POSITIONS);
        let env = translate(&spec, &["10.0.0.1/24/eth0".into()], Env::default());
        assert_eq!(env.get("OCF_RESKEY_ip"), Some("10.0.0.1"));
        assert_eq!(env.get("OCF_RESKEY_cidr_netmask"), Some("24"));
        assert_eq!(env.get("OCF_RESKEY_nic"), Some("eth0"));
        assert_eq!(env.get("OCF_RESOURCE_INSTANCE"), Some("10.0.0.1_24_eth0"));
        let env = translate(&spec, &["10.0.0.1".into()], Env::default());
        assert!(!env.is_set("OCF_RESKEY_nic"));
    }
}
