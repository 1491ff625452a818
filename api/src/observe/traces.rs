//! Sending traces to a collector, over OTLP with protobuf on HTTP.
//!
//! Off unless `traces.otlp_endpoint` is set. What is traced, and how a trace travels through the log, is in
//! [`eventstore::trace`]; this is only the way out.

use std::time::Duration;

use eventstore::trace;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};

use crate::config;

/// How often what has been traced is sent.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// Spans that wait to be sent; further ones are lost, and trading goes on.
const MOST_WAITING: usize = 16_384;
/// How long the collector may take for what waits when the process ends.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// The way to the collector. Ended by [`Traces::stop`], which sends what waits.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts to trace if a collector is configured.
    pub fn start(settings: &config::Traces) -> Result<Self, ExporterBuildError> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
        let limits = BatchConfigBuilder::default().with_scheduled_delay(SEND_EVERY).with_max_queue_size(MOST_WAITING);
        let sending = BatchSpanProcessor::builder(exporter).with_batch_config(limits.build()).build();
        let ratio = f64::from(settings.sample_percent) / 100.0;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(sending)
            // Whoever sends a request that is part of a trace has decided already.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(Resource::builder().with_service_name("tradepost").build())
            .build();
        trace::install(BoxedTracer::new(Box::new(provider.tracer("tradepost"))));
        Ok(Self(Some(provider)))
    }

    /// Sends what waits, for a bounded time.
    pub async fn stop(self) {
        let Some(provider) = self.0 else { return };
        let stopping = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(STOP_PATIENCE));
        match stopping.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "some traces were not sent"),
            Err(error) => tracing::warn!(%error, "some traces were not sent"),
        }
    }
}
