//! Requests and answers as they travel between nodes: as HTTP writes them, without what concerns one connection only,
//! several in a message, each after its length.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request, response};
use axum::response::Response;

use super::Forwarded;
use crate::http::envelope::{Rendered, RequestId};
use crate::http::sender::Sender;

/// The id that the first node has given a request. A client cannot: its own is left behind.
const REQUEST_ID: HeaderName = HeaderName::from_static("tradepost-request-id");
/// Who sent the request to the first node. Here too, what a client says of it is left behind.
const SENDER: HeaderName = HeaderName::from_static("tradepost-sender");
/// What only nodes say.
const OF_NODES: [HeaderName; 2] = [REQUEST_ID, SENDER];
/// Headers that say something of one connection only.
const OF_A_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
];
/// More headers than the server takes from a client.
const MOST_HEADERS: usize = 128;
/// What most heads take.
const HEAD_BYTES: usize = 1_024;

/// What is written before each request or answer of a message: how long it is.
const LENGTH_BYTES: usize = 4;

/// How long a message of these requests or answers is.
pub(super) fn length<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> usize {
    parts.into_iter().map(|part| LENGTH_BYTES + part.as_ref().len()).sum()
}

/// A message of these requests or answers.
pub(super) fn together(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::with_capacity(length(parts));
    for part in parts {
        // A message is far shorter than 4 GiB.
        message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// The requests or answers of a message.
pub(super) fn parts(mut message: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = message.split_first_chunk::<LENGTH_BYTES>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        message = rest;
        Some(part)
    })
}

/// Writes a request with the id that it has been given, and who sends it.
pub(super) fn request(request: &Request, body: &[u8]) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut text = Vec::with_capacity(HEAD_BYTES + body.len());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    if let Some(id) = request.extensions().get::<RequestId>() {
        write_header(&mut text, &REQUEST_ID, id.as_str().as_bytes());
        if let Some(sender) = id.sender() {
            write_header(&mut text, &SENDER, sender.to_string().as_bytes());
        }
    }
    let others = request.headers().iter().filter(|(name, _)| !OF_NODES.contains(name));
    write_headers(&mut text, others);
    text.extend_from_slice(body);
    text
}

/// Writes an answer.
pub(super) fn response(parts: &response::Parts, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(HEAD_BYTES + body.len());
    for part in ["HTTP/1.1 ", parts.status.as_str(), " \r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    write_headers(&mut text, parts.headers.iter());
    text.extend_from_slice(body);
    text
}

fn write_headers<'a>(text: &mut Vec<u8>, headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) {
    for (name, value) in headers.filter(|(name, _)| !OF_A_CONNECTION.contains(name)) {
        write_header(text, name, value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}

fn write_header(text: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

/// Reads a request that another node has handed on.
pub(super) fn read_request(text: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(end) = head.parse(text).ok()? else { return None };
    let request = request::Builder::new().method(head.method?).uri(head.path?);
    let mut request = request.body(Body::from(text[end..].to_vec())).ok()?;
    read_headers(head.headers, request.headers_mut());
    let id = request.headers_mut().remove(REQUEST_ID)?;
    let sender = request.headers_mut().remove(SENDER);
    let sender: Option<Sender> = sender.and_then(|sender| sender.to_str().ok()?.parse().ok());
    if let Some(sender) = sender {
        request.extensions_mut().insert(sender);
    }
    request.extensions_mut().insert(RequestId::named(id.to_str().ok()?, sender));
    request.extensions_mut().insert(Forwarded);
    Some(request)
}

/// Reads an answer that another node has given.
pub(super) fn read_response(text: &[u8]) -> Option<Response> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = head.parse(text).ok()? else { return None };
    let mut response = Response::new(Body::from(text[end..].to_vec()));
    *response.status_mut() = StatusCode::from_u16(head.code?).ok()?;
    read_headers(head.headers, response.headers_mut());
    response.extensions_mut().insert(Rendered);
    Some(response)
}

fn read_headers(from: &[httparse::Header<'_>], to: &mut HeaderMap) {
    for header in from {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok();
        let value = HeaderValue::from_bytes(header.value).ok();
        to.extend(name.zip(value));
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::Method;

    use super::*;

    #[tokio::test]
    async fn a_request_arrives_as_it_was_sent_with_the_id_and_the_sender_that_the_first_node_gave_it() {
        let mut sent =
            Request::builder().method(Method::POST).uri("/api/v1/listings?a=%20b").body(Body::empty()).unwrap();
        let headers = sent.headers_mut();
        headers.append("idempotency-key", HeaderValue::from_static("k 1"));
        headers.append("accept", HeaderValue::from_static("a"));
        headers.append("accept", HeaderValue::from_static("b"));
        headers.append("x-binary", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        headers.append("connection", HeaderValue::from_static("keep-alive"));
        headers.append(REQUEST_ID, HeaderValue::from_static("made up by a client"));
        headers.append(SENDER, HeaderValue::from_static("198.51.100.7 curl/8"));
        let sender = "192.0.2.77 firefox/128".parse().ok();
        sent.extensions_mut().insert(RequestId::named("given", sender));
        let body = b"{\"a\":\r\n\r\n1}";
        let arrived = read_request(&request(&sent, body)).unwrap();
        assert_eq!((arrived.method(), arrived.uri()), (sent.method(), sent.uri()));
        let id = arrived.extensions().get::<RequestId>().unwrap();
        assert_eq!((id.as_str(), id.sender()), ("given", sender));
        assert_eq!(arrived.extensions().get::<Sender>().copied(), sender);
        assert!(arrived.extensions().get::<Forwarded>().is_some());
        for name in ["connection", REQUEST_ID.as_str(), SENDER.as_str()] {
            sent.headers_mut().remove(name);
        }
        assert_eq!(arrived.headers(), sent.headers());
        assert_eq!(to_bytes(arrived.into_body(), usize::MAX).await.unwrap(), body.as_slice());
    }

    #[test]
    fn a_client_cannot_say_who_sends_its_request() {
        let mut sent = Request::new(Body::empty());
        sent.headers_mut().append(SENDER, HeaderValue::from_static("198.51.100.7 curl/8"));
        sent.extensions_mut().insert(RequestId::named("given", None));
        let arrived = read_request(&request(&sent, b"")).unwrap();
        assert_eq!(arrived.extensions().get::<RequestId>().unwrap().sender(), None);
        assert!(arrived.headers().is_empty() && arrived.extensions().get::<Sender>().is_none());
    }

    #[tokio::test]
    async fn an_answer_arrives_as_it_was_given() {
        let given = Response::builder().status(StatusCode::CREATED).header("location", "/x").header("etag", "\"1.2\"");
        let (parts, ()) = given.body(()).unwrap().into_parts();
        let arrived = read_response(&response(&parts, b"{}")).unwrap();
        assert_eq!((arrived.status(), arrived.headers()), (parts.status, &parts.headers));
        assert_eq!(to_bytes(arrived.into_body(), usize::MAX).await.unwrap(), b"{}".as_slice());
    }

    #[test]
    fn what_travels_together_arrives_one_by_one_and_what_is_cut_off_does_not() {
        let sent = [b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let message = together(&sent);
        assert_eq!(message.len(), length(&sent));
        assert!(parts(&message).eq(sent.iter().map(Vec::as_slice)));
        assert_eq!(parts(&message[..message.len() - 1]).count(), 2);
        assert_eq!(parts(&[]).count(), 0);
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for text in [b"".as_slice(), b"POST", b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
            assert!(read_request(text).is_none(), "{text:?}");
            assert!(read_response(text).is_none(), "{text:?}");
        }
    }
}
