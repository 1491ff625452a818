//! Who may use which route: the table of routes, enforced before a request is read any further.
//!
//! The table says of every route whether it is open, takes an account, or takes a capability; a route that is not in it
//! is not served. Whose thing it is that a path names, the route itself decides: to everybody else the thing is not
//! there. What a decision needs, such as the capability to sell, the decision checks again, on what the log says then.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::account::Capability;

use super::paths::{self, BASE};
use super::problem::Problem;
use super::routes::no_such_route;
use crate::app::App;
use crate::auth::sessions::{Caller, NotAdmitted, Standing};

/// What a route takes of who uses it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nothing, or a token of another kind in its body.
    Open,
    /// An account, of which it decides by itself whether the thing concerns it.
    Account,
    /// An account with this capability.
    Capability(Capability),
}

impl Access {
    /// What the table's words for who may use a route mean; nothing for words that are not known.
    pub fn of(who: &str) -> Option<Self> {
        // A browser cannot send a token when it opens a socket: the ticket in its address tells who it is.
        if who.contains("(upgrade") {
            return Some(Self::Open);
        }
        let who = who.split_once(" (").map_or(who, |(who, _)| who);
        Some(match who {
            "anyone" | "refresh token" | "reset token" | "verify token" | "claim token" | "provider" => Self::Open,
            "account" | "owner" | "buyer" | "seller" | "party" | "member" | "author" | "underbidder"
            | "seller or staff" | "auditor or party" => Self::Account,
            "staff" | "operator network" => Self::Capability(Capability::Staff),
            "auditor" => Self::Capability(Capability::Audit),
            _ => return None,
        })
    }
}

/// What each route takes, by path and method.
static TABLE: LazyLock<HashMap<String, HashMap<&'static str, Access>>> = LazyLock::new(|| {
    let mut table: HashMap<_, HashMap<_, _>> = HashMap::new();
    for route in paths::routes() {
        let Some(access) = Access::of(route.who) else { continue };
        for path in [route.path].into_iter().chain(route.noted) {
            table.entry(format!("{BASE}{path}")).or_default().insert(route.method, access);
        }
    }
    table
});

/// What a route takes; nothing for one that is not in the table.
pub fn of_route(method: &str, path: &str) -> Option<Access> {
    // HEAD is answered wherever GET is.
    TABLE.get(path)?.get(if method == "HEAD" { "GET" } else { method }).copied()
}

/// Lets a request through to its route if the table lets its sender.
pub(super) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    // Whatever method a route has not is answered by it with what it has.
    let access = of_route(request.method().as_str(), path);
    let access = match access {
        Some(access) => access,
        None if !TABLE.contains_key(path) => {
            tracing::error!(path, "a route is served that is not in the table of routes");
            return no_such_route(request.uri()).into_response();
        }
        None => Access::Open,
    };
    let admitted = admit(&app, request.headers(), access).await;
    let admitted = admitted.and_then(|caller| match caller {
        Some(caller) if !is_read(request.method()) => app.limits.account(caller.account).map(|()| Some(caller)),
        _ => Ok(caller),
    });
    match admitted {
        Ok(None) => {}
        Ok(Some(caller)) => drop(request.extensions_mut().insert(caller)),
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

async fn admit(app: &App, headers: &HeaderMap, access: Access) -> Result<Option<Caller>, Problem> {
    let needed = match access {
        Access::Open => return Ok(None),
        Access::Account => None,
        Access::Capability(needed) => Some(needed),
    };
    let caller = caller(app, headers).await?;
    let caller = caller.ok_or_else(|| Problem::unauthenticated("This takes an access token: log in first."))?;
    if let Some(needed) = needed {
        require(app, caller, needed).await?;
    }
    Ok(Some(caller))
}

/// Refuses whoever lacks a capability.
pub(super) async fn require(app: &App, caller: Caller, needed: Capability) -> Result<(), Problem> {
    let missing = || Problem::from(domain::Refusal::from(domain::account::Error::MissingCapability { needed }));
    if may(app, caller, needed).await? { Ok(()) } else { Err(missing()) }
}

/// Whether somebody has a capability. What is remembered of them may be a moment behind a grant that they have been told
/// of, so nobody is refused by that alone.
pub(super) async fn may(app: &App, caller: Caller, needed: Capability) -> Result<bool, Problem> {
    if standing(app, caller).await?.capabilities.contains(&needed) {
        return Ok(true);
    }
    app.sessions.forget(caller.session);
    Ok(standing(app, caller).await?.capabilities.contains(&needed))
}

/// Who sends a request with these headers, if their session stands. A token that is not good is an error.
pub(super) async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = token.ok_or_else(|| Problem::unauthenticated("Authorization must be `Bearer <access token>`."))?;
    let caller = app.tokens.verify(token).map_err(|_| not_good())?;
    standing(app, caller).await?;
    Ok(Some(caller))
}

/// What a caller may do, if their session stands.
pub(super) async fn standing(app: &App, caller: Caller) -> Result<Arc<Standing>, Problem> {
    app.sessions.admit(&app.engine, caller).await.map_err(|refused| match refused {
        NotAdmitted::Ended => not_good(),
        NotAdmitted::Unknown(error) => error.into(),
    })
}

fn not_good() -> Problem {
    let challenge = r#"Bearer error="invalid_token""#;
    Problem::unauthenticated("The access token is not good.").with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_of_every_route_who_may_use_it() {
        for route in paths::routes() {
            assert!(Access::of(route.who).is_some(), "{} {}: {}", route.method, route.path, route.who);
        }
    }
}
