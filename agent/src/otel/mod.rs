//! Figures and traces for an OpenTelemetry collector, by OTLP over plain HTTP.
//!
//! Only in builds with the feature `otel`, and only where `OTEL_EXPORTER_OTLP_ENDPOINT` says where to; the other variables
//! of the OpenTelemetry specification hold as well. A sink: a collector that is away costs figures and traces, nothing
//! else. Lacks TLS: a collector on the same machine passes on what is to leave it.

mod post;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::control::Control;
use crate::metrics::{Family, Kind, families};

/// The target of the spans that are exported; nobody logs it.
pub const DELIVERY: &str = "delivery";
/// All figures of one round come from one look.
const FRESH: Duration = Duration::from_secs(1);

static TRACES: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Exports the spans of deliveries, where that is wanted.
pub fn traces<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let exporter =
        is_wanted().then(|| SpanExporter::builder().with_http().with_http_client(post::Post).build());
    let (layer, provider) = spans(told(exporter?)?);
    let _ = TRACES.set(provider);
    Some(layer)
}

fn spans<S>(exporter: SpanExporter) -> (impl Layer<S>, SdkTracerProvider)
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let provider =
        SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("skiff"));
    (layer.with_filter(Targets::new().with_target(DELIVERY, LevelFilter::INFO)), provider)
}

/// Sends what is still to be sent. Blocks for a few seconds at most.
pub fn end() {
    if let Some(provider) = TRACES.get() {
        let _ = provider.shutdown();
    }
}

/// Exports the figures that Prometheus gets, where that is wanted, until it is dropped.
pub(crate) fn figures(control: &Arc<Control>) -> Option<SdkMeterProvider> {
    let exporter =
        is_wanted().then(|| MetricExporter::builder().with_http().with_http_client(post::Post).build());
    Some(meters(control, told(exporter?)?))
}

fn meters(control: &Arc<Control>, exporter: MetricExporter) -> SdkMeterProvider {
    let provider =
        SdkMeterProvider::builder().with_resource(resource()).with_periodic_exporter(exporter).build();
    let meter = provider.meter("skiff");
    let look = Arc::new(Look { control: Arc::clone(control), last: Mutex::default() });
    for Family { name, kind, help, .. } in look.families() {
        let look = Arc::clone(&look);
        match kind {
            Kind::Counter => {
                // As the specification has it; what turns it into Prometheus' form puts the ending back.
                let plain = name.strip_suffix("_total").unwrap_or(name);
                let counter = meter.f64_observable_counter(plain).with_description(help);
                counter.with_callback(move |out| look.observe(name, "", out)).build();
            }
            Kind::Gauge => {
                let gauge = meter.f64_observable_gauge(name).with_description(help);
                gauge.with_callback(move |out| look.observe(name, "", out)).build();
            }
            Kind::Histogram => {
                for ending in ["_sum", "_count"] {
                    let look = Arc::clone(&look);
                    let counter = meter.f64_observable_counter(format!("{name}{ending}"));
                    let counter = counter.with_description(help);
                    counter.with_callback(move |out| look.observe(name, ending, out)).build();
                }
            }
        }
    }
    provider
}

fn is_wanted() -> bool {
    std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty())
}

fn told<E>(exporter: Result<E, ExporterBuildError>) -> Option<E> {
    // Logging may not have begun yet.
    exporter.inspect_err(|error| eprintln!("skiff: nothing is exported to OpenTelemetry: {error}")).ok()
}

fn resource() -> Resource {
    let builder = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", crate::machine::sender()),
    ]);
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => builder.build(),
        None => builder.with_service_name("skiff").build(),
    }
}

/// Figures as they were a moment ago.
struct Look {
    control: Arc<Control>,
    last: Mutex<Option<(Instant, Vec<Family>)>>,
}

impl Look {
    fn families(&self) -> Vec<Family> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, families)) if at.elapsed() < FRESH => families.clone(),
            _ => {
                let families = families(&self.control.look(), &self.control.status);
                *last = Some((Instant::now(), families.clone()));
                families
            }
        }
    }

    fn observe(&self, name: &str, ending: &str, out: &dyn AsyncInstrument<f64>) {
        let families = self.families();
        let family = families.into_iter().find(|family| family.name == name);
        let samples = family.into_iter().flat_map(|family| family.samples);
        for sample in samples.filter(|sample| sample.ending == ending) {
            let labels: Vec<_> =
                sample.labels.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
            out.observe(sample.value, &labels);
        }
    }
}
