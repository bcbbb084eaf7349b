//! What the service answers.
//!
//! `GET /stacks` asks the database and has a job done, all within the time that a
//! request may take. `GET /debug/gmr` is a report for the client alone, as text or
//! with `?format=json` as JSON. `GET /debug/block?ms=N` does what no handler
//! should: it blocks the worker that polls it, for a report to show.
//!
//! The two below `/debug` are there only if the service listens on this machine
//! alone: a report shows the inside of the service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use gmr_tokio::{Handle, View};
use serde::Serialize;
use tokio::{sync::mpsc, time};

use crate::{
    background::Job,
    config::Config,
    database::{Database, Row},
};

/// A worker is not blocked for longer, whatever the client wants.
const LONGEST_BLOCK: Duration = Duration::from_secs(60);

/// What handlers need.
#[derive(Clone)]
struct Service {
    database: Arc<Database>,
    jobs: mpsc::Sender<Job>,
    request: Duration,
}

pub(crate) fn router(
    config: &Config,
    database: Arc<Database>,
    jobs: mpsc::Sender<Job>,
    addr: SocketAddr,
    reports: Option<Handle>,
) -> Router {
    let service = Service { database, jobs, request: config.server.request() };
    let mut router = Router::new()
        .route("/", get(versions))
        .route("/healthz", get(|| async { "OK\n" }))
        .route("/stacks", get(stacks))
        .with_state(service);
    if addr.ip().is_loopback() {
        router = router.route("/debug/block", get(block));
        if let Some(reports) = reports {
            router = router.route("/debug/gmr", get(report).with_state(reports));
        }
    }
    router
}

async fn versions() -> Response {
    #[derive(Serialize)]
    struct Versions {
        service: &'static str,
        versions: [&'static str; 1],
    }
    json(&Versions { service: "heat-api", versions: ["v1.0"] })
}

async fn stacks(State(service): State<Service>) -> Response {
    match time::timeout(service.request, describe(&service)).await {
        Ok(Some(row)) => {
            #[derive(Serialize)]
            struct Stacks {
                created: u64,
                cleaned: u64,
            }
            json(&Stacks { created: row.created, cleaned: row.cleaned })
        }
        Ok(None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

/// Both halves at once; `None`: the service is about to stop.
async fn describe(service: &Service) -> Option<Row> {
    let (row, sent) = tokio::join!(service.database.read(), service.jobs.send(Job));
    sent.ok().map(|()| row)
}

/// A report is not cheap: asked for too often, it is refused.
async fn report(State(reports): State<Handle>, RawQuery(query): RawQuery) -> Response {
    let is_json = parameter(query.as_deref(), "format") == Some("json");
    let view = if is_json { View::Json } else { View::Text };
    // It waits, which no worker should.
    let report = tokio::task::spawn_blocking(move || reports.report(view)).await;
    let content_type = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    match report {
        Ok(Ok(report)) => ([(header::CONTENT_TYPE, content_type)], report).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Blocks the worker: every task that it should poll waits meanwhile.
async fn block(RawQuery(query): RawQuery) -> Response {
    let Some(ms) = parameter(query.as_deref(), "ms").and_then(|ms| ms.parse().ok()) else {
        return (StatusCode::BAD_REQUEST, "ms=N is missing\n").into_response();
    };
    std::thread::sleep(Duration::from_millis(ms).min(LONGEST_BLOCK));
    "done\n".into_response()
}

/// A parameter of a query.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn json(document: &impl Serialize) -> Response {
    match serde_json::to_string(document) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
