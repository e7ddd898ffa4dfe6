//! The actions, on top of [`Switch`]: what is printed and which status the process ends with.

use super::action::Action;
use super::call::{Call, Method};
use super::common_options::Takes;
use super::device::{Monitored, Outlet, Plug, Power, PowerDevice, Rebooted, Wanted};
use super::error::{ErrorKind, FenceError};
use super::power::{Switch, Whole};
use super::spec::Table;
use crate::deadline::Clock;

/// What a finished action prints, and its exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub status: u8,
    pub text: String,
}

fn done(text: impl Into<String>) -> Done {
    Done { status: 0, text: text.into() }
}

/// Carries out the action of `call` on a connected device.
pub fn perform<D: PowerDevice>(
    table: &Table,
    device: D,
    call: &Call,
    clock: &dyn Clock,
) -> Result<Done, FenceError> {
    let mut switch = Switch { device, call, clock };
    switch.not_interrupted()?;
    match call.action() {
        Action::List | Action::ListStatus => list(&mut switch),
        Action::Monitor => monitor(table, &mut switch),
        Action::Status => status(table, &mut switch),
        Action::On => on(table, &mut switch),
        Action::Off => off(table, &mut switch),
        Action::Reboot => reboot(table, &mut switch),
        Action::Diag => diag(&mut switch),
        Action::Metadata | Action::Manpage | Action::ValidateAll => Ok(done("")),
    }
}

fn status<D: PowerDevice>(table: &Table, switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    if table.has(Takes::NoStatus) {
        return Err(FenceError::unsupported("this device has no status"));
    }
    let states = switch.states()?;
    let whole = match switch.call.plugs().iter().zip(&states).find(|(_, s)| **s == Power::Transitional) {
        Some((plug, _)) => {
            return Err(FenceError::wrong_state(format!(
                "Unable to obtain correct plug status or plug is not available: {} is between on and off",
                plug.in_words()
            )));
        }
        None if states.iter().all(|s| *s == Power::Off) => Power::Off,
        None => Power::On,
    };
    let mixed = states.iter().any(|s| *s != whole);
    if mixed {
        // Upstream says ON; a caller that asks "is it off?" gets the right answer.
        switch.call.log().warning("some plugs are off and some are on");
    }
    let text = if switch.call.0.json {
        let plugs: Vec<_> = switch
            .call
            .plugs()
            .iter()
            .zip(&states)
            .map(|(plug, power)| {
                serde_json::json!({"plug": plug.name(), "power": power.to_string().to_lowercase()})
            })
            .collect();
        format!("{}\n", serde_json::json!({"status": whole.to_string().to_lowercase(), "plugs": plugs}))
    } else {
        format!("Status: {whole}\n")
    };
    Ok(Done { status: if whole == Power::Off { 2 } else { 0 }, text })
}

/// Without a status the only word of the device is that it took the request.
fn set_only<D: PowerDevice>(switch: &mut Switch<'_, D>, wanted: Wanted) -> Result<(), FenceError> {
    let call = switch.call;
    if call.plugs().is_empty() {
        return Err(FenceError::usage("You have to enter plug number or machine identification"));
    }
    for plug in call.plugs() {
        switch.not_interrupted()?;
        switch.device.set(plug, wanted)?;
    }
    Ok(())
}

fn on<D: PowerDevice>(table: &Table, switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    if table.has(Takes::NoStatus) {
        set_only(switch, Wanted::On)?;
        return Ok(done("Success: Powered ON\n"));
    }
    let states = switch.states()?;
    let forced = table.has(Takes::ForceOn);
    if !forced && states.iter().all(|s| *s == Power::On) {
        return Ok(done("Success: Already ON\n"));
    }
    switch.power_on(Some(states.as_slice()).filter(|_| !forced))?;
    Ok(done("Success: Powered ON\n"))
}

fn off<D: PowerDevice>(table: &Table, switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    if table.has(Takes::NoStatus) {
        set_only(switch, Wanted::Off)?;
        return Ok(done("Success: Powered OFF\n"));
    }
    let states = switch.states()?;
    if states.iter().all(|s| *s == Power::Off) {
        return Ok(done("Success: Already OFF\n"));
    }
    switch.reach(Wanted::Off, Some(&states))?;
    Ok(done("Success: Powered OFF\n"))
}

fn reboot<D: PowerDevice>(table: &Table, switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    if switch.call.plugs().is_empty() {
        return Err(FenceError::usage("You have to enter plug number or machine identification"));
    }
    let plugs: Vec<Plug> = switch.call.plugs().to_vec();
    if switch.device.reboot(&plugs)? == Rebooted::Verified {
        return Ok(done("Success: Rebooted\n"));
    }
    if table.has(Takes::NoStatus) {
        set_only(switch, Wanted::Off)?;
        if let Err(e) = set_only(switch, Wanted::On) {
            switch.call.log().error(format!("{e}"));
        }
        return Ok(done("Success: Rebooted\n"));
    }
    let states = switch.states()?;
    let all_off = states.iter().all(|s| *s == Power::Off);
    let back = match switch.call.method() {
        Method::Cycle if !all_off => {
            switch.cycle(&states)?;
            switch.on_after_cycle()
        }
        Method::OnOff if !all_off => {
            switch.reach(Wanted::Off, Some(&states))?;
            switch.power_on(None)
        }
        Method::OnOff | Method::Cycle => switch.power_on(None),
    };
    // The node was seen off (or cycled): it is fenced, whether or not it comes back.
    match back {
        Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
        Err(e) => switch.call.log().error(format!("{e}: the node is fenced but not on again")),
        Ok(()) => {}
    }
    Ok(done("Success: Rebooted\n"))
}

fn diag<D: PowerDevice>(switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    let whole = switch.whole()?;
    if whole == Whole::AllOff {
        return Err(FenceError::wrong_state("the node is off and cannot be interrupted"));
    }
    let call = switch.call;
    for plug in call.plugs() {
        switch.not_interrupted()?;
        switch.device.diag(plug)?;
    }
    Ok(done("Success: Diagnostic interrupt sent\n"))
}

fn list<D: PowerDevice>(switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    let outlets = match switch.device.list() {
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            return Ok(done("NOTICE: List option is not working on this device yet\n"));
        }
        other => other?,
    };
    let with_power = switch.call.action() == Action::ListStatus;
    if switch.call.0.json {
        let items: Vec<_> = outlets
            .iter()
            .map(|o| {
                if with_power {
                    serde_json::json!({"id": o.id, "alias": o.alias, "power": power_word(o).to_lowercase()})
                } else {
                    serde_json::json!({"id": o.id, "alias": o.alias})
                }
            })
            .collect();
        return Ok(done(format!("{}\n", serde_json::Value::Array(items))));
    }
    let separator = switch.call.text("separator").unwrap_or_else(|| ",".into());
    let mut text = String::new();
    for outlet in &outlets {
        text.push_str(&printable(&outlet.id));
        text.push_str(&separator);
        text.push_str(&printable(&outlet.alias));
        if with_power {
            text.push_str(&separator);
            text.push_str(power_word(outlet));
        }
        text.push('\n');
    }
    Ok(done(text))
}

fn power_word(outlet: &Outlet) -> &'static str {
    match outlet.power {
        Some(Power::On) => "ON",
        Some(Power::Off) => "OFF",
        Some(Power::Transitional | Power::Unknown) | None => "UNKNOWN",
    }
}

/// A guest's name must not be able to add a line, and with it a host, to the list.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn monitor<D: PowerDevice>(table: &Table, switch: &mut Switch<'_, D>) -> Result<Done, FenceError> {
    let call = switch.call;
    let plugs: Vec<Plug> = call.plugs().to_vec();
    if switch.device.monitor(&plugs)? == Monitored::Good {
        return Ok(done(""));
    }
    if table.has(Takes::Plug) {
        match switch.device.list() {
            Err(e) if e.kind() == ErrorKind::Unsupported => {}
            other => {
                other?;
                return Ok(done(""));
            }
        }
    }
    // Without list and plug the login itself is what could be checked.
    if !table.has(Takes::NoStatus) && !plugs.is_empty() {
        switch.states()?;
    }
    Ok(done(""))
}
