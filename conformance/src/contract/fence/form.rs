//! What is filled into a fence agent's parameters when nobody gave any, and how it is handed over.
//!
//! The device is one that answers nothing: port 9 of the loopback address, where a trial's host has no one listening.

use crate::call::{Answer, Call};
use crate::case::{Parameters, Stop, Trial};
use crate::document::Node;

/// The password that no one may ever read.
pub const SECRET: &str = "wHitsTabLe7kept";

/// Name of a `<parameter>`.
pub fn name(parameter: &Node) -> &str {
    parameter.attribute("name").unwrap_or_default()
}

pub fn is_deprecated(parameter: &Node) -> bool {
    parameter.attribute("deprecated") == Some("1")
}

pub fn declares(trial: &Trial<'_>, wanted: &str) -> bool {
    trial.subject.metadata.parameters().iter().any(|parameter| name(parameter) == wanted)
}

/// The old name that this parameter replaces.
pub fn old_name(parameter: &Node) -> Option<&str> {
    parameter.attribute("obsoletes")
}

/// Parameters that a call can be made with: what was given with `--param`, and for the rest a plausible value for all
/// that the metadata requires, and short timeouts.
pub fn filled(trial: &Trial<'_>) -> Parameters {
    let given = trial.ways.first().cloned().unwrap_or_default();
    let parameters = trial.subject.metadata.parameters();
    let by_address = declares(trial, "port_as_ip");
    let mut values = Parameters::new();
    for parameter in parameters.iter().filter(|parameter| !is_deprecated(parameter)) {
        let name = name(parameter);
        let is_given =
            given.iter().any(|(other, _)| other == name || Some(other.as_str()) == old_name(parameter));
        if name == "action" || is_given || by_address && matches!(name, "plug" | "port") {
            continue;
        }
        let value = match name {
            "ip" | "ipaddr" => Some("127.0.0.1"),
            "ipport" => Some("9"),
            "username" | "login" => Some("judge"),
            "password" | "passwd" => Some(SECRET),
            "plug" | "port" => Some("1"),
            "login_timeout" | "shell_timeout" | "power_timeout" | "timeout" => Some("2"),
            _ if parameter.attribute("required") == Some("1") => Some(plausible(parameter)),
            _ => None,
        };
        values.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    values.extend(given);
    values
}

/// A value of the declared type.
pub fn plausible(parameter: &Node) -> &str {
    let content = parameter.first("content");
    let option =
        content.and_then(|content| content.first("option")).and_then(|option| option.attribute("value"));
    match parameter.content_type() {
        Some("boolean") => "1",
        Some("integer" | "second") => "7",
        Some("select") => option.unwrap_or("judge"),
        _ => "judge",
    }
}

/// The same with another value for one name.
pub fn with(values: &Parameters, name: &str, value: &str) -> Parameters {
    let mut values: Parameters = values.iter().filter(|(other, _)| other != name).cloned().collect();
    values.push((name.to_owned(), value.to_owned()));
    values
}

/// Lines of standard input.
pub fn lines(values: &Parameters, action: &str) -> String {
    values.iter().fold(format!("action={action}\n"), |text, (name, value)| text + name + "=" + value + "\n")
}

/// By standard input, as every manager does it.
pub fn ask(trial: &Trial<'_>, values: &Parameters, action: &str) -> Result<Answer, Stop> {
    trial.run(&trial.subject.fencer(&lines(values, action)))
}

/// The command line for these values, from the metadata's own words. `None`: a value has no word for it.
pub fn arguments(trial: &Trial<'_>, values: &Parameters, action: &str) -> Option<Call> {
    let mut call = trial.subject.fencer("");
    let action = ("action".to_owned(), action.to_owned());
    for (name, value) in values.iter().chain(std::iter::once(&action)) {
        let parameters = trial.subject.metadata.parameters();
        let parameter = parameters.iter().find(|parameter| self::name(parameter) == name)?;
        let mixed = parameter.first("getopt")?.attribute("mixed")?;
        let word = |word: &str| word.split(['=', ' ', '[', '<']).next().unwrap_or_default().to_owned();
        let words: Vec<String> = mixed.split(',').map(|part| word(part.trim())).collect();
        let word = words.iter().find(|word| word.starts_with("--")).or(words.first())?;
        call = match (parameter.content_type(), word.starts_with("--")) {
            (Some("boolean"), _) if value == "1" => call.arg(word.as_str()),
            (Some("boolean"), _) => call,
            (_, true) => call.arg(format!("{word}={value}")),
            (_, false) => call.arg(word.as_str()).arg(value.as_str()),
        };
    }
    Some(call)
}

/// Its complaints without the time that stands before each.
pub fn said(answer: &Answer) -> Vec<&str> {
    let text =
        |line: &'_ str| line.starts_with(|c: char| c.is_ascii_digit()).then(|| line.find(": ")).flatten();
    let lines = answer.err.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| text(line).and_then(|at| line.get(at + 2..)).unwrap_or(line)).collect()
}

/// Words of a program that lost control of itself.
pub fn crash(answer: &Answer) -> Option<&'static str> {
    const WORDS: [&str; 5] = [
        "Traceback (most recent call last)",
        "panicked at",
        "Segmentation fault",
        "syntax error near",
        "Can't locate object method",
    ];
    WORDS.into_iter().find(|words| answer.err.contains(words) || answer.out.contains(words))
}

/// It ended by itself with 0, 1 or (status of what is off) 2, and not in a crash. Noted otherwise.
pub fn expect_an_end(trial: &mut Trial<'_>, answer: &Answer, doing: &str) {
    if let Some(words) = crash(answer) {
        trial.find(format!("{doing}: ends in a crash (\"{words}\") instead of a message"), Some(answer));
    } else {
        trial.expect_code(answer, &[0, 1, 2], doing);
    }
}

/// The answer to `validate-all`; the case ends where there is none.
pub fn validated(trial: &Trial<'_>, values: &Parameters) -> Result<Answer, Stop> {
    if trial.subject.has_action("validate-all") {
        ask(trial, values, "validate-all")
    } else {
        Err(Stop::DoesNotApply("it declares no validate-all".to_owned()))
    }
}

/// The answer to `validate-all` that takes the values; the case ends where they are refused.
pub fn accepted(trial: &Trial<'_>, values: &Parameters) -> Result<Answer, Stop> {
    let answer = validated(trial, values)?;
    if answer.is(0) {
        return Ok(answer);
    }
    let last = said(&answer).last().copied().unwrap_or_default().to_owned();
    Err(Stop::DoesNotApply(format!("it needs parameters that only --param can give: {last}")))
}
