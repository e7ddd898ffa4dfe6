//! An iSCSI target: the name under which a node shows logical units to initiators.
//!
//! Replaces `ocf:heartbeat:iSCSITarget` for the implementations tgt and lio-t. Manuals: tgtadm(8), targetcli(8), RFC 7143.
//! LIO is told and asked through configfs, tgtd through its management socket: no action runs a tool, and no password is
//! ever in an argv.
//!
//! Invariants:
//! - A target is ours if its name is exactly `iqn`. Nothing of any other is touched.
//! - It runs if initiators can log in as configured: what lets them in is set last, so a start that was killed is not
//!   taken for a target.
//! - Stop takes it away with the sessions on it. What its units export stays for the agents of the units.

mod params;

use ocf_lib::resource::prelude::*;
use ocf_lib::secret::Secret;
use params::Params;
use ringfence_agents::iscsi::implementation::{self, Implementation};
use ringfence_agents::iscsi::lio::{self, Lio};
use ringfence_agents::iscsi::lock::Held;
use ringfence_agents::iscsi::portal;
use ringfence_agents::iscsi::tgt::{self, Tgtd};

struct Target {
    params: Params,
    lio: Lio,
    tgtd: Tgtd,
}

impl Agent for Target {
    type Params = Params;

    const SPEC: Spec = Spec::new("iSCSITarget", "1.0")
        .short("Manages iSCSI targets")
        .long(
            "Makes an iSCSI target, which exports logical units (iSCSILogicalUnit) to initiators: with the daemon tgtd, or \
             with the target of the Linux kernel (LIO). Stop closes the sessions of initiators: move the address that they \
             connect to first.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 10),
            action(Verb::Stop, 10),
            action(Verb::Status, 10).every(10).depth(0),
            action(Verb::Monitor, 10).every(10).depth(0),
        ]);

    fn new(params: Params, cx: &Cx) -> Self {
        Self { params, lio: Lio::default(), tgtd: Tgtd::of(cx.env()) }
    }

    fn check(&self, _: &Cx) -> Result<(), Fault> {
        implementation::check(self.params.implementation)?;
        match (&self.params.incoming_username, &self.params.incoming_password) {
            (Some(_), None) => {
                return Err(Fault::configured(
                    "parameter incoming_password: must be set with incoming_username",
                ));
            }
            (None, Some(_)) => {
                return Err(Fault::configured(
                    "parameter incoming_username: must be set with incoming_password",
                ));
            }
            (Some(user), Some(_))
                if user.is_empty() || user.contains(|c: char| c == ',' || c.is_control()) =>
            {
                return Err(Fault::configured("parameter incoming_username: is empty, or has a comma in it"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        // What is not named is looked for on the host.
        match self.params.implementation.map(|word| implementation::choose(Some(word))) {
            Some(chosen) => self.check_for(chosen?),
            None => Ok(()),
        }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        let chosen = implementation::choose(self.params.implementation)?;
        self.check_for(chosen)?;
        if chosen == Implementation::Tgt {
            self.tgtd.targets(cx.deadline())?;
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let mut seen = State::Stopped;
        for place in implementation::places(self.params.implementation) {
            let state = match place {
                Implementation::Lio => self.lio_plan().probe(&self.lio)?,
                Implementation::Tgt => self.tgt_plan().probe(&self.tgtd, cx)?,
            };
            if state != State::Stopped {
                seen = state;
            }
        }
        Ok(seen)
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        match implementation::choose(self.params.implementation)? {
            Implementation::Lio => {
                let _held = Held::take(cx)?;
                self.lio_plan().start(&self.lio, cx)
            }
            Implementation::Tgt => {
                if self.params.portals.0.iter().any(|portal| portal::directory(*portal) != "0.0.0.0:3260") {
                    cx.warn("parameter portals is not in force: tgtd listens where it was told to at its own start");
                }
                self.tgt_plan().start(&self.tgtd, cx)
            }
        }
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        for place in implementation::places(self.params.implementation) {
            faults.ok(match place {
                Implementation::Lio => self.stop_lio(cx),
                Implementation::Tgt => self.tgt_plan().stop(&self.tgtd, cx),
            });
        }
    }
}

impl Target {
    fn account(&self) -> Option<(&str, &Secret)> {
        Some((self.params.incoming_username.as_deref()?, self.params.incoming_password.as_ref()?))
    }

    fn tgt_plan(&self) -> tgt::target::Plan<'_> {
        tgt::target::Plan {
            name: &self.params.iqn.0,
            id: self.params.tid.map(std::num::NonZeroU32::get),
            initiators: &self.params.allowed_initiators.0,
            account: self.account(),
            settings: &self.params.additional_parameters.0,
        }
    }

    fn lio_plan(&self) -> lio::target::Plan<'_> {
        lio::target::Plan {
            name: &self.params.iqn.0,
            portals: &self.params.portals.0,
            iser: &self.params.iser_portals.0,
            initiators: &self.params.allowed_initiators.0,
            account: self.account(),
            settings: &self.params.additional_parameters.0,
        }
    }

    fn check_for(&self, chosen: Implementation) -> Result<(), Fault> {
        match chosen {
            Implementation::Lio => self.lio_plan().check(),
            Implementation::Tgt => self.tgt_plan().check(),
        }
    }

    fn stop_lio(&self, cx: &Cx) -> Result<(), Fault> {
        if self.lio_plan().probe(&self.lio)? == State::Stopped {
            return Ok(());
        }
        let _held = Held::take(cx)?;
        lio::target::stop(&self.lio, &self.params.iqn.0, cx)
    }
}

fn main() -> ExitCode {
    run::<Target>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    fn validated(parameters: &[(&str, &str)]) -> (u8, String) {
        let bench = Bench::new("iSCSITarget", Verb::ValidateAll).param("iqn", "iqn.2026-01.org.lab:t");
        let bench = parameters.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
        let verdict = bench.perform::<Target>();
        (verdict.code.number(), verdict.reason.unwrap_or_default())
    }

    #[test]
    fn contradictions_are_wrong_everywhere() {
        let tgt = [("implementation", "tgt"), ("tid", "1")];
        let with = |more: &[(&'static str, &'static str)]| validated(&[&tgt, more].concat());
        assert_eq!(with(&[]).0, 0);
        assert_eq!(with(&[("incoming_username", "u")]).0, 6);
        assert_eq!(with(&[("incoming_password", "secret-secret")]).0, 6);
        assert_eq!(with(&[("incoming_username", "u"), ("incoming_password", "secret-secret")]).0, 0);
        let (code, reason) = with(&[("incoming_username", "u"), ("incoming_password", "secret,secret")]);
        assert!(code == 6 && reason.contains("comma") && !reason.contains("secret"), "{reason}");
        assert_eq!(with(&[("allowed_initiators", "10.0.0.0/24 iqn.2026-01.org.lab:n1")]).0, 0);
        assert_eq!(with(&[("portals", "eth0")]).0, 6);
        assert_eq!(validated(&[("implementation", "tgt")]).0, 6, "tgt needs a number");
    }

    #[test]
    fn the_kernels_target_knows_names_only_and_needs_no_number() {
        let with = |initiators| validated(&[("implementation", "lio-t"), ("allowed_initiators", initiators)]);
        assert_eq!(with("iqn.2026-01.org.lab:n1").0, 0);
        let (code, reason) = with("10.0.0.0/24");
        assert!(code == 6 && reason.contains("knows no networks"), "{reason}");
    }

    #[test]
    fn an_implementation_that_is_not_supported_is_named_with_those_that_are() {
        for word in ["iet", "lio", "scst", "nonsense"] {
            let (code, reason) = validated(&[("implementation", word)]);
            assert!(code == 6 && reason.contains("supported are tgt and lio-t"), "{word}: {reason}");
        }
    }
}
