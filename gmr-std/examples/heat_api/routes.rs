//! What the service answers.
//!
//! `GET /stacks` is the one with something to see: like Heat, it describes
//! stacks of resources, some of which are stacks again. So a report that is
//! asked for under load finds workers deep in calls. These functions are kept
//! out of line so that an optimised program shows them one by one; a service
//! of your own needs no such attribute.

use core::hint::black_box;

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
    /// Everything that was refused.
    Refused,
}

impl Route {
    /// In the order of their discriminants.
    pub(crate) const ALL: [Route; 4] = [Route::Root, Route::Healthz, Route::Stacks, Route::Refused];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Route::Root => "/",
            Route::Healthz => "/healthz",
            Route::Stacks => "/stacks",
            Route::Refused => "refused",
        }
    }
}

/// Answers a request.
pub(crate) fn answer(request: &Request, stacks: &Stacks) -> (Route, Response) {
    // A query changes nothing here, so it is dropped.
    let path = request.target.split_once('?').map_or(&*request.target, |(path, _)| path);
    let route = match path {
        "/" => Route::Root,
        "/healthz" => Route::Healthz,
        "/stacks" => Route::Stacks,
        _ => return (Route::Refused, Response::refusal(Status::NotFound)),
    };
    if request.method != "GET" && request.method != "HEAD" {
        return (Route::Refused, Response::refusal(Status::MethodNotAllowed));
    }
    let response = match route {
        Route::Healthz => Response::text("OK\n"),
        Route::Stacks => json(&describe_stack("root", stacks, stacks.depth)),
        Route::Root | Route::Refused => json(&Versions {
            service: "heat-api",
            versions: [Version { id: "v1.0", status: "CURRENT", links: ["/stacks", "/healthz"] }],
        }),
    };
    (route, response)
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
