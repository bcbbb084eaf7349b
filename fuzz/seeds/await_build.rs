//! What the target `await_build` changes: a program of a few functions with all
//! that the await table's builder looks for. It is compiled as a crate called
//! `tokio`, so that modules are where tokio has them; it never runs.

#![no_std]
#![no_main]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

pub mod runtime {
    pub mod handle {
        pub struct Handle {
            pub inner: super::scheduler::Handle,
        }
    }
    pub mod scheduler {
        use super::task::Arc;
        pub mod multi_thread {
            pub mod handle {
                pub struct Handle {
                    pub owned: crate::runtime::task::OwnedTasks<u8>,
                }
            }
        }
        pub enum Handle {
            CurrentThread(Arc<u8>),
            MultiThread(Arc<multi_thread::handle::Handle>),
        }
    }
    pub mod task {
        pub struct Arc<T> {
            pub ptr: *const T,
        }
        pub struct OwnedTasks<T> {
            pub list: Sharded<T>,
            pub id: u64,
        }
        pub struct Sharded<T> {
            pub lists: Shards<T>,
            pub count: usize,
        }
        pub struct Shards<T> {
            pub data_ptr: *const LinkedList<T>,
            pub length: usize,
        }
        pub struct LinkedList<T> {
            pub head: *const T,
            pub tail: *const T,
        }
        pub mod core {
            #[repr(C)]
            pub struct Cell<T, S> {
                pub header: Header,
                pub core: Core<T, S>,
                pub trailer: Trailer,
            }
            pub struct Header {
                pub state: usize,
                pub vtable: &'static Vtable,
                pub owner_id: u64,
            }
            pub struct Vtable {
                pub poll: unsafe fn(*const Header),
                pub trailer_offset: usize,
                pub scheduler_offset: usize,
                pub id_offset: usize,
            }
            pub struct Core<T, S> {
                pub scheduler: S,
                pub task_id: u64,
                pub stage: Stage<T>,
            }
            #[repr(C)]
            pub enum Stage<T> {
                Running(T),
                Consumed,
            }
            pub struct Trailer {
                pub pointers: PointersInner<u8>,
            }
            pub struct PointersInner<T> {
                pub prev: *const T,
                pub next: *const T,
            }
        }
        pub mod raw {
            use super::core::Cell;
            #[inline(never)]
            pub fn poll<T, S>(cell: &mut Cell<T, S>) -> usize {
                cell.core.task_id as usize
            }
        }
    }
}

pub struct Leaf(u8);

impl Future for Leaf {
    type Output = u8;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        self.0 += 1;
        Poll::Pending
    }
}

async fn inner<T: Future<Output = u8>>(future: T, more: Option<&mut [Leaf]>) -> u8 {
    let sum = future.await;
    match more {
        Some([first, ..]) => sum + first.await,
        _ => sum,
    }
}

async fn outer(text: &str) -> u8 {
    let mut leaves = [Leaf(1), Leaf(2)];
    let len = text.len() as u8;
    inner(Leaf(len), Some(&mut leaves)).await + inner(Leaf(3), None).await
}

#[unsafe(no_mangle)]
pub fn start(context: &mut Context<'_>, cell: *mut u8, handle: &runtime::handle::Handle) -> usize {
    let mut future = outer("text");
    // SAFETY: Never called.
    let dynamic: Pin<&mut dyn Future<Output = u8>> = unsafe { Pin::new_unchecked(&mut future) };
    let ready = core::hint::black_box(dynamic).poll(context).is_ready();
    let size = size_of_val(handle);
    fn of<T: Future>(_: &T, cell: *mut u8) -> usize {
        type Scheduler = runtime::task::Arc<runtime::scheduler::multi_thread::handle::Handle>;
        // SAFETY: Never called.
        runtime::task::raw::poll(unsafe { &mut *cell.cast::<runtime::task::core::Cell<T, Scheduler>>() })
    }
    of(&future, cell) + size + usize::from(ready)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What code that may panic refers to; nothing here unwinds.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}
