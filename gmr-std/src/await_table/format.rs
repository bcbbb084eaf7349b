//! The await table's image: how futures lie in memory, and at which `.await`
//! each of their states is.
//!
//! 1. A head: magic, version, length, checksum, the build-id of the executable,
//!    and where each array is.
//! 2. Arrays of records, each some 32-bit little-endian words: a reader takes
//!    what it needs by number, and allocates nothing.
//! 3. The texts: each its length and its bytes, referred to by offset.
//!
//! This file has the records; [`image`](super::image) reads and writes them.
//!
//! Everything is an address or offset of the file, without load bias.

/// First bytes of an image.
pub const MAGIC: [u8; 8] = *b"GMRAWAIT";

/// Raised whenever an older reader would misunderstand.
pub const VERSION: u32 = 1;

/// ELF section that carries an image within the executable itself.
pub const SECTION: &str = ".gmr_await";

/// Ending of a file that carries one: `BINARY.gmr-await`, `BUILD-ID.gmr-await`.
pub const SUFFIX: &str = "gmr-await";

/// Stands for "there is none" in an index or offset.
pub const NONE: u32 = u32::MAX;

/// No image is larger.
pub const MAX_BYTES: usize = 64 << 20;

/// What a type is, as far as a walk through a future is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing in it is followed.
    Opaque,
    /// Its fields are followed.
    Struct {
        /// First of its fields.
        first: u32,
        /// How many.
        count: u32,
    },
    /// An async fn, block or closure.
    Coroutine {
        /// First of its states.
        first: u32,
        /// How many.
        count: u32,
        /// Where its state's number is.
        tag_offset: u32,
        /// Its size, in bytes.
        tag_bytes: u32,
    },
    /// Of its variants one is there.
    Enum {
        /// First of its variants.
        first: u32,
        /// How many.
        count: u32,
        /// Where the discriminant is.
        tag_offset: u32,
        /// Its size in bytes; 0: there is one variant, and no discriminant.
        tag_bytes: u32,
    },
    /// An address of the other type, at offset 0: a reference, `Box`, `Arc`'s.
    Pointer {
        /// The other type.
        to: u32,
    },
    /// `dyn Future`: address and vtable, at 0 and 8.
    Dyn,
    /// Address and length of a slice, at 0 and 8.
    Slice {
        /// Type of the elements.
        element: u32,
    },
    /// A `Vec`.
    Vec {
        /// Type of the elements.
        element: u32,
        /// Where the address is.
        pointer_offset: u32,
        /// Where the length is.
        length_offset: u32,
    },
    /// An array in place.
    Array {
        /// Type of the elements.
        element: u32,
        /// How many.
        count: u32,
    },
    /// A `FuturesUnordered`: a linked list of nodes.
    FuturesUnordered {
        /// Type of the future in a node.
        future: u32,
        /// Where the future is in a node.
        future_offset: u32,
        /// Where the first node's address is.
        head_offset: u32,
        /// Where in a node the next one's address is.
        next_offset: u32,
    },
    /// A tokio `JoinHandle`: the address of another task's header.
    JoinHandle {
        /// Where that is.
        header_offset: u32,
    },
}

impl Kind {
    pub(super) fn words(self) -> (u32, [u32; 4]) {
        match self {
            Kind::Opaque => (0, [0; 4]),
            Kind::Struct { first, count } => (1, [first, count, 0, 0]),
            Kind::Coroutine { first, count, tag_offset, tag_bytes } => {
                (2, [first, count, tag_offset, tag_bytes])
            }
            Kind::Enum { first, count, tag_offset, tag_bytes } => {
                (3, [first, count, tag_offset, tag_bytes])
            }
            Kind::Pointer { to } => (4, [to, 0, 0, 0]),
            Kind::Dyn => (5, [0; 4]),
            Kind::Slice { element } => (6, [element, 0, 0, 0]),
            Kind::Vec { element, pointer_offset, length_offset } => {
                (7, [element, 0, pointer_offset, length_offset])
            }
            Kind::Array { element, count } => (8, [element, count, 0, 0]),
            Kind::FuturesUnordered { future, future_offset, head_offset, next_offset } => {
                (9, [future, future_offset, head_offset, next_offset])
            }
            Kind::JoinHandle { header_offset } => (10, [0, 0, header_offset, 0]),
        }
    }

    pub(super) fn of(number: u32, [a, b, c, d]: [u32; 4]) -> Option<Self> {
        Some(match number {
            0 => Kind::Opaque,
            1 => Kind::Struct { first: a, count: b },
            2 => Kind::Coroutine { first: a, count: b, tag_offset: c, tag_bytes: d },
            3 => Kind::Enum { first: a, count: b, tag_offset: c, tag_bytes: d },
            4 => Kind::Pointer { to: a },
            5 => Kind::Dyn,
            6 => Kind::Slice { element: a },
            7 => Kind::Vec { element: a, pointer_offset: c, length_offset: d },
            8 => Kind::Array { element: a, count: b },
            9 => Kind::FuturesUnordered {
                future: a,
                future_offset: b,
                head_offset: c,
                next_offset: d,
            },
            10 => Kind::JoinHandle { header_offset: c },
            _ => return None,
        })
    }
}

/// A type, with names as `N`: `&str` when read, a text's offset when written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type<N> {
    /// Its full path.
    pub name: N,
    /// In bytes.
    pub size: u32,
    /// What it is.
    pub kind: Kind,
    /// See [`type_flag`].
    pub flags: u32,
}

/// Flags of a [`Type`].
pub mod type_flag {
    /// A future that the walk names wherever it meets it: a timer, a lock's
    /// queue, a socket.
    pub const LEAF: u32 = 1;
    /// Never shown itself: `Pin`, `Box`, `UnsafeCell`, a wrapper that every
    /// task has.
    pub const TRANSPARENT: u32 = 2;
}

/// A field that may hold a future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Field {
    /// Where it is.
    pub offset: u32,
    /// Its type.
    pub ty: u32,
}

/// A variant of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant<N> {
    /// The discriminant; `None`: every value that no other variant has.
    pub value: Option<u64>,
    /// First of its fields.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Its name.
    pub name: N,
}

/// What a coroutine's state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// Never polled.
    Unresumed,
    /// It has returned.
    Returned,
    /// It has panicked.
    Panicked,
    /// At an `.await`.
    Suspended,
}

/// One state of a coroutine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<N> {
    /// The tag's value.
    pub value: u32,
    /// What it means.
    pub kind: StateKind,
    /// Source file of the `.await`.
    pub file: N,
    /// Its line, from 1; 0: not known.
    pub line: u32,
    /// What is awaited: where it is, and its type.
    pub awaitee: Option<Field>,
    /// The line is not the `.await`'s own but a macro's, whose call could not be
    /// found.
    pub is_in_macro: bool,
}

/// A vtable by whose address a type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vtable {
    /// Its address in the file.
    pub svma: u64,
    /// The type.
    pub ty: u32,
}

/// What holds a scheduler's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerKind {
    /// tokio's multi-thread runtime.
    MultiThread,
    /// tokio's current-thread runtime.
    CurrentThread,
    /// A `LocalSet`.
    Local,
    /// `spawn_blocking`: no list holds these.
    Blocking,
    /// Another one: its tasks are known, its list is not.
    Other,
}

/// Where a scheduler keeps its tasks, relative to what its `Arc` points to (the
/// counts included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler<N> {
    /// Full name of the type `S` that a task keeps.
    pub name: N,
    /// Which it is.
    pub kind: SchedulerKind,
    /// The list's id, which each of its tasks keeps.
    pub id_offset: u32,
    /// Shards: where their address is, where their count; [`NONE`]: one list, in
    /// place.
    pub shards_offset: u32,
    /// See above.
    pub shard_count_offset: u32,
    /// Distance of shards, in bytes.
    pub shard_bytes: u32,
    /// The list: in a shard, or in place.
    pub list_offset: u32,
    /// The head's address, in the list.
    pub head_offset: u32,
    /// The tail's, in the list.
    pub tail_offset: u32,
    /// How many tasks there are; [`NONE`]: not kept.
    pub count_offset: u32,
    /// The count of shards less one; [`NONE`]: not kept.
    pub mask_offset: u32,
}

/// A kind of task: `tokio::runtime::task::raw::poll<T, S>`, and where in its
/// `Cell<T, S>` everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task<N> {
    /// Address in the file of its poll function.
    pub poll_svma: u64,
    /// Type of its future, `T`. Of a blocking task the closure's wrapper.
    pub future: u32,
    /// Of `S`.
    pub scheduler: u32,
    /// Where `S` is.
    pub scheduler_offset: u32,
    /// Where its id is.
    pub id_offset: u32,
    /// Where its stage is.
    pub stage_offset: u32,
    /// Size of the stage, in bytes.
    pub stage_bytes: u32,
    /// Where the stage's discriminant is, in the cell.
    pub tag_offset: u32,
    /// Its size, in bytes.
    pub tag_bytes: u32,
    /// Its value while the future is there.
    pub tag_running: u64,
    /// Where the future is, in the cell.
    pub future_offset: u32,
    /// Where the trailer is.
    pub trailer_offset: u32,
    /// Where the previous task's address is, in the cell.
    pub previous_offset: u32,
    /// The next one's.
    pub next_offset: u32,
    /// Size of the cell, in bytes.
    pub cell_bytes: u32,
    /// Where the future's code begins: the async block or fn.
    pub file: N,
    /// Its line, from 1; 0: not known.
    pub line: u32,
}

/// Layouts that all tasks share, and how to get at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entries {
    /// In a task's header: its state.
    pub state_offset: u32,
    /// Its vtable's address.
    pub vtable_offset: u32,
    /// The id of the list that holds it.
    pub owner_offset: u32,
    /// In the vtable: the poll function.
    pub vtable_poll: u32,
    /// Offset of the trailer.
    pub vtable_trailer: u32,
    /// Offset of the scheduler.
    pub vtable_scheduler: u32,
    /// Offset of the id.
    pub vtable_id: u32,
    /// In the trailer: the previous task's address.
    pub previous_in_trailer: u32,
    /// The next one's.
    pub next_in_trailer: u32,
    /// `tokio::runtime::Handle`: where its discriminant is, its size.
    pub handle_tag_offset: u32,
    /// See above. 0: its layout is not known.
    pub handle_tag_bytes: u32,
    /// The discriminant of a current-thread runtime; a multi-thread one's is
    /// any other.
    pub handle_tag_current: u32,
    /// Where its `Arc` is.
    pub handle_arc_offset: u32,
    /// `LocalSet`: where its `Rc<Context>` is; [`NONE`]: not known.
    pub local_context_offset: u32,
    /// In what that points to: the `Arc<Shared>`.
    pub local_shared_offset: u32,
}
