//! The parameters of a target.

use ocf_lib::resource::prelude::*;
use ocf_lib::secret::Secret;
use ringfence_agents::iscsi::implementation::Word;
use ringfence_agents::iscsi::names::{Initiators, Settings, TargetName};
use ringfence_agents::iscsi::portal::Portals;
use std::num::NonZeroU32;

params! {
    pub struct Params {
        pub implementation: Option<Word> => param("implementation").short("Target software")
            .long("tgt (the daemon tgtd) or lio-t (the kernel's own target, LIO). If not set, the first whose tool is \
                installed of iet, tgt, lio, lio-t, scst; start refuses what is neither tgt nor lio-t. lio-t does not \
                need targetcli."),
        pub iqn: TargetName => param("iqn").required().unique("iqn").short("Name of the target")
            .long("The target's iSCSI Qualified Name: iqn.YYYY-MM.REVERSED.DOMAIN:NAME."),
        pub tid: Option<NonZeroU32> => param("tid").unique("tid").short("Number of the target")
            .long("The number by which tgtd knows the target. Required for tgt; of no meaning for lio-t."),
        pub portals: Portals => param("portals").short("Addresses to listen on")
            .long("Addresses with or without a port, separated by blanks: 10.0.0.1:3260 [2001:db8::1]:3260. With [::0]:3260 the \
                target listens on every IPv6 and IPv4 address. For lio-t; tgtd listens where it was told to at its own start.")
            .default("0.0.0.0:3260"),
        pub iser_portals: Portals => param("iser_portals").short("Addresses that speak iSER")
            .long("Those of the portals on which iSER (iSCSI over RDMA) is switched on. For lio-t."),
        pub allowed_initiators: Initiators => param("allowed_initiators").short("Initiators that may log in")
            .long("Separated by blanks. For lio-t names of initiators; for tgt addresses, networks (10.0.0.0/24) and names. \
                Empty: everybody.")
            .default(""),
        pub incoming_username: Option<String> => param("incoming_username").unique("incoming_username")
            .short("User that initiators log in as")
            .long("With CHAP (RFC 1994). Each target needs a user of its own. If not set, nobody has to say who they are."),
        pub incoming_password: Option<Secret> => param("incoming_password").short("Password of that user")
            .long("Many initiators take 12 to 16 characters only."),
        pub additional_parameters: Settings => param("additional_parameters").short("More parameters of the target")
            .long("Pairs NAME=VALUE, separated by blanks, for the target software: MaxBurstLength=262144."),
    }
}
