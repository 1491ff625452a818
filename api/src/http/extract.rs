//! Reading a request: who sends it, what is in it, under which key, and what it must have seen.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use commands::CommandKey;
use domain::AccountId;
use domain::account::Capability;
use eventstore::Position;
use eventstore::event::{self, Metadata};
use eventstore::log::Digest;
use eventstore::sealing::PersonKey;
use eventstore::secrets::RootSecret;
use garde::Validate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::{self, Access};
use super::envelope::RequestId;
use super::fields::is_slug;
use super::fresh::Known;
use super::problem::{FieldError, Problem};
use crate::app::App;
use crate::forward::InDoubt;

/// The longest `Idempotency-Key`, in characters.
const LONGEST_KEY: usize = 255;
/// The purpose of the key of what is asked under an `Idempotency-Key`.
const FINGERPRINTS: &str = "command fingerprints";
/// The purpose of the key of guests' `Idempotency-Key`s.
const GUEST_KEYS: &str = "guest keys";
/// Below it every whole number is a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Names the position that a read must show.
const MIN_POSITION_HEADER: &str = "Tradepost-Min-Position";
/// How long a read waits for its read model.
pub(in crate::http) const READ_PATIENCE: Duration = Duration::from_secs(2);

pub use crate::auth::sessions::Caller;

/// Whoever the table of routes has let in: a route that takes a caller is not open.
fn admitted(extensions: &Extensions) -> Result<Caller, Problem> {
    extensions.get().copied().ok_or_else(|| {
        tracing::error!("a route takes a caller, and the table of routes says that it is open");
        Problem::internal()
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admitted(&parts.extensions)
    }
}

/// Somebody who may have logged in. A token that is not good is an error even where none is needed.
#[derive(Clone, Copy, Debug)]
pub struct MaybeCaller(pub Option<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for MaybeCaller
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(access::caller(&App::from_ref(state), &parts.headers).await?))
    }
}

/// An id in the path. One that cannot be an id names nothing, which is 404 like everything that is not there.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|path| path.0.parse().ok());
        id.map(Self).ok_or_else(|| Problem::not_found("thing"))
    }
}

/// A name in an address: of a page, a category, a store. What cannot be one names nothing, so take it as [`Id`].
#[derive(Clone, Debug)]
pub struct Slug(pub String);

impl FromStr for Slug {
    type Err = garde::Error;

    fn from_str(text: &str) -> Result<Self, garde::Error> {
        is_slug(text, &()).map(|()| Self(text.to_owned()))
    }
}

/// Several ids in the path. As with [`Id`], what cannot be one names nothing.
#[derive(Clone, Copy, Debug)]
pub struct Ids<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|ids| Self(ids.0)).map_err(|_| Problem::not_found("thing"))
    }
}

/// A JSON body that has been read and validated.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read_body(request, state).await?;
        parse(&bytes).map(|(body, _)| Self(body))
    }
}

/// A command of somebody who has logged in: who, what, under which key, and which version it must find.
#[derive(Debug)]
pub struct Command<T> {
    /// Who sends it.
    pub caller: Caller,
    /// What is in it.
    pub body: T,
    /// The version of `If-Match`.
    pub expected_version: Option<u64>,
    request: commands::Request,
}

impl<T> Command<T> {
    /// What goes into the events, and the key.
    pub fn request(&self) -> commands::Request {
        self.request.clone()
    }

    /// The same, with why somebody of the staff does it: for the record of what staff have done, and sealed with the
    /// key of whoever has written it.
    pub async fn request_because(&self, app: &App, reason: Option<&str>) -> Result<commands::Request, Problem> {
        let mut request = self.request();
        if let Some(reason) = reason {
            let key = PersonKey::load(&app.pool, &app.wrapping, self.caller.account).await?;
            let sealed = key.map(|key| json!(key.seal(reason)).to_string());
            let sealed = sealed.ok_or_else(|| Problem::not_found("account"))?;
            request.metadata = request.metadata.with(event::REASON, sealed);
        }
        Ok(request)
    }

    /// The same command, with why in what goes into its events.
    pub async fn because(self, app: &App, reason: impl FnOnce(&T) -> Option<&str>) -> Result<Self, Problem> {
        let request = self.request_because(app, reason(&self.body)).await?;
        Ok(Self { request, ..self })
    }

    /// The same command with a body that follows from what was sent.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Command<U> {
        let Self { caller, body, expected_version, request } = self;
        Command { caller, body: change(body), expected_version, request }
    }
}

/// Who sends a command, and under which key, before its body is read.
#[derive(Debug)]
pub(super) struct SentBy {
    /// Who sends it.
    pub(super) caller: Caller,
    expected_version: Option<u64>,
    key: Option<String>,
    id: RequestId,
    /// What the route takes: who is let in by it acts in that capacity.
    capacity: Option<Capability>,
    in_doubt: bool,
    method: String,
    path: String,
}

/// The key of an account's command: `asked` names method, path and body.
///
/// What is asked is hashed with the root secret, here and for guests: a body tells names and addresses, and what is kept
/// of it for ever must not confirm them to whoever tries some.
pub(super) fn account_key(app: &App, account: AccountId, key: &str, asked: &[&str]) -> CommandKey {
    let CommandKey { key, .. } = CommandKey::from_client(&account.to_string(), key, asked);
    CommandKey { key, fingerprint: app.secret.digest(FINGERPRINTS, asked) }
}

/// What the head of a request says of the command in it.
pub(super) fn sent_by(request: &Request) -> Result<SentBy, Problem> {
    let headers = request.headers();
    let caller = admitted(request.extensions())?;
    let (key, expected_version) = (idempotency_key(headers)?, expected_version(headers)?);
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let capacity = match access::of_route(&method, route) {
        Some(Access::Capability(capability)) => Some(capability),
        Some(Access::Open | Access::Account) | None => None,
    };
    let in_doubt = is_in_doubt(request);
    Ok(SentBy { caller, expected_version, key, id, capacity, in_doubt, method, path })
}

/// Whether another node may still carry a request out.
fn is_in_doubt(request: &Request) -> bool {
    request.extensions().get::<InDoubt>().is_some()
}

impl SentBy {
    /// The command. `canonical` says the same for every way to send the same body.
    pub(super) fn command<T>(self, app: &App, body: T, canonical: &str) -> Command<T> {
        let Self { caller, expected_version, key, id, capacity, in_doubt, method, path } = self;
        let metadata = id.stamp(Metadata::by_account(caller.account));
        let metadata = match capacity {
            Some(capability) => metadata.in_capacity(capability),
            None => metadata,
        };
        let request = match key {
            None => commands::Request::once(metadata),
            Some(text) => {
                let key = account_key(app, caller.account, &text, &[&method, &path, canonical]);
                let keyed = commands::Request::keyed(metadata.with("command_key", text), key);
                commands::Request { in_doubt, ..keyed }
            }
        };
        Command { caller, body, expected_version, request }
    }
}

impl<S: Send + Sync, T> FromRequest<S> for Command<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let sender = sent_by(&request)?;
        let bytes = read_body(request, state).await?;
        let (body, canonical) = parse(&bytes)?;
        Ok(sender.command(&App::from_ref(state), body, &canonical))
    }
}

/// A command that makes something new, which has no version that an `If-Match` could name: one is refused.
#[derive(Debug)]
pub struct Creation<T>(pub Command<T>);

impl<S: Send + Sync, T> FromRequest<S> for Creation<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let conditional = request.headers().contains_key(header::IF_MATCH);
        let command = Command::from_request(request, state).await?;
        if conditional {
            return Err(unexpected_if_match());
        }
        Ok(Self(command))
    }
}

/// A command of somebody without an account. In whose name its key counts, the route tells.
#[derive(Debug)]
pub struct Unnamed<T> {
    /// What is in it.
    pub body: T,
    key: Option<String>,
    asked: [String; 3],
    metadata: Metadata,
    in_doubt: bool,
}

/// What stands for a guest's key among those of `scope`.
pub fn guest_key(secret: &RootSecret, scope: &[&str], key: &str) -> Digest {
    let parts: Vec<&str> = scope.iter().copied().chain([key]).collect();
    secret.digest(GUEST_KEYS, &parts)
}

impl<T> Unnamed<T> {
    /// What goes into the events, and the key among those of `scope`, which only the root secret can tell again.
    pub fn request(&self, app: &App, scope: &[&str]) -> commands::Request {
        let Some(text) = &self.key else { return commands::Request::once(self.metadata.clone()) };
        let asked = self.asked.each_ref().map(String::as_str);
        let key = CommandKey {
            key: guest_key(&app.secret, scope, text),
            fingerprint: app.secret.digest(FINGERPRINTS, &asked),
        };
        let keyed = commands::Request::keyed(self.metadata.clone().with("command_key", text.clone()), key);
        commands::Request { in_doubt: self.in_doubt, ..keyed }
    }
}

impl<S: Send + Sync, T> FromRequest<S> for Unnamed<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers();
        if headers.contains_key(header::IF_MATCH) {
            return Err(unexpected_if_match());
        }
        let key = idempotency_key(headers)?;
        let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let in_doubt = is_in_doubt(&request);
        let bytes = read_body(request, state).await?;
        let (body, canonical) = parse(&bytes)?;
        let (asked, metadata) = ([method, path, canonical], id.stamp(Metadata::anonymous()));
        Ok(Self { body, key, asked, metadata, in_doubt })
    }
}

/// Refuses a condition on something that is not there yet.
pub(super) fn unexpected_if_match() -> Problem {
    let detail = "This makes something new, which has no version yet: send no If-Match.";
    Problem::bad_request("unexpected-if-match", detail)
}

/// A body with nothing in it, for commands that their path says in full.
#[derive(Clone, Copy, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The query of a read, and the position that its read model must have reached.
#[derive(Debug)]
pub struct Read<Q> {
    /// What is asked for.
    pub query: Q,
    /// `min_position`, from the query or the `Tradepost-Min-Position` header.
    pub min_position: Option<Position>,
    /// What the client has.
    pub known: Known,
}

impl<Q> Read<Q> {
    /// Waits until the read model shows everything up to the position that the caller has seen.
    pub async fn wait_for(&self, app: &App, projection: &'static str) -> Result<(), Problem> {
        match self.min_position {
            Some(position) => Ok(app.progress.wait_for(projection, position, READ_PATIENCE).await?),
            None => Ok(()),
        }
    }
}

/// A query with no parameters of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

impl<S: Send + Sync, Q: DeserializeOwned> FromRequestParts<S> for Read<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers, Self::pairs(parts)?)
    }
}

/// The names and values of a query.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<Q: DeserializeOwned> Read<Q> {
    /// The names and values of a query.
    pub(super) fn pairs(parts: &Parts) -> Result<Pairs<'_>, Problem> {
        let pairs: Pairs<'_> = serde_urlencoded::from_str(parts.uri.query().unwrap_or_default())
            .map_err(|error| Problem::bad_request("malformed-query", error.to_string()))?;
        if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(Problem::bad_request("malformed-query", "A query may not contain U+0000."));
        }
        Ok(pairs)
    }

    /// The read that these are the query of.
    pub(super) fn of(headers: &HeaderMap, pairs: Pairs<'_>) -> Result<Self, Problem> {
        let (own, rest): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == "min_position");
        let header = headers.get(MIN_POSITION_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let own = own.into_iter().map(|(_, value)| ("?min_position", value));
        let mut min_position = None;
        // Each must be good, though the first one counts.
        for (name, wanted) in own.chain(header.map(|value| (MIN_POSITION_HEADER, value))) {
            let position = wanted.parse().ok().filter(|position| *position >= 0);
            let malformed = || Problem::invalid_field(name, "invalid", "must be a position in the log");
            min_position.get_or_insert(position.ok_or_else(malformed)?);
        }
        // Back to text, since only the text form turns `20` into a number.
        let rest = serde_urlencoded::to_string(rest).unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(form_pairs(&rest));
        let query = serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let name = error.path().to_string();
            Problem::invalid_field(format!("?{name}"), "invalid", error.into_inner().to_string())
        })?;
        Ok(Self { query, min_position, known: Known::from_headers(headers) })
    }
}

fn form_pairs(text: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(text.as_bytes())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    checked_key(value.to_str().unwrap_or_default()).map(|key| Some(key.to_owned()))
}

/// The key of a command, if it may be one: in a header as over a socket.
pub(super) fn checked_key(key: &str) -> Result<&str, Problem> {
    let visible = key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if visible && (1..=LONGEST_KEY).contains(&key.len()) {
        return Ok(key);
    }
    let detail = format!("Idempotency-Key must be 1 to {LONGEST_KEY} visible ASCII characters.");
    Err(Problem::bad_request("malformed-idempotency-key", detail))
}

/// The version in `If-Match: "<version>.<position>"`. `*` asks for nothing that the command does not ask itself.
fn expected_version(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default().trim());
    let version = match (values.next(), values.next()) {
        (None, _) | (Some("*"), None) => return Ok(None),
        (Some(tag), None) => version_in(tag),
        (Some(_), Some(_)) => None,
    };
    let malformed = || Problem::bad_request("malformed-if-match", "If-Match must be one ETag as it was given, or *.");
    version.map(Some).ok_or_else(malformed)
}

/// The version in an ETag, if it is written exactly as we write them.
fn version_in(tag: &str) -> Option<u64> {
    let (version, position) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
    let (version, position): (u64, u64) = (version.parse().ok()?, position.parse().ok()?);
    (tag == format!("\"{version}.{position}\"")).then_some(version)
}

/// The body as it came, if it is not too large.
pub(crate) async fn read_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too-large", "Too large", "The body is too large.")
        }
        _ => Problem::bad_request("malformed-body", "The body broke off."),
    })
}

async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let media_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bytes = read_bytes(request, state).await?;
    let essence = media_type.as_deref().and_then(|value| value.split(';').next()).map(str::trim).unwrap_or_default();
    if !bytes.is_empty() && !essence.eq_ignore_ascii_case("application/json") {
        let detail = "The body must be JSON, with Content-Type: application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not JSON", detail));
    }
    Ok(bytes)
}

/// The body, and its canonical text: the same for every way to write the same JSON.
fn parse<T>(bytes: &[u8]) -> Result<(T, String), Problem>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request("malformed-json", format!("The body is not JSON: {error}.")))?;
    if !value.is_object() {
        // Derived readers would take an array for the fields in their order.
        return Err(Problem::invalid_field("", "invalid", "the body must be a JSON object"));
    }
    make_whole(&mut value);
    let mut canonical = String::new();
    write_canonical(&value, &mut canonical)?;
    let body: T = serde_path_to_error::deserialize(value).map_err(|error| {
        let segments = error.path().iter().map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => index.to_string(),
            named => named.to_string(),
        });
        let pointer = pointer(segments);
        Problem::invalid_field(pointer, "invalid", error.into_inner().to_string())
    })?;
    body.validate().map_err(|report| {
        let fields = report.iter().map(|(path, error)| FieldError {
            pointer: pointer(fields_of(&path.to_string())),
            code: "invalid",
            detail: error.to_string(),
        });
        Problem::invalid(fields.collect())
    })?;
    Ok((body, canonical))
}

/// A JSON pointer (RFC 6901).
fn pointer(segments: impl Iterator<Item = String>) -> String {
    segments.flat_map(|segment| ["/".to_owned(), segment.replace('~', "~0").replace('/', "~1")]).collect()
}

/// The segments of a path as the validator writes it: `variants[0].stock`. What it names are fields of ours, so the
/// marks between them are no part of a name.
fn fields_of(path: &str) -> impl Iterator<Item = String> {
    path.split(['.', '[']).filter(|segment| !segment.is_empty()).map(|segment| segment.trim_end_matches(']').to_owned())
}

/// Writes every number without a fraction as a whole one: `5.0` is 5 to JSON Schema and to many a writer.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let text = number.as_f64().filter(|float| float.abs() < EXACT).map(|float| float.to_string());
            if let Some(whole) = text.and_then(|text| text.parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        _ => {}
    }
}

/// JSON with the keys of every object in order and no spaces. Postgres cannot hold U+0000 in a text, so there is none.
fn write_canonical(value: &Value, text: &mut String) -> Result<(), Problem> {
    let checked = |read: &str| {
        let nul = read.contains('\0');
        if nul { Err(Problem::invalid_field("", "invalid", "text may not contain U+0000")) } else { Ok(()) }
    };
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                checked(name)?;
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(field, text)?;
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_canonical(item, text)?;
            }
            text.push(']');
        }
        Value::String(string) => {
            checked(string)?;
            text.push_str(&value.to_string());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_text_knows_no_order_of_keys_and_no_spaces() {
        let canonical = |text: &str| {
            let mut canonical = String::new();
            write_canonical(&serde_json::from_str(text).unwrap(), &mut canonical).map(|()| canonical).ok()
        };
        assert_eq!(
            canonical(r#"{ "b": [1, {"d": 2, "c": "x"}], "a": null }"#),
            Some(r#"{"a":null,"b":[1,{"c":"x","d":2}]}"#.to_owned())
        );
    }

    #[test]
    fn only_a_real_nul_is_refused_wherever_it_is() {
        let written = |text: &str| write_canonical(&serde_json::from_str(text).unwrap(), &mut String::new()).is_ok();
        assert!(written(r#"{"a":"\\u0000","\\u0000":1}"#), "six characters that spell it");
        for text in [r#"{"a":"x\u0000"}"#, r#"{"a\u0000":1}"#, r#"[{"a":["\u0000"]}]"#] {
            assert!(!written(text), "{text}");
        }
    }

    #[test]
    fn a_pointer_is_that_of_rfc_6901() {
        #[derive(Debug, Deserialize, Validate)]
        struct Outer {
            #[garde(dive)]
            forms: Vec<Form>,
            #[garde(skip)]
            #[serde(default)]
            #[expect(dead_code, reason = "only read")]
            names: std::collections::BTreeMap<String, u8>,
        }
        #[derive(Debug, Deserialize, Validate)]
        struct Form {
            #[garde(range(max = 5))]
            stock: u8,
        }
        for (body, pointer) in [
            (r#"{"forms":[{"stock":1},{"stock":6}]}"#, "/forms/1/stock"),
            (r#"{"forms":[{"stock":"x"}]}"#, "/forms/0/stock"),
            (r#"{"forms":[],"names":{"a/b~c":"x"}}"#, "/names/a~1b~0c"),
        ] {
            let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.document("")["errors"][0]["pointer"], pointer, "{body}");
        }
    }

    #[test]
    fn an_etag_names_a_version() {
        let version = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, value.parse().unwrap());
            expected_version(&headers).ok()
        };
        assert_eq!(version(r#""7.123""#), Some(Some(7)));
        assert_eq!(version("*"), Some(None));
        for malformed in [
            "7.123",
            r#"W/"7.123""#,
            r#""7""#,
            r#""7.""#,
            r#""7.x""#,
            r#""7.1.2""#,
            r#""+7.1""#,
            r#""07.1""#,
            r#""7.-1""#,
        ] {
            assert_eq!(version(malformed), None, "{malformed}");
        }
    }
}
