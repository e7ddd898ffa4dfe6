//! `session_url`: one host of the pool or several, in the order in which they are tried.

use super::error::Error;

/// Where one host is spoken to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// https.
    pub secure: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// `/` or what the administrator wrote; `/jsonrpc` is JSON-RPC, all else XML-RPC.
    pub path: String,
}

impl Url {
    /// JSON-RPC instead of XML-RPC.
    pub fn is_json(&self) -> bool {
        self.path.split('?').next().unwrap_or_default().trim_end_matches('/') == "/jsonrpc"
    }

    /// The same at another host, which is what `HOST_IS_SLAVE` asks for: it names an address and nothing else.
    ///
    /// # Errors
    /// When that is no address: a host could else make us send the password anywhere.
    pub fn at(&self, host: &str) -> Result<Self, Error> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if !is_host(bare) {
            return Err(Error::protocol("the host names a pool master whose address is none"));
        }
        Ok(Self { host: bare.to_owned(), ..self.clone() })
    }
}

/// All hosts, separated by blanks or commas. A host without a scheme is meant with https.
///
/// # Errors
/// What is wrong with the first one that is wrong; a password that somebody wrote into it is not repeated.
pub fn parse(text: &str) -> Result<Vec<Url>, Error> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let urls = words.map(one).collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err(Error::Settings(
            "You have to enter session_url, the address of a host of the pool".into(),
        ));
    }
    Ok(urls)
}

fn one(word: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Error::Settings(format!("session_url '{}' is not usable: {why}", shown(word)));
    let (secure, rest) = match word.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some(_) => return Err(wrong("it must begin with https:// or http://")),
        None => (true, word),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if authority.contains('@') {
        return Err(wrong("name and password belong into username and password"));
    }
    // An IPv6 address has brackets, so that the last colon behind them is the port's.
    let (host, port) = match (authority.strip_prefix('['), authority.rsplit_once(':')) {
        (Some(rest), _) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => {
                (host, Some(port.strip_prefix(':').ok_or_else(|| wrong("what follows ']' is no port"))?))
            }
            None => return Err(wrong("'[' has no ']'")),
        },
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (authority, None),
    };
    let port = match port {
        None => {
            if secure {
                443
            } else {
                80
            }
        }
        Some(port) => {
            let number = port.parse().ok().filter(|n| *n != 0 && port.bytes().all(|b| b.is_ascii_digit()));
            number.ok_or_else(|| wrong("its port is no number from 1 to 65535"))?
        }
    };
    if !is_host(host) {
        return Err(wrong("it has no host, or one with characters that no host has"));
    }
    if path.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(wrong("its path holds characters that must be written as %XX"));
    }
    Ok(Url { secure, host: host.to_owned(), port, path: path.to_owned() })
}

/// Without what may be a password.
fn shown(word: &str) -> String {
    let plain: String = word.chars().filter(|c| !c.is_control()).collect();
    match plain.rsplit_once('@') {
        Some((_, host)) => format!("...@{host}"),
        None => plain,
    }
}

fn is_host(host: &str) -> bool {
    if host.contains(':') {
        let address = host.split('%').next().unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty()
        && !host.starts_with('-')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(secure: bool, host: &str, port: u16, path: &str) -> Url {
        Url { secure, host: host.into(), port, path: path.into() }
    }

    #[test]
    fn one_host_in_every_form() {
        for (text, want) in [
            ("https://xs1", url(true, "xs1", 443, "/")),
            ("HTTP://xs1/", url(false, "xs1", 80, "/")),
            ("http://10.0.0.1:8080/RPC2", url(false, "10.0.0.1", 8080, "/RPC2")),
            ("https://[2001:db8::1]", url(true, "2001:db8::1", 443, "/")),
            ("https://[::1]:444/jsonrpc", url(true, "::1", 444, "/jsonrpc")),
            ("xs1.example", url(true, "xs1.example", 443, "/")),
        ] {
            assert_eq!(parse(text), Ok(vec![want]), "{text}");
        }
        assert!(parse("https://x/jsonrpc/?a=b").unwrap()[0].is_json());
        assert!(!parse("https://x/jsonrpcs").unwrap()[0].is_json());
    }

    #[test]
    fn several_hosts_keep_their_order() {
        let urls = parse(" https://xs1,http://xs2 xs3, ").unwrap();
        assert_eq!(urls.iter().map(|url| url.host.as_str()).collect::<Vec<_>>(), ["xs1", "xs2", "xs3"]);
    }

    #[test]
    fn what_is_none_is_refused_without_its_password() {
        for text in [
            "",
            " , ",
            "ftp://x",
            "https://",
            "https:///x",
            "https://x:0",
            "https://x:99999",
            "https://x:+1",
            "https://x:1x",
            "https://[::1",
            "https://[::1]x",
            "https://a b",
            "-x",
            "https://x/\u{e4}",
            "https://root:hunter2@xs1",
        ] {
            match parse(text) {
                Err(Error::Settings(why)) => assert!(!why.contains("hunter2"), "{why}"),
                // The second word of "a b" is a host of its own.
                other => assert!(text == "https://a b" && other.is_ok(), "{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_slave_can_name_an_address_and_nothing_else() {
        let here = url(true, "xs1", 444, "/jsonrpc");
        assert_eq!(here.at("10.0.0.2"), Ok(url(true, "10.0.0.2", 444, "/jsonrpc")));
        assert_eq!(here.at("[::2]").unwrap().host, "::2");
        for evil in ["", "http://evil", "a/b", "a b", "x\r\nHost: y", "user@host", "10.0.0.2:81"] {
            assert!(here.at(evil).is_err(), "{evil}");
        }
    }
}
