//! The OpenAPI 3.1 document: what the routes say of themselves, completed by what they have in common.

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use serde::Serialize;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Deprecated, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, schema,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use super::paths::{self, BASE};
use super::problem::MEDIA_TYPE;
use crate::app::App;

const DESCRIPTION: &str = include_str!("openapi.md");

/// Money: whole minor units of a currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Money)]
pub struct MoneyBody {
    /// Minor units; below 2^53 either way.
    #[schema(example = 1999, maximum = 9_007_199_254_740_991_i64, minimum = -9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217.
    #[schema(example = "USD", pattern = "^[A-Z]{3}$")]
    currency: String,
}

/// An error, as RFC 9457 describes it. A refusal by a rule carries the rule's numbers beside these.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// What kind of error this is, for ever.
    #[schema(example = "/problems/bid-too-low")]
    r#type: String,
    #[schema(example = "Bid too low")]
    title: String,
    #[schema(example = 422)]
    status: u16,
    #[schema(example = "The bid 10.00 USD is below the minimum 10.50 USD.")]
    detail: String,
    /// The id of the request.
    instance: String,
    /// Which fields are wrong, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldErrorBody>>,
}

/// Something wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorBody {
    /// A JSON pointer into the body, or `?name` for a query parameter.
    #[schema(example = "/maximum/amount")]
    pointer: String,
    #[schema(example = "invalid")]
    code: String,
    detail: String,
}

/// What there is before any route.
pub fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Tradepost")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(utoipa::openapi::License::new("Apache-2.0")))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// Adds what all routes have in common: the security scheme, the problem answer, the headers of commands, the position
/// of reads, and the further names of routes, marked deprecated.
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for (name, schema) in
        [("Money", MoneyBody::schema()), ("Problem", ProblemBody::schema()), ("FieldError", FieldErrorBody::schema())]
    {
        components.schemas.insert(name.to_owned(), schema);
    }
    for (path, item) in &mut document.paths.paths {
        let auth = path.starts_with("/api/v1/auth/");
        each_operation(item, |method, operation| {
            operation.operation_id = Some(operation_id(method, path));
            complete_operation(method, operation, auth, path.contains('{'));
        });
    }
    add_further_names(&mut document);
    document
}

/// `post_auctions_id_bids`: unlike the names of handlers, no two are the same.
fn operation_id(method: &str, path: &str) -> String {
    let words =
        path.trim_start_matches(BASE).split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}_{}", method.to_lowercase(), words.join("_"))
}

fn each_operation(item: &mut PathItem, mut change: impl FnMut(&str, &mut Operation)) {
    let operations = [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ];
    for (method, operation) in operations {
        if let Some(operation) = operation {
            change(method, operation);
        }
    }
}

/// `about_one` tells of a command about a single thing, which can be made conditional.
fn complete_operation(method: &str, operation: &mut Operation, auth: bool, about_one: bool) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description("A problem").content(MEDIA_TYPE, problem).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
    let mut header = |name: &str, location: ParameterIn, text: &str, schema: schema::Object| {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(location)
            .required(Required::False)
            .description(Some(text))
            .schema(Some(schema))
            .build();
        operation.parameters.get_or_insert_default().push(parameter);
    };
    let text = |longest: usize| {
        schema::ObjectBuilder::new().schema_type(schema::Type::String).max_length(Some(longest)).build()
    };
    match method {
        "GET" => {
            let position = schema::ObjectBuilder::new().schema_type(schema::Type::Integer).minimum(Some(0)).build();
            let what = "Wait up to 2 s until the read model has reached this position of the log.";
            header("min_position", ParameterIn::Query, what, position);
        }
        _ if !auth => {
            let what = "The same key with the same request gets the same answer again, and nothing is done twice.";
            header("Idempotency-Key", ParameterIn::Header, what, text(255));
        }
        _ => {}
    }
    if method != "GET" && about_one {
        header("If-Match", ParameterIn::Header, "The ETag that must still hold; 412 otherwise.", text(64));
    }
}

fn add_further_names(document: &mut OpenApi) {
    for route in paths::routes() {
        let Some(item) = document.paths.paths.get(&format!("{BASE}{}", route.path)).cloned() else { continue };
        for also in &route.also {
            let renamed = document.paths.paths.entry(format!("{BASE}{also}")).or_default();
            let mut item = item.clone();
            each_operation(&mut item, |method, operation| {
                if method == route.method {
                    operation.deprecated = Some(Deprecated::True);
                    operation.operation_id = operation
                        .operation_id
                        .take()
                        .map(|id| format!("{id}{}", also.replace(['/', '{', '}', '-'], "_")));
                    let slot = match method {
                        "GET" => &mut renamed.get,
                        "POST" => &mut renamed.post,
                        "PUT" => &mut renamed.put,
                        "PATCH" => &mut renamed.patch,
                        _ => &mut renamed.delete,
                    };
                    *slot = Some(operation.clone());
                }
            });
        }
    }
}

/// Serves the document, and pages that show it. Both work without a network.
pub fn router(document: &OpenApi) -> Router<App> {
    let json: Arc<str> = serde_json::to_string_pretty(document).unwrap_or_default().into();
    let serve = move || {
        let json = json.clone();
        async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], json.to_string()) }
    };
    let config = utoipa_swagger_ui::Config::from("/api/schema")
        .display_operation_id(false)
        .persist_authorization(true)
        // Else the page asks a validator on the internet about the document.
        .validator_url("none");
    Router::new()
        .route("/api/v1/schema", get(serve))
        .route("/api/v1/docs", get(|| async { Redirect::permanent("/api/docs/") }))
        .merge(SwaggerUi::new("/api/docs").config(config))
}
