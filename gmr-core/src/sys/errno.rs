//! Keeps the interrupted code's `errno`.
//!
//! # Safety
//!
//! `__errno_location` returns the address of this thread's `errno`; it exists
//! for as long as the thread runs and is touched by this thread only.
#![expect(unsafe_code, reason = "one thread-local integer of libc")]

/// This thread's `errno`.
pub(crate) fn get() -> i32 {
    // SAFETY: no preconditions.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: valid and this thread's own.
    unsafe { location.read() }
}

/// `errno` as it was; restored on drop.
#[derive(Debug)]
pub(crate) struct Saved(i32);

impl Saved {
    /// Remembers `errno`. First thing in every handler: which of our calls
    /// touch it depends on how the final program builds rustix.
    pub(crate) fn now() -> Self {
        Saved(get())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // SAFETY: no preconditions.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: valid and this thread's own.
        unsafe { location.write(self.0) };
    }
}
