//! What functions can look like: generic, inlined, closures, objects, futures.
#![allow(
    clippy::redundant_closure,
    clippy::redundant_async_block,
    reason = "what is redundant has frames of its own"
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::hint::black_box;
use std::ops::{Add, Index};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::rest::{Kind, rest, rest_here};

pub(crate) const KINDS: &[Kind] = &[
    ("generic", || _ = black_box(generic(&[1_u16, 2], Wrapper(3_u64)))),
    ("const_generic", || _ = black_box(const_generic::<3, 'x', true>([1; 3]))),
    ("closures", closures),
    ("boxed_fn_once", || _ = black_box(boxed(Box::new(|value| rest() + value)))),
    ("dyn_fn_mut", || _ = black_box(many(&mut |value| rest_here() + value))),
    ("trait_object", trait_object),
    ("trait_default", || _ = black_box(Wrapper([1_u8; 2]).by_default())),
    ("assoc", || _ = black_box(associated::<Wrapper<u8>>())),
    ("iterators", iterators),
    ("iterator_impl", || _ = black_box(Endless(1).nth(3))),
    ("sort_by", sort_by),
    ("btree_retain", btree_retain),
    ("hash_entry", hash_entry),
    ("display", || _ = black_box(format!("{:>8} {}", 1, Wrapper(Shown)))),
    ("operators", || _ = black_box((Wrapper(1) + 2)[3])),
    ("async_block", async_block),
    ("async_dyn", async_dyn),
    ("tail_calls", || _ = black_box(tail_first(black_box(1)))),
    ("macros", || _ = black_box(made_by_macro(black_box(1)))),
    ("names", || _ = black_box(names::r#match(black_box(1)))),
    ("inner_items", || _ = black_box(inner_items(black_box(1)))),
    ("long_name", || _ = black_box(long_name(black_box([None::<Long>; 0])))),
    ("fn_pointers", || _ = black_box(apply([rest_here as fn() -> u64, rest]))),
    ("track_caller", || _ = black_box(tracked(black_box(Some(1))))),
];

#[derive(Clone, Copy)]
struct Wrapper<T>(T);

trait Behaviour {
    const NUMBER: u64;
    fn required(&self) -> u64;
    fn by_default(&self) -> u64 {
        self.required() + Self::NUMBER
    }
}

impl<T: Copy> Behaviour for Wrapper<T> {
    const NUMBER: u64 = 5;
    fn required(&self) -> u64 {
        black_box(&self.0);
        rest()
    }
}

#[inline(never)]
fn generic<T: Copy, B: Behaviour>(values: &[T], other: B) -> u64 {
    black_box(values);
    other.by_default() + values.len() as u64
}

#[inline(never)]
fn const_generic<const N: usize, const C: char, const B: bool>(values: [u8; N]) -> u64 {
    black_box((values, C, B));
    rest_here() + N as u64
}

fn closures() {
    let base = black_box(3);
    let outer = |first: u64| {
        let inner = |second: u64| {
            let innermost = || rest_here() + base;
            innermost() + second
        };
        inner(first) + first
    };
    black_box(outer(2));
}

#[inline(never)]
fn boxed(run: Box<dyn FnOnce(u64) -> u64>) -> u64 {
    run(3) + 1
}

#[inline(never)]
fn many(run: &mut dyn FnMut(u64) -> u64) -> u64 {
    (0..3).map(|value| run(value)).sum()
}

trait Object {
    fn act(&self) -> u64;
}

impl Object for Vec<u8> {
    fn act(&self) -> u64 {
        rest_here() + self.len() as u64
    }
}

impl<T: Object + ?Sized> Object for &T {
    #[inline(never)]
    fn act(&self) -> u64 {
        (**self).act() + 1
    }
}

fn trait_object() {
    let vector = vec![1_u8];
    let object: &dyn Object = black_box(&vector);
    let objects: [&dyn Object; 1] = [&object];
    black_box(objects.iter().map(|object| object.act()).sum::<u64>());
}

#[inline(never)]
fn associated<B: Behaviour + From<u8>>() -> u64 {
    <B as From<u8>>::from(3).required() + B::NUMBER
}

impl From<u8> for Wrapper<u8> {
    fn from(value: u8) -> Self {
        Wrapper(value)
    }
}

fn iterators() {
    let numbers = black_box([1_u64, 2, 3, 4]);
    let sum: u64 = numbers
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 2 == 1)
        .flat_map(|(index, number)| (0..*number).map(move |step| step + index as u64))
        .zip(numbers.chunks(2).cycle())
        .map(|(step, chunk)| chunk.iter().fold(step, |sum, one| sum + one + rest_here()))
        .sum();
    black_box(sum);
}

struct Endless(u64);

impl Iterator for Endless {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        self.0 += 1;
        if self.0 > 3 { Some(rest()) } else { Some(1) }
    }
}

fn sort_by() {
    let mut words = vec!["c".to_owned(), "a".to_owned(), "b".to_owned()];
    words.sort_by(|a, b| {
        black_box(rest());
        a.cmp(b)
    });
    black_box(words);
}

fn btree_retain() {
    let mut map: BTreeMap<_, _> = (0..20).map(|key| (key, key.to_string())).collect();
    map.retain(|key, value| rest() > *key + value.len() as u64);
    black_box(map);
}

fn hash_entry() {
    let mut map = HashMap::from([("a", 1)]);
    *map.entry("b").or_insert_with(rest) += 1;
    black_box(map);
}

struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", rest())
    }
}

impl<T: fmt::Display> fmt::Display for Wrapper<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("x")?;
        self.0.fmt(f)
    }
}

impl Add<u64> for Wrapper<u64> {
    type Output = Self;
    fn add(self, other: u64) -> Self {
        Wrapper(self.0 + other)
    }
}

impl Index<u64> for Wrapper<u64> {
    type Output = u64;
    fn index(&self, index: u64) -> &u64 {
        black_box(index + rest());
        &self.0
    }
}

async fn leaf(value: u64) -> u64 {
    rest_here() + value
}

async fn middle(value: u64) -> u64 {
    let first = async { leaf(value).await + 1 };
    first.await + 1
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn async_block() {
    let future = pin!(async { middle(black_box(1)).await + 2 });
    black_box(poll(future).is_ready());
}

fn async_dyn() {
    let inner: Pin<Box<dyn Future<Output = u64>>> = Box::pin(middle(black_box(1)));
    let future = pin!(async move { inner.await });
    black_box(poll(future).is_ready());
}

/// Optimised, both are jumps: the stack does not hold them.
#[inline(never)]
fn tail_first(value: u64) -> u64 {
    tail_second(black_box(value))
}

#[inline(never)]
fn tail_second(value: u64) -> u64 {
    tail_third(black_box(value), 1)
}

#[inline(never)]
fn tail_third(value: u64, more: u64) -> u64 {
    black_box((value, more));
    rest() + 1
}

macro_rules! function {
    ($name:ident, $body:expr) => {
        #[inline(never)]
        fn $name(value: u64) -> u64 {
            let more = $body;
            more + value
        }
    };
}

macro_rules! nested {
    ($value:expr) => {{
        let closure = || $value;
        closure() + 1
    }};
}

function!(made_by_macro, nested!(rest_here()));

mod names {
    use super::rest_here;

    #[inline(never)]
    pub(super) fn r#match(größe: u64) -> u64 {
        straße::länge(größe) + 1
    }

    mod straße {
        #[inline(never)]
        pub(super) fn länge(größe: u64) -> u64 {
            super::Typ::<'static>::größer(&größe)
        }
    }

    struct Typ<'a>(core::marker::PhantomData<&'a ()>);

    impl<'a> Typ<'a> {
        #[inline(never)]
        fn größer(value: &u64) -> u64 {
            rest_here() + *value
        }
    }
}

#[inline(never)]
fn inner_items(value: u64) -> u64 {
    #[inline(never)]
    fn inner<T>(value: T) -> u64 {
        struct Local<T>(T);
        impl<T> Local<T> {
            #[inline(never)]
            fn method(&self) -> u64 {
                black_box(&self.0);
                rest_here()
            }
        }
        Local(value).method() + 1
    }
    inner((value, "text")) + 1
}

/// More than fits into a report, where names say of what they are generic.
type Long = Twice<Twice<Twice<Twice<Twice<Wrapper<fn(String) -> u64>>>>>>;
type Twice<T> = (Option<T>, Result<T, Wrapper<T>>);

#[inline(never)]
fn long_name<T>(values: [Option<T>; 0]) -> u64 {
    let found = values.iter().map(|value| u64::from(value.is_some())).sum::<u64>() + rest_here();
    found + values.len() as u64
}

#[inline(never)]
fn apply(functions: [fn() -> u64; 2]) -> u64 {
    functions.into_iter().map(|function| black_box(function)()).sum()
}

#[track_caller]
#[inline(never)]
fn tracked(value: Option<u64>) -> u64 {
    value.map(|value| value + rest_here()).unwrap_or_default()
}
