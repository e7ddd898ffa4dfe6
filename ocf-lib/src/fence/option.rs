//! One option of a fence agent: a row from which input, validation, metadata, usage and man page derive.

use crate::secret::Secret;
use std::time::Duration;

/// What an option's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Present or absent on the command line, a boolean on stdin.
    Flag,
    /// Any text.
    Text,
    /// A number without sign or fraction.
    Integer,
    /// A whole number of seconds.
    Second,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

/// The description of one option. Build it with [`option`].
#[allow(clippy::struct_excessive_bools, reason = "a row of a table: each is a fact of its own")]
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// The name that was used on stdin first, and under which the agent's code knows the option.
    pub key: &'static str,
    /// The long option, without the two dashes.
    pub long: &'static str,
    pub short: Option<char>,
    /// What stands for the value in usage and metadata: `[ip]`.
    pub argument: Option<&'static str>,
    pub kind: Kind,
    pub default: Option<&'static str>,
    pub required: bool,
    /// Sort key of metadata and usage.
    pub order: u16,
    pub help: &'static str,
    /// The value is a password or key: masked wherever it might appear.
    pub secret: bool,
    /// Accepted, but neither in metadata nor in usage.
    pub hidden: bool,
    /// Metadata says `string` though the value is checked as a number, because upstream's does.
    pub shown_as_text: bool,
}

/// A text option called `key` on stdin and `--key` on the command line.
pub const fn option(key: &'static str) -> OptionDef {
    OptionDef {
        key,
        long: key,
        short: None,
        argument: None,
        kind: Kind::Text,
        default: None,
        required: false,
        order: 1,
        help: "",
        secret: false,
        hidden: false,
        shown_as_text: false,
    }
}

impl OptionDef {
    /// The long option. When it differs from the key (dashes aside) both names are in the metadata.
    #[must_use]
    pub const fn long(mut self, long: &'static str) -> Self {
        self.long = long;
        self
    }

    #[must_use]
    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// What stands for the value, brackets included: `[key]`.
    #[must_use]
    pub const fn argument(mut self, argument: &'static str) -> Self {
        self.argument = Some(argument);
        self
    }

    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    #[must_use]
    pub const fn order(mut self, order: u16) -> Self {
        self.order = order;
        self
    }

    #[must_use]
    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    #[must_use]
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[must_use]
    pub const fn shown_as_text(mut self) -> Self {
        self.shown_as_text = true;
        self
    }

    /// What [`fence_options!`](crate::fence_options) learns from the type of the field.
    #[must_use]
    pub const fn typed(mut self, kind: Kind, secret: bool) -> Self {
        self.kind = kind;
        self.secret = self.secret || secret;
        self
    }

    /// The long option as a parameter name: underscores for dashes.
    pub fn name(&self) -> String {
        self.long.replace('-', "_")
    }

    /// True when `key` is an older spelling that the metadata lists as deprecated.
    pub fn has_old_name(&self) -> bool {
        self.key != self.name()
    }

    /// `-a, --ip=[ip]`: the syntax as the metadata shows it.
    pub fn syntax(&self) -> String {
        let mut out = String::new();
        if let Some(short) = self.short {
            out.push('-');
            out.push(short);
            out.push_str(", ");
        }
        out.push_str("--");
        out.push_str(self.long);
        if let Some(argument) = self.argument {
            out.push('=');
            out.push_str(argument);
        }
        out
    }

    /// True when a line of standard input that begins with `name=` means this option: the key as it
    /// is spelled, or the long name with any mixture of dashes and underscores.
    pub fn answers_to(&self, name: &str) -> bool {
        name == self.key || name.replace('-', "_") == self.name()
    }
}

/// A change that one agent makes to a common option. Build it with [`adjust`].
#[derive(Clone, Copy, Debug)]
pub struct Adjust {
    pub key: &'static str,
    default: Option<&'static str>,
    required: Option<bool>,
    help: Option<&'static str>,
    argument: Option<&'static str>,
    hidden: bool,
}

/// The beginning of an [`Adjust`] for the common option `key`.
pub const fn adjust(key: &'static str) -> Adjust {
    Adjust { key, default: None, required: None, help: None, argument: None, hidden: false }
}

impl Adjust {
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    #[must_use]
    pub const fn required(mut self, required: bool) -> Self {
        self.required = Some(required);
        self
    }

    #[must_use]
    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    #[must_use]
    pub const fn argument(mut self, argument: &'static str) -> Self {
        self.argument = Some(argument);
        self
    }

    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(super) const fn sets_default(&self) -> bool {
        self.default.is_some()
    }

    pub(super) fn apply(&self, def: &mut OptionDef) {
        def.default = self.default.or(def.default);
        def.required = self.required.unwrap_or(def.required);
        def.help = self.help.unwrap_or(def.help);
        def.argument = self.argument.or(def.argument);
        def.hidden |= self.hidden;
    }
}

/// A value that one word of input becomes.
pub trait FromText: Sized {
    const KIND: Kind;
    const SECRET: bool = false;

    /// The value, or why the word is not one: a phrase that completes "is not valid: ".
    fn from_text(text: &[u8]) -> Result<Self, String>;
}

/// The type of a field of an options struct: `T` (has a default or is required) or `Option<T>`.
pub trait Field: Sized {
    const KIND: Kind;
    const SECRET: bool;

    fn from_value(value: Option<&[u8]>) -> Result<Self, String>;
}

impl<T: FromText> Field for Option<T> {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;

    fn from_value(value: Option<&[u8]>) -> Result<Self, String> {
        value.map(T::from_text).transpose()
    }
}

impl<T: FromText> Field for T {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;

    fn from_value(value: Option<&[u8]>) -> Result<Self, String> {
        match (value, T::KIND) {
            (Some(value), _) => T::from_text(value),
            (None, Kind::Flag) => T::from_text(b"0"),
            (None, Kind::Text | Kind::Integer | Kind::Second | Kind::Choice(_)) => {
                Err("it is not set".into())
            }
        }
    }
}

impl FromText for bool {
    const KIND: Kind = Kind::Flag;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        boolean(text).ok_or_else(|| "say 1 or 0".into())
    }
}

impl FromText for String {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        Ok(Self::from_utf8_lossy(text).into_owned())
    }
}

impl FromText for Secret {
    const KIND: Kind = Kind::Text;
    const SECRET: bool = true;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        Ok(Self::new(text.to_vec()))
    }
}

impl FromText for Duration {
    const KIND: Kind = Kind::Second;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        whole_number(text).map(Self::from_secs).ok_or_else(|| "say a whole number of seconds".into())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl FromText for $number {
            const KIND: Kind = Kind::Integer;

            fn from_text(text: &[u8]) -> Result<Self, String> {
                whole_number(text)
                    .and_then(|n| Self::try_from(n).ok())
                    .ok_or_else(|| format!("say a number from 0 to {}", Self::MAX))
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64);

/// The booleans of standard input: `1 yes on true` and `0 no off false` in any case.
pub fn boolean(text: &[u8]) -> Option<bool> {
    let word = text.to_ascii_lowercase();
    match word.as_slice() {
        b"1" | b"yes" | b"on" | b"true" => Some(true),
        b"0" | b"no" | b"off" | b"false" => Some(false),
        _ => None,
    }
}

/// A number of decimal digits only; Python's `int()` also takes blanks around and a plus sign.
pub fn whole_number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The options of an agent beyond the common ones. [`fence_options!`](crate::fence_options) writes it.
pub trait OptionSet: Sized {
    const DEFS: &'static [OptionDef];

    /// All fields, or one complaint for each that is wrong.
    fn from_values(values: &super::values::Values) -> Result<Self, Vec<String>>;
}

/// Declares an agent's own options once: the typed field, its row in metadata and usage, its parsing.
///
/// A field that nothing reads does not compile.
///
/// ```
/// use ocf_lib::fence::prelude::*;
/// fence_options! {
///     /// What my device needs beyond address and login.
///     struct Options {
///         /// Outlet bank.
///         bank: Option<u8> => option("bank").argument("[number]").help("Bank of outlets"),
///     }
/// }
/// # fn main() { let _ = |o: Options| o.bank; }
/// ```
///
/// ```compile_fail
/// use ocf_lib::fence::prelude::*;
/// fence_options! {
///     struct Options {
///         forgotten: Option<u8> => option("forgotten").help("Nothing reads it"),
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! fence_options {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident : $ty:ty => $def:expr),* $(,)?
    }) => {
        $crate::resource::param::as_if_written_here! {
            $(#[$meta])*
            #[deny(dead_code)]
            $vis struct $name { $($(#[$field_meta])* $field: $ty),* }
        }

        impl $crate::fence::OptionSet for $name {
            const DEFS: &'static [$crate::fence::OptionDef] = &[$(
                $def.typed(
                    <$ty as $crate::fence::Field>::KIND,
                    <$ty as $crate::fence::Field>::SECRET,
                )
            ),*];

            fn from_values(
                values: &$crate::fence::Values,
            ) -> ::std::result::Result<Self, ::std::vec::Vec<::std::string::String>> {
                #[allow(unused_mut)]
                let mut complaints = ::std::vec::Vec::new();
                $(let $field = values.field::<$ty>(&$def, &mut complaints);)*
                let _ = values;
                match ($($field,)*) {
                    #[allow(unused_parens)]
                    ($(::std::option::Option::Some($field),)*) if complaints.is_empty() => {
                        ::std::result::Result::Ok(Self { $($field),* })
                    }
                    #[allow(unreachable_patterns)]
                    _ => ::std::result::Result::Err(complaints),
                }
            }
        }
    };
}

/// Declares an enum whose values are words of an option: `enum Auth { Md5 => "md5", ... }`.
#[macro_export]
macro_rules! fence_choices {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident => $word:literal),* $(,)?
    }) => {
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

        impl $crate::fence::FromText for $name {
            const KIND: $crate::fence::Kind = $crate::fence::Kind::Choice(&[$($word),*]);

            fn from_text(text: &[u8]) -> ::std::result::Result<Self, ::std::string::String> {
                $(if text.eq_ignore_ascii_case($word.as_bytes()) {
                    return ::std::result::Result::Ok(Self::$variant);
                })*
                ::std::result::Result::Err(
                    concat!("say one of" $(, " ", $word)*).into(),
                )
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_long_option() {
        let ip = option("ipaddr").long("ip").short('a').argument("[ip]");
        assert_eq!(ip.syntax(), "-a, --ip=[ip]");
        assert!(ip.has_old_name() && ip.answers_to("ip") && ip.answers_to("ipaddr"));
        let timeout = option("power_timeout").long("power-timeout");
        assert!(!timeout.has_old_name());
        assert!(timeout.answers_to("power-timeout") && timeout.answers_to("power_timeout"));
        let script = option("passwd_script").long("password-script");
        assert!(!script.answers_to("passwd-script") && script.answers_to("password_script"));
    }

    #[test]
    fn booleans_and_numbers_are_a_closed_set() {
        for (word, meant) in [("1", true), ("YES", true), ("oN", true), ("0", false), ("False", false)] {
            assert_eq!(boolean(word.as_bytes()), Some(meant), "{word}");
        }
        for word in ["", "2", "y", "enabled"] {
            assert_eq!(boolean(word.as_bytes()), None, "{word}");
        }
        for word in ["-1", "1.5", "2s", "", "+", "99999999999999999999999"] {
            assert_eq!(whole_number(word.as_bytes()), None, "{word}");
        }
        assert_eq!(whole_number(b" 20 "), Some(20));
    }

    crate::fence_choices! {
        enum Auth { Md5 => "md5", None => "none" }
    }

    #[test]
    fn choices_ignore_case() {
        assert_eq!(Auth::from_text(b"MD5"), Ok(Auth::Md5));
        assert_eq!(Auth::None.word(), "none");
        assert_eq!(Auth::from_text(b"x").unwrap_err(), "say one of md5 none");
    }
}
