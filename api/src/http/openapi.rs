//! The OpenAPI 3.1 document: what the routes say of themselves, completed by what they have in common.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use domain::Currency;
use serde::Serialize;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, ArrayItems, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, ContentBuilder, Deprecated, InfoBuilder, Object, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use super::pages::{DEFAULT_LIMIT, LIMITS};
use super::paths::{self, BASE, Route};
use super::problem::MEDIA_TYPE;
use crate::app::App;

const DESCRIPTION: &str = include_str!("openapi.md");

/// Money: whole minor units of a currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Money)]
pub struct MoneyBody {
    /// Minor units; below 2^53 either way.
    #[schema(example = 1999, maximum = 9_007_199_254_740_991_i64, minimum = -9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217.
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: String,
}

/// Documents the code of a currency.
#[derive(Clone, Copy, Debug)]
pub struct CurrencyCode;

impl PartialSchema for CurrencyCode {
    fn schema() -> RefOr<Schema> {
        let known = Currency::all().map(Currency::code);
        let what = "ISO 4217, of a currency with a minor unit.";
        let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(known)).description(Some(what));
        code.examples([serde_json::json!("USD")]).into()
    }
}

impl ToSchema for CurrencyCode {
    fn name() -> Cow<'static, str> {
        "Currency".into()
    }
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
    /// A JSON pointer into the body, `?name` for a query parameter, or the name of a header.
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

/// Documents a read that waits for the position that its caller has seen.
#[derive(Clone, Copy, Debug)]
pub struct Waits;

/// Documents a page that need not be sent again while it has not changed.
#[derive(Clone, Copy, Debug)]
pub struct Revalidates;

/// Documents a command that may be sent again under a key.
#[derive(Clone, Copy, Debug)]
pub struct Keyed;

/// Documents such a command about a thing that is there, which can be made conditional.
#[derive(Clone, Copy, Debug)]
pub struct Conditional;

impl IntoParams for Waits {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "Wait up to 2 s until the read model has reached this position of the log; 503 otherwise.";
        let header = "The same as `min_position`, which goes first.";
        vec![
            parameter("min_position", ParameterIn::Query, what, position()),
            parameter("Tradepost-Min-Position", ParameterIn::Header, header, position()),
        ]
    }
}

impl IntoParams for Revalidates {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The ETag of the page that the client has: 304 if nothing has changed since.";
        vec![parameter(
            "If-None-Match",
            ParameterIn::Header,
            what,
            ObjectBuilder::new().schema_type(Type::String).build(),
        )]
    }
}

impl IntoParams for Keyed {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The same key with the same request gets the same answer again, and nothing is done twice.";
        // Spaces around a header are no part of it.
        let visible = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]([ -~]*[!-~])?$"));
        let key = visible.min_length(Some(1)).max_length(Some(255));
        vec![parameter("Idempotency-Key", ParameterIn::Header, what, key.build())]
    }
}

impl IntoParams for Conditional {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The ETag whose version must still hold; 412 otherwise.";
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let tag = text().pattern(Some(r#"^"(0|[1-9][0-9]{0,17})[.](0|[1-9][0-9]{0,17})"$"#));
        let tag = OneOfBuilder::new().item(text().enum_values(Some(["*"]))).item(tag);
        let mut parameters = Keyed::into_params(parameter_in);
        parameters.push(parameter("If-Match", ParameterIn::Header, what, Schema::from(tag)));
        parameters
    }
}

pub(super) fn parameter(name: &str, location: ParameterIn, what: &str, schema: impl Into<Schema>) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(location).required(Required::False);
    parameter.description(Some(what)).schema(Some(schema.into())).build()
}

fn position() -> Object {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    let number = ObjectBuilder::new().schema_type(Type::Integer).format(Some(format));
    number.minimum(Some(0)).maximum(Some(i64::MAX)).build()
}

/// Makes a type that documents a parameter as one of some words.
macro_rules! words {
    ($name:ident: $($word:literal),+) => {
        #[doc = concat!("One of", $(" `", $word, "`"),+, ".")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let words = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
                words.enum_values(Some([$($word),+])).into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
pub(super) use words;

/// What fits a text without U+0000.
const NO_NUL: &str = r"^[^\u0000]*$";

/// The problems that the document names. Which of them a route may answer, [`usual_problems`] tells.
const PROBLEMS: [(u16, &str, &str); 13] = [
    (400, "BadRequest", "The request cannot be read"),
    (401, "Unauthenticated", "The access token is missing, or not good"),
    (403, "Forbidden", "The account may not do this"),
    (404, "NotFound", "There is no such thing, or it is not the caller's to see"),
    (408, "TooSlow", "The body has not come in time"),
    (409, "Conflict", "Somebody or something else was first, or a request with this Idempotency-Key is under way"),
    (412, "PreconditionFailed", "The thing has changed since the ETag of If-Match"),
    (413, "TooLarge", "The body is too large"),
    (415, "NotJson", "The body is not JSON"),
    (422, "Refused", "A field is wrong, or a rule says no"),
    (429, "TooManyRequests", "The sender or the account has asked too much"),
    (500, "Defect", "Something went wrong on the server's side"),
    (503, "Unavailable", "Not now: the database is away, the read model is behind, or too much waits"),
];

/// Adds what routes have in common: the security scheme, problems, the headers and the position of answers, and the
/// further names of routes, marked deprecated.
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let at = ObjectBuilder::new().property("position", position()).required("position");
    for (name, schema) in [
        ("Money", MoneyBody::schema()),
        ("Currency", CurrencyCode::schema()),
        ("Problem", ProblemBody::schema()),
        ("FieldError", FieldErrorBody::schema()),
        ("Position", at.description(Some("The last event of the command in the log.")).into()),
    ] {
        components.schemas.insert(name.to_owned(), schema);
    }
    for (status, name, description) in PROBLEMS {
        let mut response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, problem());
        if matches!(status, 429 | 503) {
            response = response.header("Retry-After", header("After how many seconds to ask again.", Type::Integer));
        }
        components.responses.insert(name.to_owned(), response.build().into());
    }
    // Only what clients send is closed to unknown fields.
    for body in components.schemas.values_mut().filter(|schema| is_closed(schema)) {
        without_nul(body);
    }
    let schemas = components.schemas.clone();
    for (path, item) in &mut document.paths.paths {
        each_operation(item, |method, operation| {
            operation.operation_id = Some(operation_id(method, path));
            complete_request(operation, &schemas);
            complete_answers(method, operation, &schemas);
            let usual = usual_problems(method, operation);
            for (status, name, _) in PROBLEMS.into_iter().filter(|(status, ..)| usual.contains(status)) {
                let named = operation.responses.responses.entry(status.to_string());
                named.or_insert_with(|| Ref::from_response_name(name).into());
            }
        });
    }
    add_further_names(&mut document);
    document
}

fn problem() -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build()
}

fn header(what: &str, kind: Type) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new().description(Some(what)).schema(schema).build()
}

fn takes(operation: &Operation, name: &str) -> bool {
    operation.parameters.iter().flatten().any(|parameter| parameter.name == name)
}

fn takes_in(operation: &Operation, location: &ParameterIn) -> bool {
    operation.parameters.iter().flatten().any(|parameter| parameter.parameter_in == *location)
}

/// Adds what every request is held to, whatever its route says.
fn complete_request(operation: &mut Operation, schemas: &BTreeMap<String, RefOr<Schema>>) {
    let of_query = |parameter: &&mut Parameter| parameter.parameter_in == ParameterIn::Query;
    for parameter in operation.parameters.iter_mut().flatten().filter(of_query) {
        if let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema {
            match parameter.name.as_str() {
                "limit" => {
                    let (least, most) = (LIMITS.start().to_owned(), LIMITS.end().to_owned());
                    (object.minimum, object.maximum) = (Some(least.into()), Some(most.into()));
                    object.default = Some(DEFAULT_LIMIT.into());
                }
                "cursor" => object.pattern = Some("^[A-Za-z0-9_-]+$".to_owned()),
                _ => {}
            }
        }
        parameter.schema.iter_mut().for_each(without_nul);
    }
    if let Some(body) = &mut operation.request_body {
        // No body is read as `{}`.
        let mut contents = body.content.values().filter_map(|content| content.schema.as_ref());
        if contents.all(|schema| !has_required(schemas, schema)) {
            body.required = Some(Required::False);
        }
    }
}

fn is_closed(schema: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = schema else { return false };
    object.additional_properties.as_deref().is_some_and(|more| matches!(more, AdditionalProperties::FreeForm(false)))
}

/// Whether some field of what a component describes must be there.
fn has_required(schemas: &BTreeMap<String, RefOr<Schema>>, schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            schemas.get(name).is_none_or(|schema| has_required(schemas, schema))
        }
        RefOr::T(Schema::Object(object)) => !object.required.is_empty(),
        RefOr::T(_) => true,
    }
}

/// Says of every text, unless more is said of it, that U+0000 is no part of it: Postgres cannot hold it.
fn without_nul(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            let is_text = match &object.schema_type {
                SchemaType::Type(kind) => *kind == Type::String,
                SchemaType::Array(kinds) => kinds.contains(&Type::String),
                SchemaType::AnyValue => false,
            };
            if is_text && object.format.is_none() && object.enum_values.is_none() {
                object.pattern.get_or_insert_with(|| NO_NUL.to_owned());
            }
            object.properties.values_mut().for_each(without_nul);
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref_mut() {
                without_nul(values);
                let names = ObjectBuilder::new().schema_type(Type::String).pattern(Some(NO_NUL));
                object.property_names.get_or_insert_with(|| Box::new(names.into()));
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                without_nul(items);
            }
        }
        Schema::OneOf(any) => any.items.iter_mut().for_each(without_nul),
        Schema::AllOf(all) => all.items.iter_mut().for_each(without_nul),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(without_nul),
        _ => {}
    }
}

/// Adds to the answers of a route what [`super::reply`] adds to what it answers.
fn complete_answers(method: &str, operation: &mut Operation, schemas: &BTreeMap<String, RefOr<Schema>>) {
    let keyed = takes(operation, "Idempotency-Key");
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with('4') {
            response.content.insert(MEDIA_TYPE.to_owned(), problem());
        }
        let schema = response.content.get_mut("application/json").and_then(|content| content.schema.as_mut());
        let Some(schema) = schema else { continue };
        let mut add = |name: &str, header: Header| response.headers.insert(name.to_owned(), header);
        if has(schemas, schema, "version") {
            add("ETag", header("Its version and the position of its last change.", Type::String));
        }
        if method != "GET" && (keyed || has(schemas, schema, "position")) {
            add("Tradepost-Position", header("The last event of the command in the log.", Type::Integer));
        }
        if keyed {
            *schema = AllOfBuilder::new().item(schema.clone()).item(Ref::from_schema_name("Position")).into();
            add("Idempotency-Replayed", header("`true` if this answer was given before.", Type::String));
        }
        if keyed && status == "201" {
            add("Location", header("Where it is.", Type::String));
        }
    }
}

/// Whether what a component describes has such a field.
fn has(schemas: &BTreeMap<String, RefOr<Schema>>, schema: &RefOr<Schema>, field: &str) -> bool {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            schemas.get(name).is_some_and(|schema| has(schemas, schema, field))
        }
        RefOr::T(Schema::Object(object)) => object.properties.contains_key(field),
        RefOr::T(_) => false,
    }
}

/// The problems that a route may answer, told by what it takes. Any may be one too many (429) or run out of time (503).
fn usual_problems(method: &str, operation: &Operation) -> BTreeSet<u16> {
    let security = serde_json::to_string(&operation.security).unwrap_or_default();
    let keyed = takes(operation, "Idempotency-Key");
    let has_query = takes_in(operation, &ParameterIn::Query);
    let kinds: [(bool, &[u16]); 8] = [
        (true, &[429, 500, 503]),
        (security.contains("bearer"), &[401]),
        (keyed || security.contains("staff") || security.contains("audit"), &[403]),
        (takes_in(operation, &ParameterIn::Path), &[404]),
        (has_query, &[400, 422]),
        (method != "GET", &[400, 408, 413, 415, 422]),
        (keyed, &[409]),
        (takes(operation, "If-Match"), &[412]),
    ];
    kinds.into_iter().filter(|(so, _)| *so).flat_map(|(_, statuses)| statuses).copied().collect()
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

/// Whether a route of the table is served.
pub fn describes(document: &OpenApi, route: &Route) -> bool {
    let item = document.paths.paths.get(&format!("{BASE}{}", route.path));
    item.is_some_and(|item| {
        let mut served = false;
        each_operation(&mut item.clone(), |method, _| served |= method == route.method);
        served
    })
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
