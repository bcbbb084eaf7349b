//! Futures whose type the caller does not see: boxes, traits, `impl Trait`,
//! generics.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::calls::{notified, rest};
use crate::parked::spawn;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

fn boxed(notify: Arc<Notify>) -> Boxed<'static, ()> {
    Box::pin(async move {
        notified(notify).await; // @boxed
    })
}

async fn via_box(notify: Arc<Notify>) {
    let future = boxed(notify);
    future.await; // @via_box
}

/// A box around a box around a box.
async fn boxes() {
    let inner: Boxed<'static, u32> = Box::pin(rest(1));
    let outer: Boxed<'static, u32> = Box::pin(inner);
    Box::pin(outer).await; // @boxes
}

trait Service: Send + Sync {
    fn call(&self, number: u32) -> Boxed<'_, u32>;
}

struct First(u32);
struct Second;

impl Service for First {
    fn call(&self, number: u32) -> Boxed<'_, u32> {
        Box::pin(async move {
            rest(number + self.0).await // @first_service
        })
    }
}

impl Service for Second {
    fn call(&self, number: u32) -> Boxed<'_, u32> {
        Box::pin(rest(number))
    }
}

async fn by_object(service: Arc<dyn Service>) {
    service.call(3).await; // @by_object
}

#[async_trait]
trait Store: Send + Sync {
    async fn load(&self, number: u32) -> u32;

    async fn load_twice(&self, number: u32) -> u32 {
        self.load(number).await + self.load(number).await // @provided
    }
}

struct Memory;

#[async_trait]
impl Store for Memory {
    async fn load(&self, number: u32) -> u32 {
        rest(number).await // @async_trait
    }
}

async fn by_async_trait(store: Box<dyn Store>) {
    store.load_twice(1).await; // @by_async_trait
}

trait Native {
    fn fetch(&self, number: u32) -> impl Future<Output = u32> + Send;
}

impl Native for Memory {
    async fn fetch(&self, number: u32) -> u32 {
        rest(number).await // @native
    }
}

async fn by_native_trait<N: Native>(native: N) {
    native.fetch(2).await; // @by_native
}

async fn generic<T: Default + Send, F: Future<Output = u32>>(future: F) -> T {
    future.await; // @generic
    T::default()
}

async fn nested_generics() {
    let _: Vec<String> = generic(async {
        let _: u64 = generic(rest(5)).await; // @generic_inner
        1
    })
    .await; // @generic_outer
}

async fn sized<const N: usize>() -> usize {
    let kept = [0_u8; N];
    rest(1).await; // @const_generic
    std::hint::black_box(&kept).len()
}

fn opaque(number: u32) -> impl Future<Output = u32> {
    async move {
        rest(number).await // @impl_trait
    }
}

async fn by_opaque() {
    opaque(1).await; // @by_opaque
}

struct Outer<T>(T);

impl<T: Send + Sync> Outer<T> {
    async fn method(&self, number: u32) -> u32 {
        let value = &self.0;
        rest(number).await + u32::from(size_of_val(value) > 100) // @method
    }
}

type Long =
    Outer<Result<Vec<Option<Box<[(String, u64)]>>>, Box<dyn std::error::Error + Send + Sync>>>;

async fn long_names() {
    let outer: Arc<Outer<Arc<Long>>> = Arc::new(Outer(Arc::new(Outer(Ok(Vec::new())))));
    outer.method(1).await; // @long_names
}

async fn by_reference() {
    let mut future: Boxed<'_, u32> = Box::pin(rest(1));
    let borrowed: Pin<&mut (dyn Future<Output = u32> + Send)> = future.as_mut();
    borrowed.await; // @by_reference
}

async fn pinned_reference() {
    let future = rest(1);
    tokio::pin!(future);
    (&mut future).await; // @pinned_reference
}

async fn pinned_by_std() {
    let future = std::pin::pin!(rest(1));
    future.await; // @pinned_by_std
}

async fn into_future() {
    struct Request(u32);
    impl IntoFuture for Request {
        type Output = u32;
        type IntoFuture = Boxed<'static, u32>;
        fn into_future(self) -> Self::IntoFuture {
            Box::pin(rest(self.0))
        }
    }
    Request(1).await; // @into_future
}

pub(super) fn spawn_all() {
    let notify = Arc::new(Notify::new());
    spawn("box", "via_box > boxed > notified > ~Notified", via_box(notify.clone()));
    spawn("a task that is a box", "boxed > notified > ~Notified", boxed(notify));
    spawn("boxes", "boxes > rest > ~Sleep", boxes());
    spawn("object", "by_object > first_service > rest > ~Sleep", by_object(Arc::new(First(2))));
    spawn("another object", "by_object > rest > ~Sleep", by_object(Arc::new(Second)));
    spawn(
        "async-trait",
        "by_async_trait > provided > async_trait > rest > ~Sleep",
        by_async_trait(Box::new(Memory)),
    );
    spawn("async fn in trait", "by_native > native > rest > ~Sleep", by_native_trait(Memory));
    spawn(
        "generics",
        "generic_outer > generic > generic_inner > generic > rest > ~Sleep",
        nested_generics(),
    );
    spawn("const generic", "const_generic > rest > ~Sleep", sized::<33>());
    spawn("another const generic", "const_generic > rest > ~Sleep", sized::<2000>());
    spawn("impl Trait", "by_opaque > impl_trait > rest > ~Sleep", by_opaque());
    spawn("long names", "long_names > method > rest > ~Sleep", long_names());
    spawn("by reference", "by_reference > rest > ~Sleep", by_reference());
    spawn("pin!", "pinned_reference > rest > ~Sleep", pinned_reference());
    spawn("pin! of std", "pinned_by_std > rest > ~Sleep", pinned_by_std());
    spawn("IntoFuture", "into_future > rest > ~Sleep", into_future());
}
