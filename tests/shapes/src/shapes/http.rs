//! Connections that hyper and axum serve, and tracing around futures.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request as AxumRequest, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response as AxumResponse;
use axum::routing::get;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tracing::Instrument;

use super::calls::{inner, notified, rest};
use crate::parked::{self, keep, spawn};

const REQUEST: &[u8] = b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let length = inner(request.uri().path()).await; // @answer
    Ok(Response::new(Full::from(length.to_string())))
}

async fn serve_connection(stream: TcpStream) {
    let service = hyper::service::service_fn(answer);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.await; // @serve_connection
}

async fn wait(State(notify): State<Arc<Notify>>) -> String {
    notified(notify).await; // @axum_handler
    String::new()
}

async fn wrap(request: AxumRequest, next: Next) -> AxumResponse {
    let text = request.uri().path().to_owned();
    let response = next.run(request).await; // @axum_layer
    drop(text);
    response
}

async fn serve_router(listener: TcpListener) {
    let notify = Arc::new(Notify::new());
    let router = Router::new().route("/wait", get(wait)).layer(from_fn(wrap)).with_state(notify);
    let _ = axum::serve(listener, router).await; // @serve_router
}

async fn instrumented() {
    let span = tracing::info_span!("a span");
    rest(1).instrument(span).await; // @instrumented
}

#[tracing::instrument] // @attribute
async fn annotated(number: u32) -> u32 {
    rest(number).await // @annotated
}

async fn calls_annotated() {
    annotated(1).await; // @calls_annotated
}

async fn client(address: std::net::SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("a request");
    keep(stream);
}

pub(super) async fn spawn_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    client(address, REQUEST).await;
    let (stream, _) = listener.accept().await.expect("a connection");
    let tree = "serve_connection > [answer > inner > rest > ~Sleep, %http1]";
    spawn("hyper, in a handler", tree, serve_connection(stream));
    client(address, b"GET /").await;
    let (stream, _) = listener.accept().await.expect("a connection");
    spawn("hyper, idle", "serve_connection > ?", serve_connection(stream));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    spawn("axum", "serve_router > ~tcp::listener", serve_router(listener));
    client(address, REQUEST).await;
    client(address, REQUEST).await;
    client(address, b"GET /").await;
    let tree = "[axum_layer > axum_handler > notified > ~Notified, %handle_connection]";
    parked::expect("connection in a handler", 2, tree);
    parked::expect("idle connection", 1, "?");

    spawn("instrumented", "instrumented > rest > ~Sleep", instrumented());
    spawn(
        "annotated",
        "calls_annotated > attribute > annotated > rest > ~Sleep",
        calls_annotated(),
    );
}
