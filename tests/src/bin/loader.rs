//! Loads two libraries in turn, for ever, and runs code in each: `loader A.so B.so`.
//!
//! The kernel tends to map the second where the first was. Each library calls back
//! into a function of this program that is only for it (`called_from_a`,
//! `called_from_b`), so that a stack itself says which library it goes through.
#![allow(unsafe_code, reason = "loads libraries")]

use std::ffi::CString;
use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::thread::Builder;
use std::time::{Duration, Instant};

use gmr_std::View;

type Callback = extern "C" fn();
type Entry = extern "C" fn(Callback);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args().skip(1);
    let mut next = || CString::new(paths.next().unwrap_or_default());
    let (a, b) = (next()?, next()?);
    Builder::new().name("visitor".into()).spawn(move || {
        loop {
            visit(&a, c"in_library_a", called_from_a);
            visit(&b, c"in_library_b", called_from_b);
        }
    })?;
    gmr_std::setup_autorun(gmr_std::package!()).view(View::Json).source_lines(false).install()?;
    println!("ready");
    for _ in stdin().lock().lines() {}
    Ok(())
}

fn visit(path: &CString, symbol: &core::ffi::CStr, callback: Callback) {
    // SAFETY: our own libraries, without constructors.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{}", path.to_string_lossy());
    // SAFETY: an open library and a name.
    let entry = unsafe { libc::dlsym(library, symbol.as_ptr()) };
    assert!(!entry.is_null(), "{}", symbol.to_string_lossy());
    // SAFETY: both libraries export it with this signature.
    let entry = unsafe { core::mem::transmute::<*mut libc::c_void, Entry>(entry) };
    let until = Instant::now() + Duration::from_millis(8);
    while Instant::now() < until {
        entry(callback);
    }
    // SAFETY: nothing of it is in use.
    unsafe { libc::dlclose(library) };
}

#[inline(never)]
extern "C" fn called_from_a() {
    nap();
    black_box(1);
}

#[inline(never)]
extern "C" fn called_from_b() {
    nap();
    black_box(2);
}

fn nap() {
    std::thread::sleep(Duration::from_micros(200));
}
