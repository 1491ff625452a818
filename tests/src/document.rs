//! What the OpenAPI document says of answers. Every answer that a [`crate::client`] gets is held against it, so whatever a
//! test asks for is served as documented, or the test fails.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::Value;

use crate::client::Answer;
use crate::fail::OrFail;

/// Headers that are described and not in every answer.
const SOMETIMES: [&str; 2] = ["Idempotency-Replayed", "ETag"];

static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::of_the_server);

/// The document of a server with all routes.
struct Document {
    whole: Value,
    /// Every path of it, parameters in braces.
    paths: Vec<String>,
    /// By operation, status and media type, made when they are needed.
    validators: Mutex<HashMap<[String; 4], Option<Arc<Validator>>>>,
}

/// What keeps an answer from being what the document describes; nothing where nothing is described, or served, at that
/// address.
pub fn faults(method: &str, url: &str, answer: &Answer) -> Vec<String> {
    // Not every node serves everything.
    if answer.slug() == Some("no-such-route") {
        return Vec::new();
    }
    let path = url.split('?').next().unwrap_or_default();
    let method = method.to_lowercase();
    match DOCUMENT.template(path, &method) {
        Some(template) => DOCUMENT.faults(&method, template, answer),
        None => Vec::new(),
    }
}

impl Document {
    fn of_the_server() -> Self {
        let whole = serde_json::to_value(api::http::document(true)).or_fail("write the document down");
        let paths = whole["paths"].as_object().or_fail("find the paths of the document").keys().cloned().collect();
        Self { whole, paths, validators: Mutex::default() }
    }

    /// The path of an operation that this is one of; one that is written so goes before one with parameters.
    fn template(&self, path: &str, method: &str) -> Option<&str> {
        let asked: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let fits = |template: &&String| {
            let segments = template.split('/');
            segments.clone().count() == asked.len()
                && segments.zip(&asked).all(|(segment, asked)| segment.starts_with('{') || segment == *asked)
        };
        let template = self.paths.iter().filter(fits).min_by_key(|template| template.matches('{').count())?;
        self.whole["paths"][template][method].is_object().then_some(template)
    }

    fn faults(&self, method: &str, template: &str, answer: &Answer) -> Vec<String> {
        let described = &self.whole["paths"][template][method]["responses"][answer.status.to_string()];
        let described = match described["$ref"].as_str() {
            Some(reference) => self.whole.pointer(reference.trim_start_matches('#')).or_fail("resolve a reference"),
            None => described,
        };
        if !described.is_object() {
            return vec![format!("nothing is described as {}", answer.status)];
        }
        let headers = described["headers"].as_object().into_iter().flat_map(|headers| headers.keys());
        let missing = headers.filter(|name| !SOMETIMES.contains(&name.as_str()) && answer.header(name).is_none());
        let missing = missing.map(|name| format!("no {name}"));
        missing.chain(self.faults_of_body(method, template, described, answer)).collect()
    }

    fn faults_of_body(&self, method: &str, template: &str, described: &Value, answer: &Answer) -> Vec<String> {
        if answer.text.is_empty() {
            return Vec::new();
        }
        let media_type = answer.header("content-type").unwrap_or_default();
        let status = answer.status.to_string();
        let key = [method, template, &status, media_type].map(str::to_owned);
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(key).or_insert_with(|| self.validator(described, media_type)).clone();
        drop(validators);
        let Some(validator) = validator else {
            // Text, a page or a picture has no schema.
            let known = described["content"][media_type].is_object() || !media_type.contains("json");
            return if known { Vec::new() } else { vec![format!("nothing is described as {media_type}")] };
        };
        validator.iter_errors(&answer.body).map(|error| format!("{}: {error}", error.instance_path)).collect()
    }

    fn validator(&self, described: &Value, media_type: &str) -> Option<Arc<Validator>> {
        let mut schema = described["content"][media_type]["schema"].clone();
        if !media_type.contains("json") || !schema.is_object() {
            return None;
        }
        schema["components"] = self.whole["components"].clone();
        Some(Arc::new(jsonschema::draft202012::new(&schema).or_fail("understand a schema")))
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Value) -> Answer {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Answer { status, headers, text: body.to_string(), body, position: None }
    }

    #[test]
    fn what_is_not_as_described_is_a_fault() {
        let of = |path: &str, answer: &Answer| faults("GET", path, answer);
        let points = json!({ "balances": [], "rules": [], "items": [], "next_cursor": null });
        assert_eq!(of("/api/v1/points", &answer(418, points)), ["nothing is described as 418"]);
        let nothing = of("/api/v1/points?limit=1", &answer(200, json!({ "items": 7 })));
        assert!(nothing.iter().any(|fault| fault.contains("items")), "{nothing:?}");
        let other = Answer { headers: HeaderMap::new(), ..answer(429, json!({})) };
        assert!(of("/api/v1/listings", &other).iter().any(|fault| fault == "no Retry-After"));
        assert_eq!(of("/api/v1/no/such/route", &answer(404, json!({}))), [""; 0]);
    }
}
