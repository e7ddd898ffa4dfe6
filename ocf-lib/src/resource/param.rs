//! A resource agent's parameters: declared once, everything else derived.
//!
//! [`params!`](crate::params) takes the one declaration and makes of it the typed struct that the agent
//! reads, the validation, and the rows from which metadata, usage and man page are written. A field
//! that nothing reads does not compile (`deny(dead_code)`).

use crate::env::Env;
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// The `type` attribute of `<content>` in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    String,
    Integer,
    Boolean,
    /// One of a closed list. OCF 1.0 has no such type: it is written as a string there.
    Select(&'static [&'static str]),
}

/// A type that a parameter can have.
pub trait FromParam: Sized {
    const CONTENT: Content;
    /// True for values that must never be shown.
    const SECRET: bool = false;

    /// Parses the text; the error completes the sentence `parameter NAME: ...`.
    fn from_param(text: &str) -> Result<Self, String>;

    /// The value of a parameter that is not set and has no default; `None` when there is no such value.
    fn when_unset() -> Option<Self> {
        None
    }
}

/// Optional: unset and empty are the same.
impl<T: FromParam> FromParam for Option<T> {
    const CONTENT: Content = T::CONTENT;
    const SECRET: bool = T::SECRET;

    fn from_param(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::from_param(text).map(Some) }
    }

    fn when_unset() -> Option<Self> {
        Some(None)
    }
}

impl FromParam for String {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// The words of the OCF library: a closed list is true, anything else is false, as upstream.
impl FromParam for bool {
    const CONTENT: Content = Content::Boolean;

    fn from_param(text: &str) -> Result<Self, String> {
        Ok(crate::env::is_true(text))
    }
}

macro_rules! integer {
    ($($t:ty: $what:literal),*) => {$(
        impl FromParam for $t {
            const CONTENT: Content = Content::Integer;

            fn from_param(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!(concat!("'{}' is not ", $what), text))
            }
        }
    )*};
}

integer!(u8: "a whole number from 0 to 255", u16: "a whole number from 0 to 65535", u32: "a whole number of 0 or more",
    u64: "a whole number of 0 or more", i64: "a whole number",
    std::num::NonZeroU32: "a whole number greater than 0");

/// Seconds, with or without a fraction: `30`, `0.5`.
impl FromParam for Duration {
    const CONTENT: Content = Content::Integer;

    fn from_param(text: &str) -> Result<Self, String> {
        // Digits alone: the number's own parser would take an exponent, infinity and signs too.
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let seconds = plain.then(|| text.parse().ok()).flatten();
        seconds
            .and_then(|seconds: f64| Self::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("'{text}' is not a number of seconds"))
    }
}

/// A file or directory, by absolute path: an agent has no working directory that means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(pub PathBuf);

impl FromParam for AbsolutePath {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(Self(path)) } else { Err(format!("'{text}' is not an absolute path")) }
    }
}

#[allow(clippy::struct_excessive_bools, reason = "independent yes/no columns of one row")]
/// The row of one parameter. Build it with [`param`] and the methods below.
#[derive(Clone, Copy)]
pub struct Param {
    pub name: &'static str,
    pub short: &'static str,
    pub long: &'static str,
    pub content: Content,
    pub default: Option<DefaultValue>,
    /// Printed in the metadata though nothing is filled in: the agent finds the value itself.
    pub required: bool,
    pub unique_group: Option<&'static str>,
    pub reloadable: bool,
    pub aliases: &'static [&'static str],
    pub secret: bool,
    pub deprecated: bool,
}

/// Where a default comes from.
#[derive(Clone, Copy)]
pub enum DefaultValue {
    Text(&'static str),
    /// Depends on the call (a state file named after the instance); the metadata shows it for no instance.
    Computed(fn(&Env) -> String),
}

impl DefaultValue {
    pub fn text(self, env: &Env) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Computed(make) => make(env),
        }
    }
}

/// Starts the declaration of the parameter `name`.
pub const fn param(name: &'static str) -> Param {
    Param {
        name,
        short: "",
        long: "",
        content: Content::String,
        default: None,
        required: false,
        unique_group: None,
        reloadable: false,
        aliases: &[],
        secret: false,
        deprecated: false,
    }
}

impl Param {
    /// One line, no full stop.
    #[must_use]
    pub const fn short(mut self, text: &'static str) -> Self {
        self.short = text;
        self
    }

    #[must_use]
    pub const fn long(mut self, text: &'static str) -> Self {
        self.long = text;
        self
    }

    /// The value when the parameter is not set. A set but empty one is not replaced by it, as upstream.
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(DefaultValue::Text(text));
        self
    }

    #[must_use]
    pub const fn default_from(mut self, make: fn(&Env) -> String) -> Self {
        self.default = Some(DefaultValue::Computed(make));
        self
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Two resources of this type may not have the same values of all parameters of a group.
    #[must_use]
    pub const fn unique(mut self, group: &'static str) -> Self {
        self.unique_group = Some(group);
        self
    }

    /// A change takes effect by `reload-agent`, without a restart.
    #[must_use]
    pub const fn reloadable(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// Other names under which the value is accepted, in order; not in the metadata.
    #[must_use]
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Accepted and explained, no longer recommended.
    #[must_use]
    pub const fn deprecated(mut self) -> Self {
        self.deprecated = true;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn typed<T: FromParam>(mut self) -> Self {
        self.content = T::CONTENT;
        self.secret = T::SECRET;
        self
    }
}

/// A parameter whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub parameter: &'static str,
    /// Completes `parameter NAME: ...`; the value is not repeated when it is a secret.
    pub text: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "parameter {}: {}", self.parameter, self.text)
    }
}

/// Reads typed values out of an environment of `OCF_RESKEY_*`, collecting every problem.
pub struct Reader<'a> {
    env: &'a Env,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a Env) -> Self {
        Self { env, problems: Vec::new() }
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The value of one parameter. A bad value is noted as a problem and answered with what an unset
    /// parameter would give, so that `stop` and probes can go on; `None` when there is nothing to go on with.
    pub fn field<T: FromParam>(&mut self, param: &Param) -> Option<T> {
        let fallback = || match param.default {
            Some(default) => T::from_param(&default.text(self.env)).ok(),
            None => T::when_unset(),
        };
        // An alias speaks up when the name itself is not set or empty.
        let mut names =
            std::iter::once(&param.name).chain(param.aliases).map(|name| format!("OCF_RESKEY_{name}"));
        let first = names.next().filter(|name| self.env.is_set(name));
        let filled = |name: &String| self.env.get_os(name).is_some_and(|value| !value.is_empty());
        let name = if first.as_ref().is_some_and(filled) { first } else { names.find(filled).or(first) };
        let parsed = match name.as_deref().and_then(|name| self.env.get_os(name)) {
            None => match fallback() {
                Some(value) => return Some(value),
                None => Err("must be set".to_owned()),
            },
            Some(raw) => match raw.to_str() {
                None => Err("its value is not valid UTF-8".to_owned()),
                Some("") if param.required => Err("must be set".to_owned()),
                Some(text) => T::from_param(text),
            },
        };
        match parsed {
            Ok(value) => Some(value),
            Err(text) => {
                let text = if param.secret { "its value cannot be used".to_owned() } else { text };
                let value = fallback();
                self.problems.push(Problem { parameter: param.name, text });
                value
            }
        }
    }
}

/// All parameters of an agent. Implemented by [`params!`](crate::params).
pub trait ParamSet: Sized {
    const PARAMS: &'static [Param];

    /// Every field is read even when an earlier one is bad. `None`: what identifies the resource is missing.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

#[doc(hidden)]
pub use ocf_lib_macros::as_if_written_here;

impl FromParam for Secret {
    const CONTENT: Content = Content::String;
    const SECRET: bool = true;

    fn from_param(text: &str) -> Result<Self, String> {
        Ok(Self::new(text.as_bytes().to_vec()))
    }
}

/// Declares an agent's parameters:
///
/// ```
/// mod m {
///     ocf_lib::params! {
///         /// What the agent gets.
///         pub struct Params {
///             state: String => ocf_lib::resource::param::param("state").unique("state").short("State file"),
///             count: Option<u32> => ocf_lib::resource::param::param("count").short("How many"),
///         }
///     }
///     pub fn use_them(p: &Params) -> (&str, Option<u32>) { (&p.state, p.count) }
/// }
/// fn main() { let _ = m::use_them; }
/// ```
///
/// A declared parameter that nothing reads (here `count`) does not compile:
///
/// ```compile_fail
/// mod m {
///     ocf_lib::params! {
///         /// What the agent gets.
///         pub struct Params {
///             state: String => ocf_lib::resource::param::param("state").unique("state").short("State file"),
///             count: Option<u32> => ocf_lib::resource::param::param("count").short("How many"),
///         }
///     }
///     pub fn use_them(p: &Params) -> &str { &p.state }
/// }
/// fn main() { let _ = m::use_them; }
/// ```
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $( $(#[$fmeta:meta])* $fvis:vis $field:ident : $ty:ty => $row:expr ),* $(,)?
    }) => {
        $crate::resource::param::as_if_written_here! {
            $(#[$meta])*
            #[deny(dead_code)]
            $vis struct $name { $( $(#[$fmeta])* $fvis $field: $ty ),* }
        }

        impl $crate::resource::param::ParamSet for $name {
            const PARAMS: &'static [$crate::resource::param::Param] = &[ $( $row.typed::<$ty>() ),* ];

            fn read(reader: &mut $crate::resource::param::Reader<'_>) -> ::std::option::Option<Self> {
                $( let $field = reader.field::<$ty>(&const { $row.typed::<$ty>() }); )*
                ::std::option::Option::Some(Self { $( $field: $field? ),* })
            }
        }
    };
}

/// A parameter that is one of a closed list of words: `choices! { enum Mode { Fast => "fast", Safe => "safe" } }`.
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// The word that means this value.
            #[allow(dead_code)]
            $vis const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::resource::param::FromParam for $name {
            const CONTENT: $crate::resource::param::Content =
                $crate::resource::param::Content::Select(&[$($word),*]);

            fn from_param(text: &str) -> ::std::result::Result<Self, ::std::string::String> {
                match text {
                    $($word => ::std::result::Result::Ok(Self::$variant),)*
                    _ => ::std::result::Result::Err(::std::format!(
                        ::std::concat!("'{}' is none of" $(, " ", $word)*), text
                    )),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::choices! {
        enum Mode { Fast => "fast", Safe => "safe" }
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        assert_eq!(Mode::from_param("safe"), Ok(Mode::Safe));
        assert_eq!(Mode::from_param("Safe").unwrap_err(), "'Safe' is none of fast safe");
        assert_eq!((Mode::Fast.word(), Mode::CONTENT), ("fast", Content::Select(&["fast", "safe"])));
    }

    crate::params! {
        struct P {
            ip: String => param("ip").required(),
            count: u32 => param("count").default("5"),
            nic: Option<String> => param("nic").aliases(&["dev"]),
            wanted: bool => param("wanted").default("true"),
            pass: Option<crate::secret::Secret> => param("pass"),
        }
    }

    fn read(pairs: &[(&str, &str)]) -> (Option<P>, Vec<String>) {
        let env = Env::from_pairs(pairs.iter().map(|(k, v)| (format!("OCF_RESKEY_{k}"), (*v).to_owned())));
        let mut reader = Reader::new(&env);
        let params = P::read(&mut reader);
        (params, reader.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_aliases_and_empties() {
        let (p, problems) = read(&[("ip", "1"), ("dev", "eth0"), ("wanted", "")]);
        let p = p.unwrap();
        assert_eq!((p.ip.as_str(), p.count, p.nic.as_deref(), p.wanted), ("1", 5, Some("eth0"), false));
        assert!(p.pass.is_none());
        assert!(problems.is_empty());
    }

    #[test]
    fn every_problem_is_told_and_the_default_stands_in() {
        let (p, problems) = read(&[("count", "many")]);
        assert!(p.is_none());
        assert_eq!(
            problems,
            ["parameter ip: must be set", "parameter count: 'many' is not a whole number of 0 or more"]
        );
        let (p, problems) = read(&[("ip", "1"), ("count", "-1")]);
        assert_eq!((p.unwrap().count, problems.len()), (5, 1));
    }

    #[test]
    fn booleans_are_the_closed_list_of_words() {
        for (word, expected) in
            [("ja", true), ("True", true), ("Yes", false), ("y", false), ("enabled", false)]
        {
            assert_eq!(bool::from_param(word), Ok(expected), "{word}");
        }
    }

    #[test]
    fn invalid_utf8_is_a_problem_not_a_panic() {
        use std::os::unix::ffi::OsStringExt;
        let env = Env::from_pairs([("OCF_RESKEY_ip", std::ffi::OsString::from_vec(vec![0xff]))]);
        let mut reader = Reader::new(&env);
        assert!(P::read(&mut reader).is_none());
        assert_eq!(reader.into_problems()[0].text, "its value is not valid UTF-8");
    }
}
