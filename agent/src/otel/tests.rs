//! Against a collector of our own, which keeps what it was told.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message as _;
use tracing::field::Empty;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::control::Paused;
use crate::status::snapshot::tests::watch;
use crate::status::snapshot::{Snapshot, Source};
use crate::status::{History, Status};

/// Takes one request, and tells its path and its body.
fn collector() -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there are free ports");
    let address = listener.local_addr().expect("it is bound");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let (mut request, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut piece).expect("it goes on");
            request.extend_from_slice(&piece[..length]);
            let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let whole: usize = end + 4 + length.unwrap_or(0);
            if request.len() >= whole {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it listens");
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return tell.send((path, request[end + 4..].to_vec())).unwrap_or_default();
            }
        }
    });
    (address, told)
}

#[test]
fn a_collector_gets_the_steps_of_a_delivery_as_one_trace() {
    let (address, told) = collector();
    let exporter = SpanExporter::builder().with_http().with_http_client(post::Post);
    let exporter =
        exporter.with_endpoint(format!("http://{address}/v1/traces")).build().expect("all is there");
    let (layer, provider) = spans(exporter);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let delivery = tracing::info_span!(target: "delivery", parent: None, "delivery", watch = "sensors");
        let step = tracing::info_span!(target: "delivery", parent: &delivery, "step",
            otel.name = "sending", otel.status_code = Empty, error.type = Empty);
        step.record("otel.status_code", "error");
        step.record("error.type", "connection-lost");
        tracing::info_span!(target: "skiff::elsewhere", "not exported").in_scope(|| {});
    });
    provider.shutdown().expect("it is sent");
    let (path, body) = told.recv_timeout(Duration::from_secs(60)).expect("it came");
    assert_eq!(path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
    let spans = request.resource_spans[0].scope_spans.iter().flat_map(|scope| &scope.spans);
    let spans: BTreeMap<_, _> = spans.map(|span| (span.name.as_str(), span)).collect();
    assert_eq!(spans.keys().collect::<Vec<_>>(), [&"delivery", &"sending"]);
    let (delivery, sending) = (spans["delivery"], spans["sending"]);
    assert_eq!((&sending.parent_span_id, &sending.trace_id), (&delivery.span_id, &delivery.trace_id));
    assert_eq!(sending.status.as_ref().map(|status| status.code), Some(2), "2 is an error");
    let text = |key: &str, of: &opentelemetry_proto::tonic::trace::v1::Span| {
        let found = of.attributes.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    assert_eq!(text("watch", delivery).as_deref(), Some("sensors"));
    assert_eq!(text("error.type", sending).as_deref(), Some("connection-lost"));
}

#[test]
fn a_collector_gets_the_figures_that_prometheus_gets() {
    let (address, told) = collector();
    let home = tempfile::tempdir().expect("a folder");
    let snapshot = Snapshot { watches: vec![watch()], ..Snapshot::empty(Source::Agent) };
    let control = Arc::new(Control {
        status: Arc::new(Status::default()),
        board: tokio::sync::watch::channel(Arc::new(snapshot)).1,
        orders: tokio::sync::mpsc::channel(1).0,
        reloads: tokio::sync::mpsc::channel(1).0,
        journal: None,
        roster: Arc::default(),
        paused: Arc::new(Paused::these(home.path(), std::iter::empty())),
        state_dir: home.path().to_owned(),
        history: Arc::new(History::default()),
        settings: skiff_config::Control::default(),
    });
    let exporter = MetricExporter::builder().with_http().with_http_client(post::Post);
    let exporter =
        exporter.with_endpoint(format!("http://{address}/v1/metrics")).build().expect("all is there");
    // Dropped, it sends what there is.
    meters(&control, exporter).shutdown().expect("it is sent");
    let (path, body) = told.recv_timeout(Duration::from_secs(60)).expect("it came");
    assert_eq!(path, "/v1/metrics");
    let request = ExportMetricsServiceRequest::decode(&*body).expect("OTLP");
    let metrics = request.resource_metrics[0].scope_metrics.iter().flat_map(|scope| &scope.metrics);
    let metrics: BTreeMap<_, _> = metrics.map(|metric| (metric.name.as_str(), metric)).collect();
    let Some(Data::Sum(sum)) = &metrics["skiff_delivered_files"].data else { panic!("{metrics:?}") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(3.0)));
    assert_eq!(sum.data_points[0].attributes[0].key, "watch");
    assert!(matches!(metrics["skiff_backlog_items"].data, Some(Data::Gauge(_))));
    let names =
        families(&control.look(), &control.status).into_iter().filter(|family| !family.samples.is_empty());
    for Family { name, kind, .. } in names.filter(|family| family.kind != Kind::Histogram) {
        let name =
            if kind == Kind::Counter { name.strip_suffix("_total").expect("a counter's") } else { name };
        assert!(metrics.contains_key(name), "{name}");
    }
}

#[test]
fn a_collector_that_is_away_is_not_waited_for_long() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("there are free ports");
    let endpoint = format!("http://{}/v1/traces", nobody.local_addr().expect("it is bound"));
    let exporter = SpanExporter::builder().with_http().with_http_client(post::Post);
    let (layer, provider) = spans(exporter.with_endpoint(endpoint).build().expect("all is there"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        drop(tracing::info_span!(target: "delivery", "delivery"));
    });
    let begun = Instant::now();
    // It listens and never answers.
    let _ = provider.shutdown();
    assert!(begun.elapsed() < Duration::from_secs(9));
}
