//! C that calls back, and threads that C starts.

use std::ffi::{CStr, CString, c_int, c_void};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::ptr;

use crate::rest::{Kind, expect, rest, start};

pub(crate) const KINDS: &[Kind] = &[
    ("qsort", qsort),
    ("bsearch", bsearch),
    ("pthread_once", pthread_once),
    ("dlopen", dlopen),
    ("raw_starter", raw_thread),
    ("extern_c", || _ = black_box(extern_c(3))),
    ("c_unwind", || _ = black_box(c_unwind(3))),
];

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    rest() as c_int
}

fn qsort() {
    let mut numbers = [3_u32, 1, 2];
    // SAFETY: three elements of four bytes.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 4, Some(compare)) };
    black_box(numbers);
}

unsafe extern "C" {
    // libc has them on other systems only.
    #[link_name = "bsearch"]
    fn c_bsearch(
        key: *const c_void,
        base: *const c_void,
        count: usize,
        bytes: usize,
        compare: extern "C" fn(*const c_void, *const c_void) -> c_int,
    ) -> *mut c_void;
    #[link_name = "pthread_once"]
    fn c_pthread_once(once: *mut c_int, init: extern "C" fn()) -> c_int;
}

fn bsearch() {
    let (numbers, key) = ([1_u32, 2, 3], 2_u32);
    let (base, key) = (numbers.as_ptr().cast(), (&raw const key).cast());
    // SAFETY: three elements of four bytes.
    black_box(unsafe { c_bsearch(key, base, 3, 4, compare) });
}

extern "C" fn initialise() {
    black_box(rest());
}

fn pthread_once() {
    let mut once: c_int = 0;
    // SAFETY: 0 is PTHREAD_ONCE_INIT.
    unsafe { c_pthread_once(&raw mut once, initialise) };
    black_box(once);
}

extern "C" fn called_back() -> u64 {
    rest()
}

/// Loads a library; the address of one of its functions.
fn load(library: PathBuf, function: &CStr) -> *mut c_void {
    let library = CString::new(library.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: our own libraries.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{library:?} is not there");
    // SAFETY: a handle, and a name that ends in 0.
    let found = unsafe { libc::dlsym(handle, function.as_ptr()) };
    assert!(!found.is_null(), "{library:?} does not have {function:?}");
    found
}

/// The shapes of frames in `shapes.c`, by number.
const C_SHAPES: [&str; 4] = ["plain", "var", "align", "inline"];

/// Starts threads for each library `libc_NAME.so` in a directory: `NAME_plain`
/// and so on.
pub(crate) fn start_c(directory: &Path) {
    for entry in directory.read_dir().unwrap() {
        let library = entry.unwrap().path();
        let name = library.file_stem().and_then(|name| name.to_str()).unwrap();
        let Some(name) = name.strip_prefix("libc_") else { continue };
        for (number, shape) in (0..).zip(C_SHAPES) {
            let library = library.clone();
            start(&format!("{name}_{shape}"), move || {
                let enter = load(library, c"c_enter");
                // SAFETY: its signature.
                let enter: extern "C" fn(c_int, extern "C" fn() -> u64) -> u64 =
                    unsafe { core::mem::transmute(enter) };
                black_box(enter(number, called_back));
            });
        }
    }
}

fn dlopen() {
    let program = std::env::current_exe().unwrap();
    let enter = load(program.with_file_name("libcorpus_plugin.so"), c"plugin_enter");
    // SAFETY: its signature.
    let enter: extern "C" fn(extern "C" fn() -> u64) -> u64 =
        unsafe { core::mem::transmute(enter) };
    black_box(enter(called_back));
}

extern "C" fn raw_start(_: *mut c_void) -> *mut c_void {
    // SAFETY: this thread, and a name that ends in 0.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"raw_pthread".as_ptr()) };
    black_box(rest());
    ptr::null_mut()
}

fn raw_thread() {
    expect();
    let mut thread = 0;
    // SAFETY: the function has the signature of a thread's.
    let error =
        unsafe { libc::pthread_create(&raw mut thread, ptr::null(), raw_start, ptr::null_mut()) };
    assert_eq!(error, 0);
    crate::rest::arrive();
    // SAFETY: a thread that nobody else joins.
    unsafe { libc::pthread_join(thread, ptr::null_mut()) };
}

#[inline(never)]
extern "C" fn extern_c(depth: u32) -> u64 {
    match black_box(depth) {
        0 => rest(),
        depth => extern_c(depth - 1) + 1,
    }
}

#[inline(never)]
extern "C-unwind" fn c_unwind(depth: u32) -> u64 {
    match black_box(depth) {
        0 => rest(),
        depth => c_unwind(depth - 1) + 1,
    }
}
