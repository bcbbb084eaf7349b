//! What the service answers.
//!
//! `GET /stacks` is the one with something to see: like Heat, it describes
//! stacks of resources, some of which are stacks again. So a report that is
//! asked for under load finds workers deep in calls. These functions are kept
//! out of line so that an optimised program shows them one by one; a service
//! of your own needs no such attribute.
//!
//! `GET /debug/gmr` is a Guru Meditation Report of the service, as text, or with
//! `?format=json` as JSON: the same as `kill -USR2` writes, but to the client
//! alone.

use core::hint::black_box;

use gmr_std::{Handle, View};
use serde::Serialize;

use crate::{
    config::Stacks,
    http::{Request, Response, Status},
};

/// Where a request went, for the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    Root,
    Healthz,
    Stacks,
    Report,
    /// Everything that was refused.
    Refused,
}

impl Route {
    /// In the order of their discriminants.
    pub(crate) const ALL: [Route; 5] =
        [Route::Root, Route::Healthz, Route::Stacks, Route::Report, Route::Refused];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Route::Root => "/",
            Route::Healthz => "/healthz",
            Route::Stacks => "/stacks",
            Route::Report => "/debug/gmr",
            Route::Refused => "refused",
        }
    }
}

/// Answers a request. Without `reports` there is no `/debug/gmr`.
pub(crate) fn answer(
    request: &Request,
    stacks: &Stacks,
    reports: Option<Handle>,
) -> (Route, Response) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let route = match path {
        "/" => Route::Root,
        "/healthz" => Route::Healthz,
        "/stacks" => Route::Stacks,
        "/debug/gmr" if reports.is_some() => Route::Report,
        _ => return (Route::Refused, Response::refusal(Status::NotFound)),
    };
    if request.method != "GET" && request.method != "HEAD" {
        return (Route::Refused, Response::refusal(Status::MethodNotAllowed));
    }
    let response = match route {
        Route::Healthz => Response::text("OK\n"),
        Route::Stacks => json(&describe_stack("root", stacks, stacks.depth)),
        Route::Report => report(reports, query),
        Route::Root | Route::Refused => json(&Versions {
            service: "heat-api",
            versions: [Version { id: "v1.0", status: "CURRENT", links: ["/stacks", "/healthz"] }],
        }),
    };
    (route, response)
}

/// A report is not cheap: asked for too often, it is refused.
fn report(reports: Option<Handle>, query: &str) -> Response {
    let is_json = query.split('&').any(|pair| pair == "format=json");
    let view = if is_json { View::Json } else { View::Text };
    match reports.map(|reports| reports.report(view)) {
        Some(Ok(report)) if is_json => Response::json(report),
        Some(Ok(report)) => Response::text(report),
        Some(Err(_)) | None => Response::refusal(Status::ServiceUnavailable),
    }
}

fn json(document: &impl Serialize) -> Response {
    // Our documents have no map keys that JSON lacks, so this does not fail;
    // if it ever does, the client learns it and the worker lives on.
    match serde_json::to_string(document) {
        Ok(text) => Response::json(text),
        Err(_) => Response::refusal(Status::InternalError),
    }
}

#[derive(Serialize)]
struct Versions {
    service: &'static str,
    versions: [Version; 1],
}

#[derive(Serialize)]
struct Version {
    id: &'static str,
    status: &'static str,
    links: [&'static str; 2],
}

#[derive(Serialize)]
struct Stack {
    name: String,
    resources: Vec<Resource>,
}

#[derive(Serialize)]
struct Resource {
    name: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested: Option<Stack>,
}

#[inline(never)]
fn describe_stack(name: &str, template: &Stacks, levels: u32) -> Stack {
    let resources = (1..=template.resources_per_stack)
        .map(|number| describe_resource(name, number, template, levels))
        .collect();
    Stack { name: name.to_owned(), resources }
}

#[inline(never)]
fn describe_resource(stack: &str, number: u32, template: &Stacks, levels: u32) -> Resource {
    let name = format!("{stack}-{number}");
    // The first resource of each stack is a stack, until the levels are used
    // up: a chain, not a tree, so that the answer stays small.
    let nested = (number == 1 && levels > 1).then(|| describe_stack(&name, template, levels - 1));
    Resource { fingerprint: format!("{:016x}", fingerprint(name.as_bytes())), name, nested }
}

/// Stands for the work that a real service does: FNV-1a, many times over.
#[inline(never)]
fn fingerprint(bytes: &[u8]) -> u64 {
    const ROUNDS: u32 = 1_000;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..ROUNDS {
        for &byte in black_box(bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
