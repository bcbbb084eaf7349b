//! Panics, on their way and caught.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::thread;

use crate::rest::{Kind, rest};

pub(crate) const KINDS: &[Kind] = &[
    ("caught_above", caught_above),
    ("caught_before", caught_before),
    ("unwinding", || _ = catch_unwind(|| black_box(unwound(black_box(3))))),
    ("unwinding_vec", || _ = catch_unwind(|| black_box(unwound_vec(black_box(3))))),
    ("resumed", || _ = catch_unwind(|| black_box(resumed()))),
    (HOOK, || _ = catch_unwind(|| black_box(out_of_bounds(black_box(9))))),
    ("drop_glue", drop_glue),
];

const HOOK: &str = "panic_hook";

/// Says nothing; one thread stays in it.
pub(crate) fn hook(_: &PanicHookInfo<'_>) {
    if thread::current().name() == Some(HOOK) {
        black_box(rest());
    }
}

fn caught_above() {
    let value = black_box(1);
    black_box(catch_unwind(|| value + rest()).is_ok());
}

fn caught_before() {
    let caught = catch_unwind(|| {
        if black_box(true) {
            panic!("on purpose");
        }
    });
    black_box(caught.is_err());
    black_box(catch_unwind(AssertUnwindSafe(rest)).is_ok());
}

/// Waits when it is dropped.
struct Rests(u64);

impl Drop for Rests {
    fn drop(&mut self) {
        self.0 = rest();
    }
}

#[inline(never)]
fn unwound(value: u64) -> u64 {
    let guard = Rests(value);
    let found = fails(black_box(guard.0));
    black_box(&guard);
    found
}

#[inline(never)]
fn fails(value: u64) -> u64 {
    assert!(black_box(value) == 0, "on purpose");
    value
}

#[inline(never)]
fn unwound_vec(value: u64) -> u64 {
    let guards: Vec<Box<dyn Send>> = vec![Box::new(1_u8), Box::new((Rests(value), 2_u16))];
    let found = fails(black_box(value));
    black_box(&guards);
    found
}

#[inline(never)]
fn resumed() -> u64 {
    let _guard = Rests(1);
    match catch_unwind(|| black_box(fails(black_box(1)))) {
        Ok(value) => value,
        Err(payload) => resume_unwind(payload),
    }
}

#[inline(never)]
fn out_of_bounds(index: usize) -> u8 {
    [1_u8, 2, 3][index]
}

#[inline(never)]
fn drop_glue() {
    let nested = Some(Box::new([Some(Rests(black_box(1))), None]));
    drop(black_box(nested));
}
