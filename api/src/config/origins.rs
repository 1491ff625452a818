//! Lists of origins, as `http.origins` names them.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::Scheme;
use serde::{Deserialize, Serialize};

/// Web origins, with commas between: each exactly as a browser names it, `https://shop.example` or with a port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origins(Vec<String>);

impl Origins {
    /// Whether this is one of them.
    pub fn contain(&self, origin: &str) -> bool {
        self.0.iter().any(|known| known == origin)
    }

    /// Each as a browser names it.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// An origin as a browser names it: in small letters, without the port that its scheme has anyway.
fn origin(name: &str) -> Option<String> {
    let uri: Uri = name.parse().ok()?;
    let scheme = uri.scheme()?;
    let authority = uri.authority()?.as_str().to_lowercase();
    let usual = if *scheme == Scheme::HTTPS { ":443" } else { ":80" };
    let host = authority.strip_suffix(usual).unwrap_or(&authority);
    let is_plain = !host.is_empty() && !host.contains(['@', '*']);
    // A URI without a path is read as if it had `/`.
    let is_whole = uri.path() == "/" && !name.ends_with('/') && uri.query().is_none() && !name.contains('#');
    (is_plain && is_whole && (*scheme == Scheme::HTTPS || *scheme == Scheme::HTTP))
        .then(|| format!("{scheme}://{host}"))
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |name: &str| {
            let sentence = || format!("`{name}` is no origin such as `https://shop.example`; each is named in full");
            origin(name).ok_or_else(sentence)
        };
        let names = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        names.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Origins {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl From<Origins> for String {
    fn from(origins: Origins) -> Self {
        origins.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_a_browser_names_them() {
        let origins: Origins = "https://Shop.example:443, http://localhost:3000,http://[::1]:80".parse().unwrap();
        assert_eq!(origins.to_string(), "https://shop.example,http://localhost:3000,http://[::1]");
        assert!(origins.contain("https://shop.example"));
        for other in ["http://shop.example", "https://shop.example.evil", "https://shop.example:8443", "null", ""] {
            assert!(!origins.contain(other), "{other}");
        }
        assert_eq!("".parse(), Ok(Origins::default()));
    }

    #[test]
    fn what_is_no_origin_is_refused_by_its_name() {
        for text in [
            "*",
            "https://*",
            "https://*.shop.example",
            "shop.example",
            "https://shop.example/",
            "https://shop.example/a",
            "https://shop.example?a",
            "https://ann@shop.example",
            "ftp://shop.example",
            "null",
            "https://shop.example,",
        ] {
            assert!(text.parse::<Origins>().unwrap_err().contains("no origin"), "{text}");
        }
    }
}
