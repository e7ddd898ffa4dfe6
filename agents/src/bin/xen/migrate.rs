//! Live migration, and what is true after one that failed.
//!
//! `xl migrate` hands a guest over in steps (`xl_migrate.c`): the memory is sent while the guest runs; it is suspended; when the
//! other side has all of it, ours is renamed to `NAME--migratedaway` and the other side is allowed to run its own. Until that
//! word both sides can go back; after it only the other side runs the guest, or nobody. So a guest under its own name here is
//! ours, and one that was given away is the other side's until the other side itself says that it has none.
//!
//! `xl` waits for the other side without end. Its connection is ended before our own time is, so that `xl` itself resumes the
//! guest: killing `xl` would leave it suspended. Where `xl resume` is not implemented (4.17), a migration to a receiver
//! that takes nothing is what makes `xl` resume the guest.

use crate::listing::{self, Condition, Reason};
use crate::patience::Patience;
use crate::sight::{self, Part, Sight, Verdict};
use crate::toolstack::{self, Toolstack};
use crate::vm::Vm;
use crate::{LOOK_PAUSE, Xen, virsh};
use ocf_lib::cmd::{Cmd, Output};
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// One question to the other host.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// What follows a broken transfer: `xl` resumes the guest (under a second, measured), and we look.
const SETTLE_SHARE: u32 = 4;

/// What the other host says of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
enum There {
    Runs,
    /// It is there, and does not run or not yet.
    Arrives,
    Nothing,
    /// It gave no answer that can be understood; why.
    Unknown(String),
}

/// In the place of ssh: greets as a receiver of Xen 4.17 does, and is gone. With another greeting nothing happens to the guest.
const NOBODY: &str = "sh -c 'echo xl migration receiver ready, send binary domain data.; sleep 1'";

/// How the transfer ended, for the reason.
struct Transfer {
    said_success: bool,
    words: String,
}

impl Xen {
    pub(crate) fn hand_over(&self, cx: &Cx) -> Result<(), Fault> {
        let name = self.name(cx).to_owned();
        let tool = self.tool(cx).ok_or_else(|| Fault::installed("xl is not installed"))?;
        self.must_be_whole(cx, &name)?;
        let target =
            cx.migrate_target().ok_or_else(|| Fault::args("no target of the migration was given"))?;
        let address = self.address_of(cx, target);
        if tool != Toolstack::Xm {
            must_be_free(&address, &name, &ask(cx, &address, &name))?;
        }
        let transfer = self.transfer(cx, tool, &name, &address);
        self.settle(cx, tool, &name, &address, &transfer)
    }

    /// Only a guest that runs can take part in its own migration.
    fn must_be_whole(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        let cannot = |why: &str| Err(Fault::generic(format!("cannot migrate guest {name}: {why}")));
        let sight = self.look(cx)?.unwrap_or_default();
        let Some(domain) = sight.whole() else { return cannot("it does not run here") };
        if let Some((part, half)) = sight.half() {
            return cannot(&sight::half_sentence(name, part, half));
        }
        match sight::verdict(name, domain.condition) {
            Verdict::Runs => Ok(()),
            Verdict::Paused => cannot("it is paused, and a paused guest cannot be suspended"),
            Verdict::Passing(why) => cannot(&why),
        }
    }

    /// The target's name, or what its node attribute says.
    fn address_of(&self, cx: &Cx, target: &str) -> String {
        if let Some(mapped) = self.vm.as_ref().and_then(|vm| vm.migration_mapping.target(target)) {
            return mapped.to_owned();
        }
        let attribute = self.params.node_ip_attribute.as_str();
        if attribute.is_empty() {
            return target.to_owned();
        }
        let question = Cmd::new("crm_attribute")
            .args(["--type", "nodes", "--node", target, "-n", attribute, "-G", "-q"]);
        let said = cx.run_until(&question, Deadline::after(ASK_LIMIT.min(cx.left_or(ASK_LIMIT * 4) / 4)));
        let value = said.ok().filter(Output::success).map(|said| said.stdout_text().trim().to_owned());
        value.filter(|value| !value.is_empty() && value != "(null)").unwrap_or_else(|| {
            cx.warn(format!("node {target} has no attribute {attribute}: migrating to its name"));
            target.to_owned()
        })
    }

    /// Sends the guest. The connection ends before our time does.
    fn transfer(&self, cx: &Cx, tool: Toolstack, name: &str, address: &str) -> Transfer {
        let all = cx.left_or(Duration::from_secs(3600));
        let after = (all / SETTLE_SHARE).clamp(Duration::from_secs(3), Duration::from_secs(30)).min(all / 2);
        let connected = all.saturating_sub(after);
        let cmd = match tool {
            Toolstack::Xl if cx.has("timeout") => {
                let ssh = format!("timeout -s KILL {} ssh", connected.as_secs().max(1));
                tool.cmd(["migrate", "-s", &ssh, name, address])
            }
            Toolstack::Xl => tool.cmd(["migrate", name, address]),
            Toolstack::Xm if self.vm.as_ref().is_some_and(Vm::pauses) => tool.cmd(["migrate", name, address]),
            Toolstack::Xm => tool.cmd(["migrate", "--live", name, address]),
            Toolstack::Virsh => virsh::migration(self.vm.as_ref(), name, address),
        };
        // If xl itself hangs when its connection has gone, most of the rest is for looking.
        let ended = cx.run_until(&cmd, Deadline::after(connected + after / 3));
        let spent = all.saturating_sub(cx.left_or(all));
        match ended {
            Ok(output) if output.success() => {
                Transfer { said_success: true, words: format!("{} said that it succeeded", tool.program()) }
            }
            // What xl says of a connection that was ended is not why it was.
            Ok(_) | Err(_) if spent.as_secs() >= connected.as_secs() => Transfer {
                said_success: false,
                words: format!(
                    "{address} had not taken it after {} s, and was not waited for any longer{}",
                    connected.as_secs(),
                    // Its driver for Xen has no way to.
                    if tool == Toolstack::Virsh { "; libvirt goes on, and may suspend it yet" } else { "" }
                ),
            },
            Ok(output) => Transfer { said_success: false, words: cause(&output, &cmd) },
            Err(fault) => Transfer { said_success: false, words: fault.reason().to_owned() },
        }
    }

    /// Who has the guest. Success only if it is not here any more, and the other side has it.
    fn settle(
        &self,
        cx: &Cx,
        tool: Toolstack,
        name: &str,
        address: &str,
        transfer: &Transfer,
    ) -> Result<(), Fault> {
        let words = &transfer.words;
        let mut last = None;
        loop {
            let sight = match self.look(cx) {
                Ok(sight) => sight.unwrap_or_default(),
                // No time is left for a look: what was seen last is what can be told.
                Err(fault) => {
                    return Err(last.map_or(fault, |what: String| left(name, &format!("{what}: {words}"))));
                }
            };
            let what = if let Some(domain) = sight.whole() {
                match sight::verdict(name, domain.condition) {
                    Verdict::Runs => {
                        return Err(Fault::generic(format!(
                            "not migrated, guest {name} runs on here: {words}"
                        )));
                    }
                    Verdict::Passing(_) if domain.condition == Condition::ShutDown(Reason::Suspend) => {
                        // It was not given away, for its name is its own: nobody else may run it.
                        let what = "it is suspended here";
                        // But libvirt keeps the name, and has the other side run it before it takes ours away.
                        if tool == Toolstack::Virsh {
                            if ask(cx, address, name) == There::Runs {
                                remove_copy(cx, tool, name, address, words);
                            }
                        } else if !self.resume(cx, tool, name) {
                            return Err(left(name, &format!("{what}: {words}")));
                        }
                        what.to_owned()
                    }
                    Verdict::Paused | Verdict::Passing(_) => "it is here and does not run".to_owned(),
                }
            } else if let Some((part, half)) = sight.half() {
                if part == Part::Away
                    && let Some(result) = self.given_away(cx, tool, name, address, words)
                {
                    return result;
                }
                sight::half_sentence(name, part, half)
            } else if transfer.said_success {
                return Ok(());
            } else {
                return match ask(cx, address, name) {
                    There::Runs => {
                        cx.warn(format!("guest {name} runs on {address}, though: {words}"));
                        Ok(())
                    }
                    There::Arrives | There::Nothing | There::Unknown(_) => {
                        Err(Fault::generic(format!("guest {name} is not here any more: {words}")))
                    }
                };
            };
            if cx.expired() {
                return Err(left(name, &format!("{what}: {words}")));
            }
            last = Some(what);
            cx.sleep(LOOK_PAUSE);
        }
    }

    /// The copy that was given away is nobody's as long as the other side does not answer. `None`: look again.
    fn given_away(
        &self,
        cx: &Cx,
        tool: Toolstack,
        name: &str,
        address: &str,
        words: &str,
    ) -> Option<Result<(), Fault>> {
        let away = sight::away_name(name);
        match ask(cx, address, name) {
            There::Runs => {
                remove_copy(cx, tool, &away, address, words);
                None
            }
            There::Nothing => {
                let renamed = toolstack::run(cx, &tool.cmd(["rename", &away, name]), cx.deadline());
                if renamed.is_ok() && self.resume(cx, tool, name) {
                    return None;
                }
                Some(Err(left(
                    name,
                    &format!("{address} does not have it, and it is suspended here: {words}"),
                )))
            }
            There::Unknown(why) if cx.left_or(ASK_LIMIT) < ASK_LIMIT / 5 => Some(Err(left(
                name,
                &format!(
                    "it was given to {address}, which cannot be asked ({why}); its copy here stays suspended: {words}"
                ),
            ))),
            There::Arrives | There::Unknown(_) => None,
        }
    }

    /// False: it stays suspended.
    fn resume(&self, cx: &Cx, tool: Toolstack, name: &str) -> bool {
        if self.resumed.replace(true) {
            // Once is enough; it takes a moment until the list shows it.
            return true;
        }
        if tool != Toolstack::Xl {
            return false;
        }
        let newer = tool.cmd(["resume", name]);
        if toolstack::run(cx, &newer, cx.deadline().within(ASK_LIMIT)).is_ok() {
            return true;
        }
        // It ends with 1, for that migration has failed: whether the guest runs is seen by the next look.
        let older = tool.cmd(["migrate", "-s", NOBODY, name, "nobody"]);
        cx.run_until(&older, cx.deadline().within(ASK_LIMIT)).is_ok()
    }

    /// Waits for the guest that was sent here, and for no other.
    pub(crate) fn receive(&self, cx: &Cx) -> Result<(), Fault> {
        let name = self.name(cx).to_owned();
        let most = Patience::of(cx, cx.left_or(Duration::from_secs(120)) * 2 / 3);
        loop {
            let domains = toolstack::domains(cx, &name, true)?.unwrap_or_default();
            let sight = Sight::of(&name, domains);
            let why = match (sight.whole(), sight.half()) {
                (Some(domain), None) => match sight::verdict(&name, domain.condition) {
                    Verdict::Runs => {
                        let configured = self.config().and_then(|config| config.uuid.as_deref());
                        let is = domain.uuid.as_deref();
                        return match (configured, is) {
                            (Some(wanted), Some(is)) if wanted != is => Err(Fault::generic(format!(
                                "a guest called {name} runs here, and it is another one: its UUID is {is}, not {wanted}"
                            ))),
                            _ => {
                                self.remember(cx);
                                Ok(())
                            }
                        };
                    }
                    Verdict::Paused => format!("guest {name} arrived, and is paused"),
                    Verdict::Passing(why) => why,
                },
                (_, Some((part, half))) => sight::half_sentence(&name, part, half),
                (None, None) => format!("guest {name} is not here"),
            };
            if most.over(cx) {
                let source = cx.migrate_source().unwrap_or("the other host");
                return Err(Fault::generic(format!("{why}: it did not arrive from {source} in time")));
            }
            cx.sleep(LOOK_PAUSE);
        }
    }
}

/// The other side runs it: what is left here is nobody's. Not by libvirt where there is something else: it may still be at it.
fn remove_copy(cx: &Cx, tool: Toolstack, domain: &str, address: &str, words: &str) {
    cx.warn(format!("the guest runs on {address}; its copy here, {domain}, is removed: {words}"));
    let host = Toolstack::of_this_host(cx).unwrap_or(tool);
    let _ = toolstack::run(cx, &host.cmd(["destroy", domain]), cx.deadline());
}

fn left(name: &str, what: &str) -> Fault {
    Fault::generic(format!("migration of guest {name} failed, {what}"))
}

/// What decided: how the other side or the connection failed, and not that ours was resumed.
fn cause(output: &Output, cmd: &Cmd) -> String {
    let text = output.stderr_text();
    let telling = [
        "Target reports startup failure",
        "exited: ",
        "failed during final handshake",
        "Connection",
        "ssh: ",
    ];
    let mut lines = text.lines().map(|line| line.trim().trim_start_matches("error: "));
    let line = lines.find(|line| telling.iter().any(|words| line.contains(words)));
    let words = line.map_or_else(|| toolstack::cause(&text), str::to_owned);
    format!("{} {}: {words}", cmd.program().to_string_lossy(), output.how_it_ended())
}

/// A guest of that name on the other side would be found out only after all of the memory was sent.
fn must_be_free(address: &str, name: &str, there: &There) -> Result<(), Fault> {
    match there {
        There::Nothing | There::Unknown(_) => Ok(()),
        There::Runs | There::Arrives => Err(Fault::generic(format!(
            "cannot migrate guest {name}: {address} has a guest of that name; it runs on here"
        ))),
    }
}

/// Asks the other host by the way that the guest is sent.
fn ask(cx: &Cx, address: &str, name: &str) -> There {
    let cmd = Cmd::new("ssh").args([address, "xl", "list"]);
    let limit = ASK_LIMIT.min(cx.left_or(ASK_LIMIT * 4) / 4).max(Duration::from_millis(500));
    let said = match cx.run_until(&cmd, Deadline::after(limit)) {
        Ok(said) if said.success() => said,
        Ok(said) => return There::Unknown(said.failure(&cmd)),
        Err(fault) => return There::Unknown(fault.reason().to_owned()),
    };
    match listing::parse(&said.stdout_text(), name) {
        Err(why) => There::Unknown(why),
        Ok(domains) => {
            let sight = Sight::of(name, domains);
            match sight.whole() {
                Some(domain) if sight::verdict(name, domain.condition) == Verdict::Runs => There::Runs,
                None if sight.is_empty() => There::Nothing,
                Some(_) | None => There::Arrives,
            }
        }
    }
}
