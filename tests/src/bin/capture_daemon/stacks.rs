//! Scenes with unusual stacks.

use std::ffi::{CString, c_void};
use std::hint::black_box;

use gmr_core::ViewKind;

use crate::daemon::{PATIENT, commands, ready, set_up};
use crate::frames::{descend, park};
use crate::threads::{arrive, arrive_and_park, spawn, wait_for};

#[inline(never)]
fn wide(depth: u32) -> u64 {
    let mut room = [0_u64; 256];
    black_box(&mut room);
    if depth == 0 {
        arrive();
        // It runs: nobody can say what is beyond the window.
        loop {
            std::hint::spin_loop();
        }
    }
    black_box(wide(depth - 1)).wrapping_add(black_box(&room)[0])
}

#[inline(never)]
fn narrow(depth: u32) -> u64 {
    if depth == 0 {
        arrive_and_park();
    }
    black_box(narrow(black_box(depth - 1))).wrapping_add(1)
}

/// A stack deeper than the window, and one of more frames than are taken.
pub(crate) fn deep() {
    spawn("wide".into(), || _ = wide(100));
    spawn("narrow".into(), || _ = narrow(100));
    wait_for(2);
    set_up(&PATIENT.max_frames(64).window_bytes(64 * 1024));
    ready();
    commands(|_| {});
}

extern "C" fn raw_entry(_: *mut c_void) -> *mut c_void {
    descend(&|| arrive_and_park());
    std::ptr::null_mut()
}

/// Stacks of the least size there is: of std, with its alternate stack, and of
/// pthread_create alone, without.
pub(crate) fn small() {
    std::thread::Builder::new()
        .name("small-std".into())
        .stack_size(16 * 1024)
        .spawn(|| descend(&|| arrive_and_park()))
        .expect("a thread");
    // SAFETY: plain initialisation.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_init(&raw mut attributes) };
    // SAFETY: initialised; 16 KiB is the least.
    let set = unsafe { libc::pthread_attr_setstacksize(&raw mut attributes, 16 * 1024) };
    assert_eq!(set, 0);
    let mut thread = 0;
    // SAFETY: the entry function matches and needs no argument.
    let error = unsafe {
        libc::pthread_create(
            &raw mut thread,
            &raw const attributes,
            raw_entry,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(error, 0);
    // SAFETY: the thread just made; the name is short.
    unsafe { libc::pthread_setname_np(thread, c"small-raw".as_ptr()) };
    wait_for(2);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}

extern "C" fn stay() {
    arrive_and_park()
}

/// Sets up by gmr-std, then loads a library and parks a thread in it.
pub(crate) fn library(path: &str) {
    let _handle = gmr_std::setup_autorun(gmr_std::package!())
        .view(ViewKind::JsonLine)
        .install()
        .expect("the setup");
    let path = CString::new(path).expect("a path");
    // SAFETY: the library's constructors do nothing.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{path:?}");
    // SAFETY: an open library.
    let entry = unsafe { libc::dlsym(library, c"plugin_entry".as_ptr()) };
    assert!(!entry.is_null());
    // SAFETY: `void plugin_entry(void (*)(void))`.
    let entry: extern "C" fn(extern "C" fn()) = unsafe { std::mem::transmute(entry) };
    spawn("in-library".into(), move || {
        entry(stay);
        park()
    });
    wait_for(1);
    ready();
    commands(|_| {});
}
