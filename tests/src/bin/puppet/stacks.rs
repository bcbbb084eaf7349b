//! Threads whose stacks begin, or are called, in ways of their own.
#![allow(unsafe_code, reason = "calls libc")]

use core::ffi::c_void;
use core::marker::PhantomData;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Obeys a command of this file.
pub(crate) fn obey(word: &str) -> Option<String> {
    Some(match word {
        "c-thread" => c_thread(),
        "generic-thread" => generic_thread(),
        _ => return None,
    })
}

/// A thread as C starts it: without Rust's runtime at its end.
fn c_thread() -> String {
    let (sender, has_begun) = channel::<()>();
    let sender = Box::into_raw(Box::new(sender)).cast();
    let mut thread = core::mem::MaybeUninit::uninit();
    // SAFETY: it is given what it takes.
    let error = unsafe {
        libc::pthread_create(thread.as_mut_ptr(), core::ptr::null(), begins_in_c, sender)
    };
    let _ = has_begun.recv();
    if error == 0 { "ok".to_owned() } else { io::Error::from_raw_os_error(error).to_string() }
}

extern "C" fn begins_in_c(sender: *mut c_void) -> *mut c_void {
    // SAFETY: what `c_thread` hands over.
    drop(unsafe { Box::from_raw(sender.cast::<Sender<()>>()) });
    waits_for_ever();
    core::ptr::null_mut()
}

#[inline(never)]
fn waits_for_ever() {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// A thread in a function of a type with long arguments.
fn generic_thread() -> String {
    let (sender, has_begun) = channel::<()>();
    let started = thread::Builder::new().name("generic".to_owned()).spawn(|| {
        drop(sender);
        Holder(PhantomData).waits();
    });
    let _ = has_begun.recv();
    started.map_or_else(|error| error.to_string(), |_| "ok".to_owned())
}

type Argument = BTreeMap<String, Vec<Option<Result<String, io::Error>>>>;

struct Holder<T>(PhantomData<T>);

trait Waits {
    fn waits(&self);
}

// Legacy mangling names the type of an implementation, not the arguments of a
// function.
impl Waits for Holder<Argument> {
    #[inline(never)]
    fn waits(&self) {
        waits_for_ever();
    }
}
