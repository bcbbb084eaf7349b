//! Many frames, large frames, aligned frames.

use std::hint::black_box;

use crate::rest::{Kind, rest, rest_for_ever};

pub(crate) const KINDS: &[Kind] = &[
    ("deep_60", || _ = black_box(descend(60))),
    ("deep_100", || _ = black_box(descend(100))),
    ("deep_mutual", || _ = black_box(even(40))),
    ("frame_100k", || _ = black_box(large_frame(1))),
    ("frame_100k_leaf", || _ = black_box(large_leaf())),
    ("aligned_64", || _ = black_box(aligned(1))),
    ("aligned_4096", || _ = black_box(page_aligned(1))),
    ("many_locals", || _ = black_box(many_locals(black_box(1.5), 3))),
    ("noreturn", || never_comes_back(black_box(1))),
];

#[inline(never)]
fn descend(depth: u32) -> u64 {
    match black_box(depth) {
        0 => rest(),
        depth => descend(depth - 1) + 1,
    }
}

#[inline(never)]
fn even(depth: u32) -> u64 {
    match black_box(depth) {
        0 => rest(),
        depth => odd(depth - 1, u64::from(depth)) + 1,
    }
}

#[inline(never)]
fn odd(depth: u32, sum: u64) -> u64 {
    even(black_box(depth) - 1).wrapping_add(black_box(sum))
}

/// Below the 16 KiB that are copied: what calls it is beyond.
#[inline(never)]
fn large_frame(depth: u32) -> u64 {
    let mut room = [0_u8; 100 * 1024];
    black_box(&mut room);
    let found = match depth {
        0 => rest(),
        depth => large_frame(depth - 1) + 1,
    };
    black_box(&room);
    found
}

#[inline(never)]
fn large_leaf() -> u64 {
    let mut room = [0_u64; 100 * 128];
    black_box(&mut room);
    let sum = rest();
    sum + black_box(&room)[1]
}

#[repr(align(64))]
struct Aligned([u64; 8]);

#[inline(never)]
fn aligned(depth: u64) -> u64 {
    let mut value = Aligned([depth; 8]);
    black_box(&mut value);
    let found = match depth {
        0 => rest(),
        depth => aligned(depth - 1),
    };
    black_box(&value).0[1] + found
}

#[repr(align(4096))]
struct Page([u8; 64]);

#[inline(never)]
fn page_aligned(depth: u64) -> u64 {
    let mut value = Page([depth as u8; 64]);
    black_box(&mut value);
    let found = match depth {
        0 => rest(),
        depth => page_aligned(depth - 1),
    };
    u64::from(black_box(&value).0[1]) + found
}

/// All registers that a callee saves are in use.
#[inline(never)]
fn many_locals(factor: f64, seed: u64) -> f64 {
    let [a, b, c, d, e, f, g] =
        [1, 2, 3, 4, 5, 6, 7].map(|step| black_box(seed.wrapping_mul(step)));
    let found = rest();
    (found ^ a ^ b ^ c ^ d ^ e ^ f ^ g) as f64 * factor
}

/// The call is its last instruction: the return address is the next function's.
#[inline(never)]
fn never_comes_back(value: u64) -> ! {
    black_box(value);
    rest_for_ever()
}
