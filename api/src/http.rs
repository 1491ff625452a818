//! The HTTP API: parse, execute, reply.
//!
//! A request passes, from the outside in: [`serving`] (its connection), [`paths`] (every path a client may know becomes
//! the canonical one), [`origins`] (what browsers are told), [`envelope`] (who sends it, request id, span, time limit,
//! panics and errors become problems), [`limits`] (how much its sender may ask), [`forward`] (commands go to the node
//! that decides), [`access`] (who may use it), then its route. Reading a request is in [`extract`], answering in [`reply`], and what refusals look
//! like in [`problem`] alone.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware;
use axum::routing::any;
use tower::Layer;
use tower::util::{MapRequest, MapRequestLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::forward;

pub mod access;
pub(crate) mod envelope;
pub mod extract;
mod fields;
pub mod fresh;
pub mod limits;
pub mod live;
mod money;
pub mod openapi;
mod origins;
pub mod pages;
pub mod paths;
pub mod problem;
pub mod reply;
pub mod routes;
pub mod sender;
pub mod serving;

use origins::Browsers;

/// The router behind the canonical paths.
pub type Api = MapRequest<Router, fn(axum::extract::Request) -> axum::extract::Request>;

/// What a node without the role `api` answers: how it is.
pub fn health_only(app: App) -> Api {
    let (router, _) = OpenApiRouter::<App>::new().nest("/api/v1", routes::health::router()).split_for_parts();
    let router = router
        .fallback(async |uri: Uri| routes::no_such_route(&uri))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::wrap))
        .layer(middleware::from_fn_with_state(Browsers::new(&app.settings.http.origins), origins::protect))
        .with_state(app);
    let canonical: fn(axum::extract::Request) -> axum::extract::Request = paths::canonical;
    MapRequestLayer::new(canonical).layer(router)
}

/// The whole API over a running node.
pub fn api(app: App) -> Api {
    let (router, document) = documented(app.settings.sandbox.enabled).split_for_parts();
    let document = openapi::complete(document);
    let router = router.layer(middleware::from_fn_with_state(app.clone(), access::check));
    let router = wrong_methods(&document)
        .fold(router, |router, (path, allow)| router.route(&path, any(move || routes::only(allow))))
        .merge(openapi::router(&document))
        .fallback(async |uri: Uri| routes::no_such_route(&uri))
        .method_not_allowed_fallback(routes::no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), forward::forward))
        .layer(DefaultBodyLimit::max(app.settings.http.body_limit_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), limits::admit))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::wrap))
        .layer(middleware::from_fn_with_state(Browsers::new(&app.settings.http.origins), origins::protect))
        .with_state(app);
    let canonical: fn(axum::extract::Request) -> axum::extract::Request = paths::canonical;
    MapRequestLayer::new(canonical).layer(router)
}

/// The further names of routes, each with the methods that it is served by. A request by one of them is given the
/// canonical path before it is routed, so whatever arrives under such a name was sent by another.
fn wrong_methods(document: &OpenApi) -> impl Iterator<Item = (String, String)> {
    let mut methods: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for route in paths::routes().filter(|route| openapi::describes(document, route)) {
        for also in route.also {
            let allow = methods.entry(format!("{}{also}", paths::BASE)).or_default();
            allow.push(if route.method == "GET" { "GET,HEAD" } else { route.method });
        }
    }
    methods.into_iter().map(|(path, methods)| (path, methods.join(",")))
}

/// Every route with its documentation.
pub fn documented(sandbox: bool) -> OpenApiRouter<App> {
    let router = OpenApiRouter::with_openapi(openapi::base())
        .nest("/api/v1", routes::auth::router())
        .nest("/api/v1", routes::listings::router())
        .nest("/api/v1", routes::auctions::router())
        .nest("/api/v1", routes::orders::router())
        .nest("/api/v1", routes::escrow::router())
        .nest("/api/v1", routes::wallet::router())
        .nest("/api/v1", routes::admin::router())
        .nest("/api/v1", routes::metrics::router())
        .nest("/api/v1", routes::health::router());
    if sandbox { router.nest("/api/v1", routes::sandbox::router()) } else { router }
}
