//! The parameters, by upstream's names and with its defaults.

use crate::score::Steps;
use crate::version::Version;
use ocf_lib::resource::param::{Content, FromParam};
use ocf_lib::resource::prelude::*;
use std::time::Duration;

params! {
    #[allow(clippy::struct_excessive_bools, reason = "upstream's parameters")]
    pub struct Params {
        pub drbd_resource: Word => param("drbd_resource").required().unique("drbd_resource").short("Which resource")
            .long("Its name in DRBD's configuration."),
        pub drbdconf: Word => param("drbdconf").short("DRBD's configuration")
            .long("The file that drbdadm reads. Absolute path.").default("/etc/drbd.conf"),
        pub adjust_master_score: Steps => param("adjust_master_score").short("Promotion scores")
            .long("Four numbers, none smaller than the one before: with data that is consistent but may be old; with access to \
                a peer's current data alone; with current data here while it is not known what a peer has; with current data here \
                in all other cases. With 0 an instance cannot be promoted.").default("0 10 1000 10000"),
        pub stop_outdates_secondary: bool => param("stop_outdates_secondary").short("Stop marks the data as outdated")
            .long("Whether the data of an unpromoted instance is marked as outdated by its stop while another one is promoted. \
                Fencing, in DRBD and the cluster, is the better way.").default("false"),
        pub ignore_missing_notifications: bool => param("ignore_missing_notifications").short("Do without notifications")
            .long("Whether the clone may go without the meta attribute notify=true.").default("false"),
        pub wfc_timeout: Wait => param("wfc_timeout").short("Wait for the peers")
            .long("For how many seconds start waits until the peers are connected. Empty or not a number: not at all.")
            .default("5"),
        pub remove_master_score_if_peer_primary: IfPrimary => param("remove_master_score_if_peer_primary")
            .short("No score while a peer is primary")
            .long("Whether an instance that is connected to a primary with current data has no promotion score. unexpected: only \
                if the cluster does not know that the peer is promoted. It prevents promotions that must fail while the cluster, \
                but not DRBD, is split; after a crash of the primary it delays the failover until DRBD has missed it.")
            .default("false"),
        pub fail_promote_early_if_peer_primary: bool => param("fail_promote_early_if_peer_primary")
            .short("Try to promote once while a peer is primary")
            .long("Whether promote gives up after the first attempt if a peer is still primary, instead of trying until its time \
                is up.").default("false"),
        pub unfence_if_all_uptodate: bool => param("unfence_if_all_uptodate").short("Lift a fence when all data is current")
            .long("Whether the monitor of a promoted instance runs `drbdadm unfence-peer` while everybody's data is current, for \
                a constraint that was left behind.").default("false"),
        pub unfence_extra_args: String => param("unfence_extra_args").short("Arguments of the unfence handler")
            .long("The handler finds them in its environment, as OCF_RESKEY_unfence_extra_args.")
            .default("--quiet --flock-required --flock-timeout 0 --unfence-only-if-owner-match"),
        pub require_drbd_module_version_ge: Option<Version> => param("require_drbd_module_version_ge")
            .short("Oldest module that is accepted")
            .long("The version of the kernel module must be this one or newer (x.y.z). Empty: any.").default("8.0.0"),
        pub require_drbd_module_version_lt: Option<Version> => param("require_drbd_module_version_lt")
            .short("First module that is too new")
            .long("The version of the kernel module must be older than this one (x.y.z). Empty: any.").default("10.0.0"),
        pub connect_only_after_promote: bool => param("connect_only_after_promote").short("Unpromoted is not connected")
            .long("Whether peers are connected after a promotion only. For stacked resources.").default("false"),
        pub report_degraded: bool => param("report_degraded").reloadable().short("Tell the cluster that redundancy is lost")
            .long("A monitor answers 190 or 191 (degraded) with the reason, instead of 0 or 8, while a peer is not connected or the \
                data here is not current. For Pacemaker 2.1 and later.")
            .default("false"),
    }
}

/// A resource or a file: what a command line or a configuration could take for something else is not in it.
pub struct Word(pub String);

impl FromParam for Word {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-%+./:=@_".contains(c);
        // Upstream lets a leading dash pass; drbdadm would take it for an option, and "all" for every resource.
        if text.is_empty() || !text.chars().all(fine) || text.starts_with('-') || text == "all" {
            Err(format!("'{text}' is no name that DRBD's tools can be given"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// `None`: do not wait.
pub struct Wait(pub Option<Duration>);

impl FromParam for Wait {
    const CONTENT: Content = Content::Integer;

    fn from_param(text: &str) -> Result<Self, String> {
        Ok(Self(text.parse().ok().map(Duration::from_secs)))
    }
}

/// When a promoted peer takes the score of this instance away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfPrimary {
    Always,
    Unexpected,
    Never,
}

impl FromParam for IfPrimary {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        Ok(match text {
            "unexpected" => Self::Unexpected,
            text if ocf_lib::env::is_true(text) => Self::Always,
            _ => Self::Never,
        })
    }
}
