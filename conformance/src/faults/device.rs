//! How a fence agent is told about the device, and how long its options let it take.

use crate::case::Parameters;
use crate::subject::Subject;
use std::net::SocketAddr;
use std::time::Duration;

/// Account that every device here has.
pub const USER: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "s3cret1";

/// What a loaded machine and the start of an interpreter may take beyond the sum.
pub const MARGIN: Duration = Duration::from_millis(1500);

pub fn is_ipmi(subject: &Subject) -> bool {
    declares(subject, "lanplus")
}

fn declares(subject: &Subject, name: &str) -> bool {
    subject.metadata.parameters().iter().any(|parameter| parameter.attribute("name") == Some(name))
}

/// Seconds, small so that a run with every fault ends soon.
const TIMES: [(&str, &str); 6] = [
    ("login_timeout", "2"),
    ("shell_timeout", "1"),
    ("power_timeout", "2"),
    ("power_wait", "0"),
    ("retry_on", "1"),
    ("stonith_status_sleep", "0"),
];

/// The options as lines of standard input; `more` wins.
pub fn lines(subject: &Subject, at: SocketAddr, action: &str, more: &Parameters) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut put = |names: &[&str], value: &str| {
        if let Some(name) = names.iter().find(|name| declares(subject, name)) {
            all.push(((*name).to_owned(), value.to_owned()));
        }
    };
    put(&["ip", "ipaddr"], &at.ip().to_string());
    put(&["ipport"], &at.port().to_string());
    put(&["username", "login"], USER);
    put(&["password", "passwd"], PASSWORD);
    for (name, value) in TIMES {
        put(&[name], value);
    }
    let plug = subject.metadata.parameters().into_iter().find(|parameter| {
        matches!(parameter.attribute("name"), Some("plug" | "port"))
            && parameter.attribute("required") == Some("1")
    });
    if plug.is_some() {
        put(&["plug", "port"], "1");
    }
    for (name, value) in more {
        all.retain(|(known, _)| known != name);
        all.push((name.clone(), value.clone()));
    }
    all.retain(|(name, _)| name != "action");
    let mut lines = format!("action={action}\n");
    for (name, value) in all {
        lines.extend([name.as_str(), "=", value.as_str(), "\n"]);
    }
    lines
}

/// The end of a run that its options allow (fence agent API, "timeouts"): the login, a status before and after, and for
/// each change of power the request and, for every second of `power_timeout`, one more status and one more pause.
pub fn longest(subject: &Subject, action: &str, more: &Parameters) -> Duration {
    let seconds = |name: &str, fallback: f64| {
        let own = more.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let small = TIMES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let declared = || {
            let parameters = subject.metadata.parameters().into_iter();
            let mut named = parameters.filter(|parameter| parameter.attribute("name") == Some(name));
            named.next()?.first("content")?.attribute("default").map(str::to_owned)
        };
        let told = own.or_else(|| small.filter(|_| declares(subject, name))).or_else(declared);
        told.and_then(|text| text.trim_end_matches('s').parse::<f64>().ok()).unwrap_or(fallback)
    };
    let shell = seconds("shell_timeout", 3.0);
    let again = seconds("retry_on", 1.0);
    let changes = match action {
        "off" => 1.0,
        "on" => 1.0 + again,
        "reboot" | "cycle" => 2.0 + again,
        _ => 0.0,
    };
    let power = seconds("power_timeout", 20.0);
    let change = shell
        + seconds("power_wait", 0.0)
        + power * (shell + seconds("stonith_status_sleep", 1.0).min(1.0))
        + shell;
    let whole = seconds("delay", 0.0) + seconds("login_timeout", 5.0) + 2.0 * shell + changes * change;
    Duration::from_secs_f64(whole.clamp(1.0, 3600.0))
}
