//! One canonical path per route, whatever a client calls it.
//!
//! `/api/v1` and `/api` are the same, a trailing slash is ignored, a few routes are served at the root too, and the old
//! backends' paths are further names of ours. They are all rewritten here, before routing, so that nothing behind this
//! knows of them. The names are in `routes.tsv`, which the contract test reads too.

use std::sync::LazyLock;

use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use matchit::Router;

use super::openapi;

/// Every route of the product, one a line: method, canonical path, who, source, further paths, the issue that brings it.
pub const ROUTES: &str = include_str!("../../routes.tsv");

/// Where the canonical paths are.
pub const BASE: &str = "/api/v1";
/// The interactive documentation is a folder of files, whose address must keep its slash.
pub const DOCS: &str = "/api/docs";

/// The methods that routes have.
pub const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A line of the table of routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// The canonical path under [`BASE`].
    pub path: &'static str,
    /// Who may use it.
    pub who: &'static str,
    /// Further paths under [`BASE`].
    pub also: Vec<&'static str>,
    /// Further paths that take what the canonical one says in another way: routes of their own, for the same people.
    pub noted: Vec<&'static str>,
    /// The letter of the issue that brings it.
    pub brought_by: &'static str,
}

impl Route {
    /// Whether it is served without [`BASE`] too.
    pub fn at_root(&self) -> bool {
        self.who.contains("at the root")
    }
}

/// The table of routes.
pub fn routes() -> impl Iterator<Item = Route> {
    ROUTES.lines().skip(1).filter_map(|line| {
        let [method, path, who, _source, also, brought_by] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        // A note in brackets, or a query, says more than a path can; such a name is not a plain rewrite.
        let (also, noted): (Vec<_>, Vec<_>) =
            also.split(", ").filter(|path| path.starts_with('/')).partition(|path| !path.contains([' ', '?']));
        let noted = noted.into_iter().filter_map(|path| path.split([' ', '?']).next()).collect();
        Some(Route { method, path, who, also, noted, brought_by })
    })
}

struct Names {
    by_method: Vec<(&'static str, Router<&'static str>)>,
    at_root: Router<()>,
}

/// Only of what is served: a name of a route that there is not yet may be that of another by another method.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { by_method: Vec::new(), at_root: Router::new() };
    let served = super::documented(true).into_openapi();
    for route in routes() {
        if route.at_root() {
            for path in route.also.iter().chain([&route.path]) {
                insert(&mut names.at_root, path, ());
            }
        }
        if !openapi::describes(&served, &route) {
            continue;
        }
        let known = names.by_method.iter().position(|(method, _)| *method == route.method);
        let index = known.unwrap_or_else(|| {
            names.by_method.push((route.method, Router::new()));
            names.by_method.len() - 1
        });
        for also in route.also {
            insert(&mut names.by_method[index].1, also, route.path);
        }
    }
    names
});

/// A path that is there already is named by several methods or routes; the first one stands.
fn insert<T>(router: &mut Router<T>, path: &str, value: T) {
    if let Err(error) = router.insert(path, value) {
        tracing::trace!(path, %error, "a path has several names");
    }
}

/// Gives a request the canonical path of its route.
pub fn canonical(mut request: Request) -> Request {
    if let Some(path) = canonical_path(request.method().as_str(), request.uri().path()) {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = request.uri().clone().into_parts();
        if let Ok(rewritten) = PathAndQuery::try_from(path + &query) {
            parts.path_and_query = Some(rewritten);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// The canonical form of a path; nothing if it is canonical, or none of ours.
fn canonical_path(method: &str, path: &str) -> Option<String> {
    if path == DOCS || path.starts_with("/api/docs/") {
        return None;
    }
    let trimmed = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let under = under_base(trimmed)?;
    // HEAD is answered wherever GET is.
    let method = if method == "HEAD" { "GET" } else { method };
    let names = NAMES.by_method.iter().find(|(known, _)| *known == method);
    let renamed = names.and_then(|(_, names)| names.at(under).ok()).map(|name| {
        let filled = name.value.split('/').map(|segment| {
            let parameter = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            parameter.and_then(|parameter| name.params.get(parameter)).unwrap_or(segment)
        });
        filled.collect::<Vec<_>>().join("/")
    });
    let canonical = format!("{BASE}{}", renamed.as_deref().unwrap_or(under));
    (canonical != path).then_some(canonical)
}

/// What comes after the base; nothing for a path that is under neither base and not served at the root.
fn under_base(path: &str) -> Option<&str> {
    let after = |base: &str| path.strip_prefix(base).filter(|rest| rest.starts_with('/'));
    after(BASE).or_else(|| after("/api")).or_else(|| NAMES.at_root.at(path).is_ok().then_some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bases_slashes_and_old_names_lead_to_the_canonical_path() {
        for (method, path, canonical) in [
            ("GET", "/api/v1/listings/", Some("/api/v1/listings")),
            ("GET", "/api/listings", Some("/api/v1/listings")),
            ("GET", "/api/products/7", Some("/api/v1/listings/7")),
            ("HEAD", "/api/v1/products/7", Some("/api/v1/listings/7")),
            ("POST", "/api/v1/products/7", None),
            ("POST", "/api/v1/merchant/products", Some("/api/v1/listings")),
            ("GET", "/api/merchant/products", Some("/api/v1/profile/listings")),
            ("POST", "/api/v1/auctions/7/place_bid/", Some("/api/v1/auctions/7/bids")),
            ("GET", "/health", Some("/api/v1/health")),
            ("GET", "/ws/auction/7", Some("/api/v1/ws/auctions/7")),
            ("GET", "/api/v1/listings", None),
            ("GET", "/listings", None),
            ("GET", "/", None),
            ("GET", "/api/docs/", None),
            ("GET", "/apix/listings", None),
        ] {
            assert_eq!(canonical_path(method, path).as_deref(), canonical, "{method} {path}");
        }
    }

    #[test]
    fn the_query_survives() {
        let request =
            Request::builder().uri("http://host/api/products?q=a%20b").body(axum::body::Body::empty()).unwrap();
        assert_eq!(canonical(request).uri(), "http://host/api/v1/listings?q=a%20b");
    }
}
