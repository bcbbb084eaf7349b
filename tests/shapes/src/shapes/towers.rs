//! Services of tower: layers around a function.

use std::convert::Infallible;
use std::time::Duration;

use tower::retry::Policy;
use tower::util::{BoxCloneService, BoxService, MapResponseLayer};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use super::calls::rest;
use crate::parked::{self, keep, spawn};

async fn serve(number: u32) -> Result<u32, Infallible> {
    Ok(rest(number).await) // @serve
}

async fn layered() {
    let mut service = ServiceBuilder::new()
        .timeout(Duration::from_secs(3600))
        .concurrency_limit(3)
        .layer(MapResponseLayer::new(|number: u32| number + 1))
        .service_fn(serve);
    let service = service.ready().await.expect("a service");
    let _ = service.call(1).await; // @layered
}

async fn one_shot() {
    let _ = service_fn(serve).oneshot(1).await; // @one_shot
}

async fn boxed() {
    let service = BoxService::new(service_fn(serve));
    let _ = service.oneshot(1).await; // @boxed_service
}

async fn boxed_clone() {
    let service = BoxCloneService::new(service_fn(|number| async move {
        serve(number).await // @service_closure
    }));
    let _ = service.clone().oneshot(1).await; // @boxed_clone
}

async fn limited() {
    let service = ServiceBuilder::new().concurrency_limit(1).service_fn(serve);
    let mut first = service.clone();
    first.ready().await.expect("a service");
    keep(first);
    let _ = service.oneshot(1).await; // @limited
}

async fn mapped() {
    let service = service_fn(serve)
        .map_err(|never| never)
        .and_then(|number| async move { Ok::<u32, Infallible>(number) });
    let _ = service.oneshot(1).await; // @mapped_service
}

#[derive(Clone)]
struct Again;

impl Policy<u32, u32, Infallible> for Again {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _request: &mut u32,
        _result: &mut Result<u32, Infallible>,
    ) -> Option<Self::Future> {
        None
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

async fn retried() {
    let service = ServiceBuilder::new().retry(Again).service_fn(serve);
    let _ = service.oneshot(1).await; // @retried_service
}

async fn buffered() {
    let service = ServiceBuilder::new().buffer(3).service_fn(serve);
    // As long as somebody may call, there is a worker.
    keep(service.clone());
    let _ = service.oneshot(1).await; // @buffered_service
}

async fn loaded() {
    let service = ServiceBuilder::new().load_shed().concurrency_limit(1).service_fn(serve);
    let _ = service.oneshot(1).await; // @load_shed
}

pub(super) fn spawn_all() {
    spawn("layers", "layered > {serve > rest > ~Sleep, ~Sleep}", layered());
    spawn("oneshot", "one_shot > serve > rest > ~Sleep", one_shot());
    spawn("boxed service", "boxed_service > serve > rest > ~Sleep", boxed());
    let tree = "boxed_clone > service_closure > serve > rest > ~Sleep";
    spawn("boxed service that clones", tree, boxed_clone());
    spawn("limit that is reached", "limited > ~Acquire", limited());
    spawn("and_then of services", "mapped_service > serve > rest > ~Sleep", mapped());
    spawn("retry", "retried_service > serve > rest > ~Sleep", retried());
    // Its worker is a task of its own, which hands the future back.
    parked::expect("worker of a buffer", 1, "?");
    spawn("buffer", "buffered_service > serve > rest > ~Sleep", buffered());
    spawn("load_shed", "load_shed > serve > rest > ~Sleep", loaded());
}
