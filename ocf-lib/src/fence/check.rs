//! From input to a [`Call`]: every check, in upstream's order and words.

use super::action::Action;
use super::call::{Call, CallData, Method, Timing, Tls};
use super::common_options::{Takes, default_port};
use super::device::Plug;
use super::log::Log;
use super::option::{Kind, boolean, whole_number};
use super::spec::Table;
use super::values::{Given, Values};
use crate::cmd::{Cmd, Runner};
use crate::deadline::Deadline;
use crate::env::Env;
use crate::secret::Secret;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The line that follows every complaint about the input.
pub const SEE_USAGE: &str = "Please use '-h' for usage";

/// A password script may have to ask a vault over the network; upstream waits for ever.
const SCRIPT_TIME: Duration = Duration::from_secs(30);

/// Why there is no call.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The input is wrong: these lines, then [`SEE_USAGE`].
    Usage(Vec<String>),
    /// Something else failed: this line.
    Failed(String),
}

/// What the input asks for.
pub enum Asked {
    Version,
    Help,
    /// `metadata` or `manpage`.
    Documentation(Action),
    /// A call, with everything wrong about it; a call without faults may be carried out.
    Action(Box<Draft>),
}

/// Values and action, before the checks that need the host.
pub struct Draft {
    pub action: Action,
    pub values: Values,
    pub verbose_level: u64,
    given_port: bool,
}

/// Sets up the log and finds out what is asked. Unknown actions end here.
pub fn asked(table: &Table, given: &Given, log: &Log) -> Result<Asked, Stop> {
    let values = Values::new(table, given);
    for def in table.defs.iter().filter(|def| def.secret) {
        if let Some(secret) = values.get(def.key) {
            log.never_show(secret);
        }
    }
    if values.flag("version") {
        return Ok(Asked::Version);
    }
    if values.flag("help") {
        return Ok(Asked::Help);
    }
    let word = values.text("action").unwrap_or_default().to_lowercase();
    let action = Action::accepted(table, &word);
    if let Some(action) = action.filter(|action| action.is_documentation()) {
        return Ok(Asked::Documentation(action));
    }
    if values.flag("quiet") {
        log.be_quiet();
    }
    let verbose_level = verbosity(&values, given, log);
    if verbose_level > 0 {
        log.be_verbose();
    }
    for warning in &given.warnings {
        log.warning(warning);
    }
    let Some(action) = action else {
        return Err(Stop::Usage(vec![format!("Failed: Unrecognised action '{word}'")]));
    };
    Ok(Asked::Action(Box::new(Draft {
        action,
        values,
        verbose_level,
        given_port: given.last("ipport").is_some(),
    })))
}

/// `verbose_level`, else the number of `-v`, else 1 when verbose is set.
fn verbosity(values: &Values, given: &Given, log: &Log) -> u64 {
    let verbose = values.flag("verbose");
    match values.get("verbose_level").map(whole_number) {
        Some(Some(0)) if verbose => {
            log.warning("Parse error: Ignoring option 'verbose' because verbose_level is 0");
            0
        }
        Some(Some(level)) => level,
        Some(None) => {
            log.warning("Parse error: Ignoring option 'verbose_level': it must be a number from 0");
            u64::from(verbose)
        }
        None if verbose => given.verbosity.max(1),
        None => 0,
    }
}

impl Draft {
    /// Everything that is wrong with the options. Contacts nothing but the local file system.
    pub fn faults(&self, table: &Table) -> Vec<String> {
        let values = &self.values;
        let mut faults = Vec::new();
        let set = |key: &str| values.nonempty(key).is_some();
        if table.has(Takes::Login) && !table.has(Takes::NoLogin) && !set("login") {
            faults.push("Failed: You have to set login name".into());
        }
        if table.has(Takes::Ip) && self.address(table).is_none() {
            faults.push("Failed: You have to enter fence address".into());
        }
        let keyed = table.by_key("identity_file").is_some();
        let secret = values.get("passwd").is_some() || set("passwd_script");
        let demanded = table.has(Takes::Password) && !table.has(Takes::NoPassword);
        let by_key = keyed && set("identity_file");
        if demanded && !secret && !by_key {
            faults.push(
                if keyed {
                    "Failed: You have to enter password, password script or identity file"
                } else {
                    "Failed: You have to enter password or password script"
                }
                .into(),
            );
        }
        if let Some(file) = values.nonempty("identity_file").filter(|_| keyed) {
            if !values.flag("secure") {
                faults.push("Failed: You have to use identity file together with ssh connection (-x)".into());
            }
            if !Path::new(&file).is_file() {
                faults.push(format!("Failed: Identity file {file} does not exist"));
            }
        }
        let needs_plug = !matches!(self.action, Action::List | Action::ListStatus | Action::Monitor);
        if table.has(Takes::Plug) && !table.has(Takes::NoPort) && needs_plug && plugs(values).is_empty() {
            faults.push("Failed: You have to enter plug number or machine identification".into());
        }
        faults.extend(table.defs.iter().filter_map(|def| self.fault_of(def)));
        faults
    }

    /// A value that is not of its option's type.
    fn fault_of(&self, def: &super::option::OptionDef) -> Option<String> {
        let value = self.values.get(def.key)?;
        match def.kind {
            Kind::Flag | Kind::Text => None,
            // verbose_level has been warned about: no node stays unfenced for it.
            Kind::Integer if def.key == "verbose_level" => None,
            Kind::Integer => whole_number(value).is_none().then(|| {
                format!("Failed: The value you have entered for --{} is not a valid integer", def.long)
            }),
            Kind::Second => whole_number(value).is_none().then(|| {
                format!(
                    "Failed: The value you have entered for --{} is not a valid time in seconds",
                    def.long
                )
            }),
            Kind::Choice(words) => {
                let known = words.iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes()));
                let list: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
                (!known).then(|| {
                    format!(
                        "Failed: You have to enter a valid choice for --{} from the valid values: [{}]",
                        def.long,
                        list.join(", ")
                    )
                })
            }
        }
    }

    /// Address of the device; `plug` when `port_as_ip` says so.
    fn address(&self, table: &Table) -> Option<String> {
        if table.plug_is_address()
            && self.values.flag("port_as_ip")
            && let Some(plug) = self.values.nonempty("port")
        {
            return Some(plug);
        }
        self.values.nonempty("ipaddr")
    }

    /// The call itself: opens the debug file, runs the password scripts.
    pub fn into_call(
        mut self,
        table: &Table,
        env: &Env,
        runner: &dyn Runner,
        log: &Log,
    ) -> Result<Call, Stop> {
        self.values.set("ipaddr", self.address(table).unwrap_or_default().into_bytes());
        let values = &self.values;
        let checks_only = self.action == Action::ValidateAll;
        if let Some(path) = values.nonempty("debug").filter(|_| !checks_only) {
            log.open_debug_file(Path::new(&path))
                .map_err(|e| Stop::Failed(format!("Failed: Unable to open debug file {path}: {e}")))?;
        }
        let runner = Some(runner).filter(|_| !checks_only);
        let password = secret(values, "passwd", "passwd_script", runner, log)?;
        let snmp_priv_password = secret(values, "snmp_priv_passwd", "snmp_priv_passwd_script", runner, log)?;
        let tls = tls(values, log);
        let ipport = self.port(table, tls)?;
        // Pacemaker sends plug to every agent whose metadata has it.
        let plugs = if table.plug_is_address() { Vec::new() } else { plugs(values) };
        // An agent without plugs has one node, the only one; `list` is about none in particular.
        let about_none = matches!(self.action, Action::List | Action::ListStatus)
            || (table.has(Takes::Plug) && !table.has(Takes::NoPort));
        let plugs = if plugs.is_empty() && !about_none { vec![Plug::only()] } else { plugs };
        for plug in plugs.iter().filter(|p| p.name().contains([';', ':'])) {
            log.warning(format!(
                "plug '{}' contains ';' or ':', which separate entries of pcmk_host_map: check that map",
                plug.name()
            ));
        }
        let method = match values.text("method") {
            Some(word) if word.eq_ignore_ascii_case("cycle") => Method::Cycle,
            Some(_) | None => Method::OnOff,
        };
        Ok(Call(Arc::new(CallData {
            action: self.action,
            plugs,
            password,
            snmp_priv_password,
            ip: values.nonempty("ipaddr"),
            ipport,
            tls,
            method,
            timing: timing(values, env),
            verbose_level: self.verbose_level,
            json: values.text("output").is_some_and(|form| form.eq_ignore_ascii_case("json")),
            log: log.clone(),
            values: self.values,
        })))
    }

    /// Given, else the agent's own default, else what the kind of connection implies.
    fn port(&self, table: &Table, tls: Tls) -> Result<u16, Stop> {
        if table.by_key("ipport").is_none() {
            return Ok(0);
        }
        let implied =
            || default_port(table.spec.takes, self.values.flag("secure"), tls != Tls::Off).map(str::as_bytes);
        let value = if self.given_port || table.own_port { self.values.get("ipport") } else { implied() };
        match value.map(|v| (whole_number(v), v.is_empty())) {
            None | Some((_, true)) => Some(0),
            Some((Some(number), _)) => u16::try_from(number).ok(),
            Some((None, _)) => None,
        }
        .ok_or_else(|| {
            Stop::Usage(vec![
                "Failed: The value you have entered for --ipport is not a valid integer from 0 to 65535"
                    .into(),
            ])
        })
    }
}

fn plugs(values: &Values) -> Vec<Plug> {
    let Some(all) = values.nonempty("port") else {
        return Vec::new();
    };
    match values.nonempty("plug_separator") {
        // Not trimmed, as upstream: a name may begin or end with a blank.
        Some(separator) => {
            all.split(separator.as_str()).filter(|name| !name.is_empty()).map(Plug::named).collect()
        }
        None => vec![Plug::named(all)],
    }
}

/// The password in `key`, or the output of the script in `script_key`, which overrides it.
fn secret(
    values: &Values,
    key: &str,
    script_key: &str,
    runner: Option<&dyn Runner>,
    log: &Log,
) -> Result<Option<Secret>, Stop> {
    let (Some(script), Some(runner)) = (values.nonempty(script_key), runner) else {
        return Ok(values.get(key).map(|v| Secret::new(v.to_vec())));
    };
    // The administrator's own command line, whole; nothing is put into it.
    let cmd = Cmd::new("/bin/sh").args(["-c", &script]);
    let failed = |why: String| {
        Stop::Failed(format!("Failed: password script '{script}' {why}; nothing was sent to the device"))
    };
    let output = runner
        .run(&cmd, Deadline::after(SCRIPT_TIME))
        .map_err(|e| failed(format!("gave no password: {e}")))?;
    let mut bytes = output.stdout.clone();
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    log.never_show(&bytes);
    if output.code != Some(0) {
        // Only stderr: what it printed before it failed may be the password.
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return Err(failed(format!("{}{said}", output.how_it_ended())));
    }
    Ok(Some(Secret::new(bytes)))
}

fn tls(values: &Values, log: &Log) -> Tls {
    let (secure, insecure) = (values.flag("ssl_secure"), values.flag("ssl_insecure"));
    if secure && insecure {
        log.warning("both ssl_secure and ssl_insecure are set: the certificate is verified");
    }
    if secure {
        Tls::Verified
    } else if insecure {
        Tls::Insecure
    } else if values.flag("ssl") {
        Tls::Verified
    } else {
        Tls::Off
    }
}

fn timing(values: &Values, env: &Env) -> Timing {
    let under_pacemaker = env.get("PCMK_service") == Some("pacemaker-fenced");
    let unlimited = match values.get("disable_timeout") {
        Some(word) => boolean(word) == Some(true),
        None => under_pacemaker,
    };
    let limit = |key: &str| {
        let seconds = values.number(key);
        (!unlimited && seconds > 0).then(|| Duration::from_secs(seconds))
    };
    Timing {
        login: limit("login_timeout"),
        shell: limit("shell_timeout"),
        power: limit("power_timeout"),
        power_wait: Duration::from_secs(values.number("power_wait")),
        status_sleep: Duration::from_secs(values.number("stonith_status_sleep")),
        delay: Duration::from_secs(values.number("delay")),
        retry_on: values.number("retry_on"),
    }
}
