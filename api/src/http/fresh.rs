//! Pages that a client may keep: each with a tag of what its read model showed, and a short answer to a client that has
//! the page already.
//!
//! The tag names the position at which the read model changed last. It is taken before the page is read, so a page may
//! be newer than its tag says, never older.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use projections::ReadModel;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::extract::Caller;
use super::reply::kept_by_whoever_asks;
use crate::app::App;

/// What a read model shows, to somebody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag(String);

impl Tag {
    /// What `model` shows to `viewer` now.
    pub fn of(app: &App, model: &ReadModel, viewer: Option<Caller>) -> Self {
        Self::of_several(app, &[model], viewer)
    }

    /// What these read models together show to `viewer` now.
    pub fn of_several(app: &App, models: &[&ReadModel], viewer: Option<Caller>) -> Self {
        let shown = models.iter().map(|model| format!(".{}.{}", model.version, app.progress.changed_at(model.name)));
        let viewer = viewer.map(|viewer| format!(".{}", viewer.account)).unwrap_or_default();
        Self(format!("W/\"{}{}{viewer}\"", env!("CARGO_PKG_VERSION"), shown.collect::<String>()))
    }

    /// What a single thing has in its ETag beside its version, where more is shown of it than its own events tell: another
    /// number whenever any of it may have changed.
    pub fn number(&self) -> Position {
        let hash = Sha256::digest(&self.0);
        let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        // As many digits as an ETag may have.
        (number % 1_000_000_000_000_000_000).cast_signed()
    }
}

/// The tags that a client has pages of.
#[derive(Clone, Debug, Default)]
pub struct Known(Vec<String>);

impl Known {
    /// Those in `If-None-Match`.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect())
    }

    /// Whether the client has the page with this tag.
    pub fn has(&self, tag: &Tag) -> bool {
        self.0.contains(&tag.0)
    }

    /// Which version the client has of a single thing in whose tags this number stands behind the version.
    pub fn version_at(&self, position: Position) -> Option<u64> {
        self.0.iter().find_map(|known| {
            let (version, at) = known.trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
            version.parse().ok().filter(|_| at == position.to_string())
        })
    }

    /// Whether the client has what never changes and is named by this tag.
    pub fn has_lasting(&self, tag: &str) -> bool {
        self.0.iter().any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    }

    /// Whether the client has this version of a single thing.
    pub fn has_version(&self, version: u64, position: Position) -> bool {
        let tag = format!("\"{version}.{position}\"");
        self.0.iter().any(|known| known.trim_start_matches("W/") == tag)
    }
}

/// A page, or word that it is as the client has it.
#[derive(Clone, Debug)]
pub enum Fresh<T> {
    /// The client has it.
    Unchanged(Tag),
    /// This is it.
    Changed(Tag, T),
}

impl<T: Serialize> IntoResponse for Fresh<T> {
    fn into_response(self) -> Response {
        let (mut response, tag) = match self {
            Self::Unchanged(tag) => (StatusCode::NOT_MODIFIED.into_response(), tag),
            Self::Changed(tag, body) => (Json(body).into_response(), tag),
        };
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(&tag.0).map(|tag| (header::ETAG, tag)));
        kept_by_whoever_asks(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_know_several_tags() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"0.1.0.2.7\", W/\"0.1.0.2.9\""));
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"0.1.0.2.11\""));
        let known = Known::from_headers(&headers);
        for (position, has) in [(7, true), (9, true), (11, true), (1, false), (70, false)] {
            assert_eq!(known.has(&Tag(format!("W/\"0.1.0.2.{position}\""))), has, "{position}");
        }
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"3.70\", W/\"4.80\""));
        let known = Known::from_headers(&headers);
        for (version, position, has) in [(3, 70, true), (4, 80, true), (3, 80, false), (3, 7, false)] {
            assert_eq!(known.has_version(version, position), has, "{version}.{position}");
        }
        assert!(known.has_lasting("\"3.70\"") && known.has_lasting("\"4.80\"") && !known.has_lasting("\"4.8\""));
    }
}
