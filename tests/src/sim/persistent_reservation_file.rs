//! The memory of the simulated disk of [`super::persistent_reservation`], as text.

use super::persistent_reservation::{Held, Nexus, Registered, State};

impl State {
    /// One thing a line.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!(
            "counts {} {} {} {}",
            self.generation,
            u8::from(self.aptpl),
            self.commands,
            self.writes
        )];
        let at = |nexus: &Nexus| format!("{} {}", nexus.port, nexus.initiator);
        lines.extend(
            self.registered.iter().map(|entry| format!("registered {:x} {}", entry.key, at(&entry.nexus))),
        );
        if let Some(held) = &self.held {
            lines.push(format!(
                "held {} {}",
                held.kind,
                held.holder.as_ref().map_or_else(|| "0 -".to_owned(), at)
            ));
        }
        lines.extend(
            self.attentions
                .iter()
                .map(|(nexus, code, more)| format!("attention {code} {more} {}", at(nexus))),
        );
        lines.extend(self.known.iter().map(|nexus| format!("known {}", at(nexus))));
        lines.join("\n") + "\n"
    }

    /// What [`Self::text`] wrote; `None` when it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut state = Self::default();
        let nexus = |port: &str, name: &str| Some(Nexus::new(name, port.parse().ok()?));
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["counts", generation, aptpl, commands, writes] => {
                    state.generation = generation.parse().ok()?;
                    state.aptpl = *aptpl == "1";
                    state.commands = commands.parse().ok()?;
                    state.writes = writes.parse().ok()?;
                }
                ["registered", key, port, name] => {
                    let key = u64::from_str_radix(key, 16).ok()?;
                    state.registered.push(Registered { nexus: nexus(port, name)?, key });
                }
                ["held", kind, port, name] => {
                    let holder = if *name == "-" { None } else { Some(nexus(port, name)?) };
                    state.held = Some(Held { kind: kind.parse().ok()?, holder });
                }
                ["attention", code, more, port, name] => {
                    state.attentions.push((nexus(port, name)?, code.parse().ok()?, more.parse().ok()?));
                }
                ["known", port, name] => state.known.push(nexus(port, name)?),
                _ => return None,
            }
        }
        Some(state)
    }
}
