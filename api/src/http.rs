//! The HTTP API: parse, execute, reply.
//!
//! A request passes, from the outside in: [`serving`] (its connection), [`paths`] (every path a client may know becomes
//! the canonical one), [`origins`] (what browsers are told), [`envelope`] (who sends it, request id, span, time limit,
//! panics and errors become problems), [`limits`] (how much its sender may ask), [`forward`] (commands go to the node
//! that decides), [`access`] (who may use it), then its route. Reading a request is in [`extract`] and [`as_of`], answering in
//! [`reply`], and what refusals look like in [`problem`] alone.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;
use tower::Layer;
use tower::util::{MapRequest, MapRequestLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::forward;

pub mod access;
pub mod as_of;
pub(crate) mod envelope;
pub mod extract;
pub(crate) mod fields;
pub mod fresh;
pub mod limits;
pub mod live;
pub mod markdown;
mod money;
pub mod openapi;
mod origins;
pub mod pages;
pub mod paths;
pub mod problem;
pub mod ratings;
pub mod reply;
pub mod routes;
pub mod sender;
pub mod serving;
pub mod upload;

use origins::Browsers;

/// The router behind the canonical paths.
pub type Api = MapRequest<Router, fn(Request) -> Request>;

/// What a node without the role `api` answers: how it is.
pub fn health_only(app: App) -> Api {
    let (router, _) = OpenApiRouter::<App>::new().nest("/api/v1", routes::health::router()).split_for_parts();
    let router = router.fallback(async |uri: Uri| routes::no_such_route(&uri));
    let layer = middleware::from_fn_with_state(Edge::of(&app), Edge::pass_to_health);
    canonical(router.layer(layer).with_state(app))
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
        .method_not_allowed_fallback(routes::no_such_method);
    let layer = middleware::from_fn_with_state(Edge::of(&app), Edge::pass);
    canonical(router.layer(layer).with_state(app))
}

fn canonical(router: Router) -> Api {
    let canonical: fn(Request) -> Request = paths::canonical;
    MapRequestLayer::new(canonical).layer(router)
}

/// What a request passes between its canonical path and its route.
#[derive(Clone, Debug)]
struct Edge {
    app: App,
    browsers: Browsers,
}

impl Edge {
    fn of(app: &App) -> Self {
        Self { app: app.clone(), browsers: Browsers::new(&app.settings.http.origins) }
    }

    /// One layer for all of it: for each request, a layer of the router is copied with everything inside it.
    async fn pass(State(Self { app, browsers }): State<Self>, mut request: Request, next: Next) -> Response {
        DefaultBodyLimit::max(app.settings.http.body_limit_bytes).apply(&mut request);
        let route = async |request| next.run(request).await;
        let forward = async |request| forward::forward(&app, request, route).await;
        let admit = async |request| limits::admit(&app, request, forward).await;
        let wrap = async |request| envelope::wrap(&app, request, admit).await;
        origins::protect(&browsers, request, wrap).await
    }

    /// The same where nothing else is served.
    async fn pass_to_health(State(Self { app, browsers }): State<Self>, request: Request, next: Next) -> Response {
        let route = async |request| next.run(request).await;
        let wrap = async |request| envelope::wrap(&app, request, route).await;
        origins::protect(&browsers, request, wrap).await
    }
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

/// The document that describes the API.
pub fn document(sandbox: bool) -> OpenApi {
    openapi::complete(documented(sandbox).into_openapi())
}

/// Every route with its documentation.
pub fn documented(sandbox: bool) -> OpenApiRouter<App> {
    let router = OpenApiRouter::with_openapi(openapi::base())
        .nest("/api/v1", routes::auth::router())
        .nest("/api/v1", routes::listings::router())
        .nest("/api/v1", routes::listing_images::router())
        .nest("/api/v1", routes::categories::router())
        .nest("/api/v1", routes::engagement::router())
        .nest("/api/v1", routes::auctions::router())
        .nest("/api/v1", routes::chats::router())
        .nest("/api/v1", routes::notifications::router())
        .nest("/api/v1", routes::orders::router())
        .nest("/api/v1", routes::order_money::router())
        .nest("/api/v1", routes::guests::router())
        .nest("/api/v1", routes::escrow::router())
        .nest("/api/v1", routes::points::router())
        .nest("/api/v1", routes::reviews::router())
        .nest("/api/v1", routes::feedback::router())
        .nest("/api/v1", routes::fees::router())
        .nest("/api/v1", routes::reports::router())
        .nest("/api/v1", routes::complaints::router())
        .nest("/api/v1", routes::affiliates::router())
        .nest("/api/v1", routes::wallet::router())
        .nest("/api/v1", routes::statements::router())
        .nest("/api/v1", routes::webhooks::router())
        .nest("/api/v1", routes::subscriptions::router())
        .nest("/api/v1", routes::payouts::router())
        .nest("/api/v1", routes::places::router())
        .nest("/api/v1", routes::addresses::router())
        .nest("/api/v1", routes::pages::router())
        .nest("/api/v1", routes::uploads::router())
        .nest("/api/v1", routes::stores::router())
        .nest("/api/v1", routes::users::router())
        .nest("/api/v1", routes::selling::router())
        .nest("/api/v1", routes::merchants::router())
        .nest("/api/v1", routes::moderation::router())
        .nest("/api/v1", routes::admin::router())
        .nest("/api/v1", routes::events::router())
        .nest("/api/v1", routes::proof::router())
        .nest("/api/v1", routes::metrics::router())
        .nest("/api/v1", routes::health::router());
    if sandbox { router.nest("/api/v1", routes::sandbox::router()) } else { router }
}
