//! Traces: which request led to which events, and to which changes of read models.
//!
//! A place in a trace is a W3C `traceparent`. It arrives in the header of a request, goes into the metadata of the events
//! that the request causes, and is read from there by whatever follows the log, in this process or another. Nothing of
//! this happens, and nothing is stored, until a tracer is [`install`]ed.

use std::sync::OnceLock;
use std::time::SystemTime;

pub use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{Span, SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceState, Tracer};
use opentelemetry::{Context, SpanId, TraceId};
use sqlx::PgConnection;

use crate::Position;

/// The entry of an event's metadata.
pub const METADATA: &str = "traceparent";
/// A batch that a follower takes when it catches up may come from more requests than anybody wants to see.
const MOST_TRACES: i64 = 100;

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// From now on this process traces. The first tracer stays.
pub fn install(tracer: BoxedTracer) {
    TRACER.get_or_init(|| tracer);
}

/// From when to when something was done.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    began: SystemTime,
    ended: SystemTime,
}

impl Period {
    /// From `began` until now.
    pub fn since(began: SystemTime) -> Self {
        Self { began, ended: now() }
    }

    /// When it began.
    pub fn begin(self) -> SystemTime {
        self.began
    }

    /// When it was over.
    pub fn end(self) -> SystemTime {
        self.ended
    }
}

/// The time of this machine, which traces are about; the marketplace's may be another.
pub fn now() -> SystemTime {
    opentelemetry::time::now()
}

/// Something that is being traced. What happens because of it hangs below it.
#[derive(Clone, Debug)]
pub struct Traced(Context);

impl Traced {
    /// Begins to trace a request, below the place that its sender names; nothing if this process does not trace.
    pub fn request(name: String, traceparent: Option<&str>) -> Option<Self> {
        let parent = traceparent.and_then(parse).map_or_else(Context::new, remote);
        Self::begin(name, SpanKind::Server, &parent)
    }

    /// Begins to trace something else, below whatever this task is doing.
    pub fn here(name: &'static str) -> Option<Self> {
        Self::begin(name.to_owned(), SpanKind::Internal, &Context::current())
    }

    /// Nothing for what is not sampled, so that nobody does anything for it.
    fn begin(name: String, kind: SpanKind, parent: &Context) -> Option<Self> {
        let tracer = TRACER.get()?;
        let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), parent);
        let sampled = span.span_context().is_sampled();
        sampled.then(|| Self(parent.with_span(span)))
    }

    /// What a task does under this context hangs below.
    pub fn context(&self) -> Context {
        self.0.clone()
    }

    /// The id of the whole trace, in hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.span().span_context().trace_id().to_string()
    }

    /// The place, as it travels.
    pub fn traceparent(&self) -> String {
        let span = self.0.span();
        let place = span.span_context();
        format!("00-{}-{}-{:02x}", place.trace_id(), place.span_id(), place.trace_flags().to_u8())
    }

    /// Adds what is only known afterwards.
    pub fn note(&self, attribute: KeyValue) {
        self.0.span().set_attribute(attribute);
    }

    /// Something that was done because of this.
    pub fn did(&self, what: &'static str, when: Period, attributes: Vec<KeyValue>) {
        record(&self.0, what.to_owned(), when, attributes);
    }
}

fn record(parent: &Context, name: String, when: Period, attributes: Vec<KeyValue>) {
    let Some(tracer) = TRACER.get() else { return };
    let builder = tracer.span_builder(name).with_start_time(when.began).with_attributes(attributes);
    tracer.build_with_context(builder, parent).end_with_timestamp(when.ended);
}

/// Tells, below the requests that caused the events after `from` up to `to`, that a follower has taken them.
pub async fn taken(
    connection: &mut PgConnection,
    follower: &str,
    (from, to): (Position, Position),
    when: Period,
) -> Result<(), sqlx::Error> {
    if TRACER.get().is_none() || from == to {
        return Ok(());
    }
    let causes: Vec<String> = sqlx::query_scalar(
        "select distinct metadata ->> $3 from public.events
         where position > $1 and position <= $2 and metadata ->> $3 is not null limit $4",
    )
    .bind(from)
    .bind(to)
    .bind(METADATA)
    .bind(MOST_TRACES)
    .fetch_all(connection)
    .await?;
    for cause in causes.iter().filter_map(|cause| parse(cause)) {
        let attributes =
            vec![KeyValue::new("tradepost.follower", follower.to_owned()), KeyValue::new("tradepost.position", to)];
        record(&remote(cause), format!("follow {follower}"), when, attributes);
    }
    Ok(())
}

fn remote(place: SpanContext) -> Context {
    Context::new().with_remote_span_context(place)
}

/// Reads a `traceparent` of version 0; later versions begin in the same way.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = [(version, 2), (trace, 32), (span, 16), (flags, 2)].iter().all(|(part, length)| {
        part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    if !well_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let place = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    place.is_valid().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_written_and_nothing_else_is() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let place = parse(good).unwrap();
        assert!(place.is_sampled() && place.is_remote());
        assert_eq!(Traced(remote(place)).traceparent(), good);
        assert!(!parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        assert!(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some(), "a later version");
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn without_a_tracer_nothing_is_traced() {
        assert!(Traced::request("GET /".to_owned(), None).is_none());
        assert!(Traced::here("command").is_none());
    }
}
