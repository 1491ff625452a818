//! A collector of traces, as small as it can be: takes OTLP over HTTP and keeps the spans.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::fail::OrFail;

/// A span that has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    arriving: mpsc::UnboundedReceiver<Collected>,
    /// What has come so far.
    pub spans: Vec<Collected>,
}

/// A span that was sent.
#[derive(Clone, Debug)]
pub struct Collected {
    /// What was done.
    pub name: String,
    /// In hexadecimal digits, as in a `traceparent`.
    pub trace_id: String,
    /// Its own id.
    pub id: String,
    /// The id of the span above; empty for the first of a trace.
    pub parent: String,
    /// Whether it ended no sooner than it began.
    pub in_order: bool,
    /// All of it, as a text to search in.
    pub text: String,
}

impl From<Span> for Collected {
    fn from(span: Span) -> Self {
        Self {
            text: format!("{span:?}"),
            trace_id: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            in_order: span.start_time_unix_nano <= span.end_time_unix_nano,
            name: span.name,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Collector {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.or_fail("listen for traces");
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().or_fail("tell the port"));
        let (tell, arriving) = mpsc::unbounded_channel();
        let router = Router::new().route("/v1/traces", post(take)).with_state(tell);
        tokio::spawn(async move { axum::serve(listener, router).await.or_fail("serve the collector") });
        Self { endpoint, arriving, spans: Vec::new() }
    }

    /// Where traces are sent to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Waits until so many spans of each of these names have come for a trace, and gives all its spans.
    pub async fn trace(&mut self, trace_id: &str, names: &[(&str, usize)]) -> Vec<Collected> {
        loop {
            let of_trace: Vec<_> = self.spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
            let count = |name: &str| of_trace.iter().filter(|span| span.name == name).count();
            let missing: Vec<_> = names.iter().filter(|(name, wanted)| count(name) < *wanted).collect();
            if missing.is_empty() {
                return of_trace;
            }
            let waiting = format!("wait longer for {missing:?} of {trace_id}");
            let span = tokio::time::timeout(PATIENCE, self.arriving.recv()).await.or_fail(&waiting);
            self.spans.push(span.or_fail("hear of more spans"));
        }
    }

    /// All spans that have come.
    pub fn all(&mut self) -> &[Collected] {
        while let Ok(span) = self.arriving.try_recv() {
            self.spans.push(span);
        }
        &self.spans
    }
}

async fn take(State(tell): State<mpsc::UnboundedSender<Collected>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).or_fail("read what was traced");
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    for span in scopes.flat_map(|scope| scope.spans) {
        // The test may have ended.
        let _ = tell.send(span.into());
    }
}
