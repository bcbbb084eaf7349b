//! A library that is loaded by name: it calls back, through two functions of
//! its own.

#[inline(never)]
fn in_between(callback: extern "C" fn() -> u64) -> u64 {
    callback().wrapping_add(1)
}

/// Calls `callback`.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_enter(callback: extern "C" fn() -> u64) -> u64 {
    [1, 2, 3].iter().map(|number| in_between(callback).wrapping_mul(*number)).sum()
}
