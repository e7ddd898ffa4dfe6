//! `lvm.conf` as text in which single values are replaced: comments, blanks and order stay as they are.
//!
//! Grammar: lvm.conf(5). A file that is not understood as a whole is not edited.

use std::fmt;
use std::ops::Range;

/// A setting as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `devices/global_filter`
    pub path: String,
    /// From the name to the end of the value, in bytes.
    pub span: Range<usize>,
    /// Where the value begins.
    pub value: usize,
    /// The strings and numbers of the value, without quotes.
    pub values: Vec<String>,
    pub line: usize,
}

/// What is in a file.
#[derive(Debug, Default)]
pub struct Conf {
    pub settings: Vec<Setting>,
    /// Sections and where their content begins, behind the brace.
    sections: Vec<(String, usize)>,
}

/// Why a file is not understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }

    fn malformed<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Malformed> {
        Err(Malformed { line: self.line(at), what: what.into() })
    }

    /// The next token and where it begins.
    fn next(&mut self) -> Result<Option<(usize, Token)>, Malformed> {
        let rest = |at: usize| self.text.get(at..).unwrap_or_default();
        loop {
            let blank = rest(self.at).len() - rest(self.at).trim_start().len();
            self.at += blank;
            if !rest(self.at).starts_with('#') {
                break;
            }
            self.at += rest(self.at).find('\n').unwrap_or(rest(self.at).len());
        }
        let begin = self.at;
        let Some(first) = rest(begin).chars().next() else { return Ok(None) };
        match first {
            '{' | '}' | '[' | ']' | ',' | '=' => {
                self.at += 1;
                Ok(Some((begin, Token::Mark(first))))
            }
            '"' | '\'' => {
                let mut text = String::new();
                let mut letters = rest(begin + 1).char_indices();
                while let Some((offset, letter)) = letters.next() {
                    match letter {
                        '\\' if first == '"' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                        _ if letter == first => {
                            self.at = begin + 1 + offset + 1;
                            return Ok(Some((begin, Token::Text(text))));
                        }
                        _ => text.push(letter),
                    }
                }
                self.malformed(begin, "a quote is not closed")
            }
            _ => {
                let end = |c: char| c.is_whitespace() || "{}[],=#\"'".contains(c);
                let length = rest(begin).find(end).unwrap_or(rest(begin).len());
                self.at += length;
                Ok(Some((begin, Token::Word(rest(begin).get(..length).unwrap_or_default().to_owned()))))
            }
        }
    }
}

impl Conf {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut tokens = Tokens { text, at: 0 };
        let mut conf = Self::default();
        let mut open: Vec<String> = Vec::new();
        while let Some((begin, token)) = tokens.next()? {
            let name = match token {
                Token::Mark('}') if open.pop().is_some() => continue,
                Token::Word(name) | Token::Text(name) => name,
                Token::Mark(mark) => return tokens.malformed(begin, format!("'{mark}' is not expected")),
            };
            let mut path = open.clone();
            path.push(name);
            match tokens.next()? {
                Some((_, Token::Mark('{'))) => {
                    conf.sections.push((path.join("/"), tokens.at));
                    open = path;
                }
                Some((_, Token::Mark('='))) => {
                    let (value, values) = conf_value(&mut tokens, begin)?;
                    let (span, line) = (begin..tokens.at, tokens.line(begin));
                    conf.settings.push(Setting { path: path.join("/"), span, value, values, line });
                }
                _ => return tokens.malformed(begin, format!("'{}' has no value", path.join("/"))),
            }
        }
        if open.is_empty() { Ok(conf) } else { tokens.malformed(text.len(), "a section is not closed") }
    }

    /// The setting, if it is there. LVM takes one of two and warns; nobody knows which one is meant.
    pub fn setting(&self, path: &str) -> Result<Option<&Setting>, Malformed> {
        let mut found = self.settings.iter().filter(|setting| setting.path == path);
        let first = found.next();
        match found.next() {
            Some(second) => {
                let what = format!("{path} is set here and in line {}", first.map_or(0, |first| first.line));
                Err(Malformed { line: second.line, what })
            }
            None => Ok(first),
        }
    }

    /// `text` with the setting's value replaced, or with a line of its own and a comment above it.
    pub fn with(
        &self,
        text: &str,
        path: &str,
        values: &[String],
        comment: &str,
    ) -> Result<String, Malformed> {
        let value = render(values);
        if let Some(setting) = self.setting(path)? {
            return Ok(spliced(text, setting.value..setting.span.end, &value));
        }
        let (section, name) = path.split_once('/').unwrap_or(("", path));
        let lines = format!("\n\t# {comment}\n\t{name} = {value}");
        if let Some((_, inside)) = self.sections.iter().find(|(open, _)| open == section) {
            return Ok(spliced(text, *inside..*inside, &lines));
        }
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Ok(format!("{text}{gap}{section} {{{lines}\n}}\n"))
    }

    /// `text` without the setting's line, and without the comment above it if that is ours.
    pub fn without(&self, text: &str, path: &str, comment: &str) -> Result<String, Malformed> {
        let Some(setting) = self.setting(path)? else { return Ok(text.to_owned()) };
        let line_of = |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).unwrap_or(0);
        let mut begin = line_of(setting.span.start);
        let above = line_of(begin);
        if text.get(above..begin).is_some_and(|line| line.trim() == format!("# {comment}")) {
            begin = above;
        }
        Ok(spliced(text, begin..setting.span.end, ""))
    }
}

fn spliced(text: &str, span: Range<usize>, with: &str) -> String {
    let (before, after) = (text.get(..span.start), text.get(span.end..));
    format!("{}{with}{}", before.unwrap_or_default(), after.unwrap_or_default())
}

/// Where the value begins, and what is in it: one value, or an array of them.
fn conf_value(tokens: &mut Tokens<'_>, begin: usize) -> Result<(usize, Vec<String>), Malformed> {
    let no_value = |tokens: &Tokens<'_>| tokens.malformed(begin, "a value is expected behind '='");
    match tokens.next()? {
        Some((at, Token::Word(value) | Token::Text(value))) => Ok((at, vec![value])),
        Some((at, Token::Mark('['))) => {
            let mut values = Vec::new();
            loop {
                match tokens.next()? {
                    Some((_, Token::Mark(']'))) => return Ok((at, values)),
                    Some((_, Token::Mark(','))) => {}
                    Some((_, Token::Word(value) | Token::Text(value))) => values.push(value),
                    _ => return tokens.malformed(begin, "an array is not closed"),
                }
            }
        }
        _ => no_value(tokens),
    }
}

/// `[ "a|x|", "r|.*|" ]`
pub fn render(values: &[String]) -> String {
    let quoted = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    format!("[ {} ]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// A text that is not understood, without `rules` where [`render`] has put them in front of others or alone; `None`: they are not
/// there as one piece, or more than once.
pub fn without_prefix(text: &str, rules: &[String]) -> Option<String> {
    let whole = render(rules);
    let inner = whole.strip_prefix("[ ")?.strip_suffix(" ]")?;
    let (before, after) = text.split_once(inner)?;
    let after = after.strip_prefix(", ").unwrap_or(after);
    (!after.contains(inner)).then(|| format!("{before}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment { with = marks\nconfig {\n\tchecks = 1\n}\ndevices {\n\tdir = \"/dev\" # here\n\
        \tfilter = [ \"a|^/dev/md|\",\n\t\t\"r|\\\".*|\" ]\n\t# global_filter = [ \"a|.*|\" ]\n}\nshell/history_size = 100\n";

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_settings_in_sections_and_by_path() {
        let conf = Conf::parse(FILE).unwrap();
        let of =
            |path: &str| conf.setting(path).unwrap().map(|setting| (setting.line, setting.values.clone()));
        assert_eq!(of("devices/filter"), Some((7, strings(&["a|^/dev/md|", "r|\".*|"]))));
        assert_eq!(of("devices/dir"), Some((6, strings(&["/dev"]))));
        assert_eq!(of("shell/history_size"), Some((11, strings(&["100"]))));
        assert_eq!(of("devices/global_filter"), None, "a comment sets nothing");
    }

    #[test]
    fn a_value_is_replaced_and_nothing_else() {
        let conf = Conf::parse(FILE).unwrap();
        let values = strings(&["a|^/dev/drbd|", "a|^/dev/md|", "r|\".*|"]);
        let edited = conf.with(FILE, "devices/filter", &values, "ours").unwrap();
        let expected = FILE.replace(
            "[ \"a|^/dev/md|\",\n\t\t\"r|\\\".*|\" ]",
            "[ \"a|^/dev/drbd|\", \"a|^/dev/md|\", \"r|\\\".*|\" ]",
        );
        assert_eq!(edited, expected);
        assert_eq!(Conf::parse(&edited).unwrap().setting("devices/filter").unwrap().unwrap().values, values);
    }

    #[test]
    fn what_was_added_goes_without_a_trace() {
        let values = strings(&["r|.*|"]);
        for text in [FILE, "", "config { checks = 0 }", "devices {}\n"] {
            let edited =
                Conf::parse(text).unwrap().with(text, "devices/global_filter", &values, "ours").unwrap();
            let conf = Conf::parse(&edited).unwrap();
            assert_eq!(conf.setting("devices/global_filter").unwrap().unwrap().values, values, "{edited}");
            assert!(edited.contains("\t# ours\n\tglobal_filter = [ \"r|.*|\" ]"), "{edited}");
            let back = conf.without(&edited, "devices/global_filter", "ours").unwrap();
            assert_eq!(Conf::parse(&back).unwrap().setting("devices/global_filter"), Ok(None));
            if text.contains("devices") {
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_told_by_line() {
        for (text, line) in [
            ("devices {\n dir = \"/dev\n", 2),
            ("devices {\n", 2),
            ("}\n", 1),
            ("devices {\n filter = [ \"a\"\n}", 2),
            ("devices {\n filter\n}", 2),
            ("devices {\n filter = }\n", 2),
        ] {
            assert_eq!(Conf::parse(text).map(|_| ()).unwrap_err().line, line, "{text}");
        }
        let twice = "devices { filter = 1 }\ndevices/filter = 2\n";
        assert_eq!(Conf::parse(twice).unwrap().setting("devices/filter").unwrap_err().line, 2);
    }

    #[test]
    fn rules_leave_a_text_that_is_not_understood() {
        let rules = strings(&["a|^/dev/drbd|", "r|x|"]);
        let text = "devices {\n\tfilter = [ \"a|^/dev/drbd|\", \"r|x|\", \"r|y|\" ]\n";
        assert_eq!(without_prefix(text, &rules).unwrap(), "devices {\n\tfilter = [ \"r|y|\" ]\n");
        assert_eq!(without_prefix("devices {\n", &rules), None);
        assert_eq!(without_prefix(&text.repeat(2), &rules), None);
    }
}
