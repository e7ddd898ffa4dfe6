//! A line as words: separated by blanks, `"..."` for one with blanks (or none at all), with `\n`, `\r`, `\t`, `\"`, `\\`.

/// The words of a line. `Err`: a quote is not closed, or an escape is unknown.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                let meant = match letters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(same @ ('"' | '\\')) => same,
                    other => return Err(format!("unknown escape '\\{}'", other.unwrap_or(' '))),
                };
                word.get_or_insert_default().push(meant);
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn blanks_quotes_and_escapes() {
        assert_eq!(split("with a=b  c=\"d e\" f=\"\"").unwrap(), ["with", "a=b", "c=d e", "f="]);
        assert_eq!(split(r#"x "" "a\"b\n""#).unwrap(), ["x", "", "a\"b\n"]);
        assert!(split("a \"b").unwrap_err().contains("not closed"));
        assert!(split(r#""\q""#).unwrap_err().contains("escape"));
    }
}
