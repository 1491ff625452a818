//! Who sends a request, as far as the network tells.
//!
//! What is kept of that is as little as an audit needs. Events are kept for ever, and an address or the whole text of a
//! `User-Agent` may identify a person: events get the network of the address and the family of the program, never
//! either in full. The address itself is used while a request is answered, for limits, and then forgotten.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::Networks;

/// What proxies say of whom they speak for, the last one last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Of an IPv4 address, the network that is kept: as many as 254 neighbours.
const KEPT_BITS_V4: u8 = 24;
/// Of an IPv6 address: what a provider gives to a site.
const KEPT_BITS_V6: u8 = 48;
/// Whoever has an IPv6 address has all of its /64, so that is who is counted.
const COUNTED_BITS_V6: u8 = 64;
/// No program has had more versions.
const LARGEST_MAJOR: u16 = 999;

/// Programs by what stands before their version, in the order in which they are looked for: most browsers name those that
/// they descend from too.
const AGENTS: [(&str, &str); 25] = [
    ("Edg/", "edge"),
    ("EdgA/", "edge"),
    ("EdgiOS/", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("YaBrowser/", "yandex"),
    ("FxiOS/", "firefox"),
    ("Firefox/", "firefox"),
    ("CriOS/", "chrome"),
    ("HeadlessChrome/", "chrome"),
    ("Chrome/", "chrome"),
    // The version of Safari stands after another word; others that have it have been found above.
    ("Version/", "safari"),
    ("curl/", "curl"),
    ("Wget/", "wget"),
    ("python-requests/", "python-requests"),
    ("python-httpx/", "python-httpx"),
    ("aiohttp/", "aiohttp"),
    ("Go-http-client/", "go-http-client"),
    ("okhttp/", "okhttp"),
    ("Apache-HttpClient/", "apache-httpclient"),
    ("axios/", "axios"),
    ("node-fetch/", "node-fetch"),
    ("reqwest/", "reqwest"),
    ("PostmanRuntime/", "postman"),
    ("HTTPie/", "httpie"),
];
/// Some program that is not in the list.
const OTHER: &str = "other";
/// No `User-Agent` at all.
const NONE: &str = "none";

/// Who sends a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sender {
    ip: IpAddr,
    agent: Agent,
}

impl Sender {
    /// Told by the connection and, if it comes from a trusted proxy, by what that says.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> Self {
        Self { ip: behind(peer.to_canonical(), headers, trusted), agent: Agent::of(headers) }
    }

    /// The network of the address, such as `192.0.2.0/24`: what may be kept.
    pub fn prefix(&self) -> String {
        let bits = if self.ip.is_ipv4() { KEPT_BITS_V4 } else { KEPT_BITS_V6 };
        network(self.ip, bits).to_string()
    }

    /// Who counts as one, see [`counted`].
    pub fn counted(&self) -> IpNet {
        counted(self.ip)
    }

    /// The program.
    pub fn agent(&self) -> Agent {
        self.agent
    }
}

/// As one node tells it to another.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ip, self.agent)
    }
}

/// Not what [`fmt::Display`] has written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoSender;

impl FromStr for Sender {
    type Err = NoSender;

    fn from_str(text: &str) -> Result<Self, NoSender> {
        let (ip, agent) = text.split_once(' ').ok_or(NoSender)?;
        Ok(Self { ip: ip.parse().map_err(|_| NoSender)?, agent: agent.parse()? })
    }
}

/// Who counts as one where senders are counted: an IPv4 address, or the /64 of one of IPv6.
pub fn counted(ip: IpAddr) -> IpNet {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip.into(),
        ip @ IpAddr::V6(_) => network(ip, COUNTED_BITS_V6),
    }
}

fn network(ip: IpAddr, bits: u8) -> IpNet {
    // No constant above is longer than an address.
    IpNet::new(ip, bits).map_or(IpNet::from(ip), |network| network.trunc())
}

/// The nearest address that no trusted proxy has, going back along the proxies. What is before it, anybody may have made
/// up; and so may be whatever is no address.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut sender = peer;
    // Several headers are one list, in their order.
    let mut hops = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| {
        let hops = value.to_str().unwrap_or_default().rsplit(',');
        hops.map(|hop| address(hop.trim()))
    });
    while trusted.contain(sender) {
        let Some(Some(hop)) = hops.next() else { break };
        sender = hop;
    }
    sender
}

/// The address of a hop. Some proxies write the port too.
fn address(hop: &str) -> Option<IpAddr> {
    let ip = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// The family of a program and its major version: `firefox/128`, `curl/8`, `other`, `none`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Agent {
    family: &'static str,
    major: Option<u16>,
}

impl Agent {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::USER_AGENT) else { return Self { family: NONE, major: None } };
        let text = value.to_str().unwrap_or_default();
        let found = AGENTS.iter().find_map(|(mark, family)| Some((*family, after(text, mark)?)));
        found.map_or(Self { family: OTHER, major: None }, |(family, version)| Self { family, major: major(version) })
    }
}

/// What follows a mark that begins a word.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let place = text.match_indices(mark).map(|(place, _)| place);
    let begins = |place: &usize| text[..*place].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
    place.into_iter().find(begins).map(|place| &text[place + mark.len()..])
}

/// A version that could identify somebody is none.
fn major(version: &str) -> Option<u16> {
    let digits = version.bytes().take_while(u8::is_ascii_digit).count();
    version[..digits].parse().ok().filter(|major| *major <= LARGEST_MAJOR)
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            Some(major) => write!(f, "{}/{major}", self.family),
            None => f.write_str(self.family),
        }
    }
}

impl FromStr for Agent {
    type Err = NoSender;

    fn from_str(text: &str) -> Result<Self, NoSender> {
        let (name, version) = text.split_once('/').map_or((text, None), |(name, version)| (name, Some(version)));
        let mut families = AGENTS.iter().map(|(_, family)| *family).chain([OTHER, NONE]);
        let family = families.find(|family| *family == name).ok_or(NoSender)?;
        Ok(Self { family, major: version.and_then(major) })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    /// The address behind `peer`, if `forwarded` are its headers and 10.0.0.0/8 is trusted.
    fn ip(peer: &str, forwarded: &[&str]) -> String {
        let pairs: Vec<_> = forwarded.iter().map(|value| (FORWARDED_FOR, *value)).collect();
        let trusted = "10.0.0.0/8,2001:db8::1".parse().unwrap();
        Sender::of(peer.parse().unwrap(), &headers(&pairs), &trusted).ip.to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(ip("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(ip("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(ip("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn of_several_hops_the_nearest_that_is_not_trusted_is_the_sender() {
        assert_eq!(ip("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.2.2.2"]), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["203.0.113.9", "198.51.100.7,10.2.2.2"]), "198.51.100.7");
        assert_eq!(ip("10.0.0.1", &["10.9.9.9, 10.2.2.2"]), "10.9.9.9", "all of them are trusted");
        assert_eq!(ip("2001:db8::1", &["[2001:db8:7::9]:4711"]), "2001:db8:7::9");
        assert_eq!(ip("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
    }

    #[test]
    fn what_is_no_address_ends_the_way_back() {
        for forged in ["unknown", "", "198.51.100.7, _hidden", "198.51.100.7,"] {
            assert_eq!(ip("10.0.0.1", &[forged]), "10.0.0.1", "{forged}");
        }
    }

    #[test]
    fn of_an_address_its_network_is_kept() {
        for (ip, prefix, counted) in [
            ("192.0.2.77", "192.0.2.0/24", "192.0.2.77/32"),
            ("::ffff:192.0.2.77", "192.0.2.0/24", "192.0.2.77/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48", "2001:db8:1:2::/64"),
        ] {
            let sender = Sender::of(ip.parse().unwrap(), &HeaderMap::new(), &Networks::default());
            assert_eq!((sender.prefix().as_str(), sender.counted().to_string().as_str()), (prefix, counted));
        }
    }

    #[test]
    fn of_a_program_its_family_and_major_version_are_kept() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0";
        let safari = "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";
        for (text, kept) in [
            (FIREFOX, "firefox/128"),
            (&format!("{chrome} Safari/537.36"), "chrome/126"),
            (&format!("{chrome} Safari/537.36 Edg/126.0.0.0"), "edge/126"),
            (&format!("{chrome} Safari/537.36 OPR/112.0"), "opera/112"),
            (safari, "safari/17"),
            ("curl/8.9.1", "curl/8"),
            ("python-requests/2.32.3", "python-requests/2"),
            ("Python/3.12 aiohttp/3.9.5", "aiohttp/3"),
            ("curl/70211975551234", "curl"),
            ("curl/", "curl"),
            ("notcurl/8", "other"),
            ("Ann's own browser, ann@example.com", "other"),
            ("", "other"),
        ] {
            assert_eq!(Agent::of(&headers(&[(header::USER_AGENT, text)])).to_string(), kept, "{text}");
        }
        assert_eq!(Agent::of(&HeaderMap::new()).to_string(), "none");
    }

    #[test]
    fn a_sender_is_read_as_it_is_written() {
        for (ip, agent) in [("192.0.2.77", FIREFOX), ("2001:db8::7", "curl/8"), ("192.0.2.77", "?")] {
            let headers = headers(&[(header::USER_AGENT, agent)]);
            let sender = Sender::of(ip.parse().unwrap(), &headers, &Networks::default());
            assert_eq!(sender.to_string().parse(), Ok(sender));
        }
        for text in ["", "192.0.2.77", "192.0.2 curl/8", "192.0.2.77 ann@example.com"] {
            assert_eq!(text.parse::<Sender>(), Err(NoSender), "{text}");
        }
    }
}
