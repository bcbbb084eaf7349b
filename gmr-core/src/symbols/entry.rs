//! The runtime's own frames at the end of a stack: from std's marker outwards to
//! libc's start of the thread or program. They are the same in every thread, and
//! none of them is the program's.
//!
//! 1. The marker is std's function `__rust_begin_short_backtrace`, which calls
//!    the closure of a thread, or `main`. std's own backtraces end there too.
//! 2. Behind it, only functions of Rust's libraries and libc's start functions
//!    are the runtime's ([`is_runtime`]). Whoever leaves frames out asks of each.
//!
//! Names are demangled ones, as [`super::demangle`] makes them. A program's
//! function of the same name has a path that begins with its own crate.

/// Whether the function called `name` is std's marker: frames outwards of it are
/// the runtime's.
#[must_use]
pub fn is_entry_marker(name: &str) -> bool {
    // Its module until Rust 1.80, and since.
    let in_module = name
        .strip_prefix("std::sys::backtrace::")
        .or_else(|| name.strip_prefix("std::sys_common::backtrace::"));
    let rest = in_module.and_then(|name| name.strip_prefix("__rust_begin_short_backtrace"));
    rest.is_some_and(|rest| {
        ["::<", "<", ".llvm."].iter().any(|next| rest.starts_with(next)) || rest.is_empty()
    })
}

/// Whether a function called `name` can be the runtime's, outwards of the marker.
#[must_use]
pub fn is_runtime(name: &str) -> bool {
    const CRATES: [&str; 3] = ["std::", "core::", "alloc::"];
    /// std's `try` and C's `main`; starts of threads and programs in glibc and
    /// musl.
    const FUNCTIONS: [&str; 15] = [
        "__rust_try",
        "main",
        "_start",
        "_start_c",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        "libc_start_main_stage2",
        "start_thread",
        "start",
        "clone",
        "__clone",
        "clone3",
        "__clone3",
        "__clone_internal",
    ];
    // `<std::…::Thread>::new::thread_start`, `<<std::… as core::…>::…`
    let path = name.trim_start_matches('<');
    let name = name.split(".llvm.").next().unwrap_or(name);
    CRATES.iter().any(|first| path.starts_with(first)) || FUNCTIONS.contains(&name)
}

/// Whether a frame without a name, in the object `file_name`, can be the
/// runtime's: libc is often stripped.
#[must_use]
pub fn is_runtime_object(file_name: &[u8]) -> bool {
    const OBJECTS: [&[u8]; 5] = [b"libc.so", b"libc-", b"libc.musl-", b"libpthread", b"ld-"];
    OBJECTS.iter().any(|first| file_name.starts_with(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_known_by_its_path() {
        for name in [
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "std::sys::backtrace::__rust_begin_short_backtrace::<fn(), ()>",
            "std::sys::backtrace::__rust_begin_short_backtrace::<…>",
            "std::sys::backtrace::__rust_begin_short_backtrace<fn(), ()>",
            "std::sys_common::backtrace::__rust_begin_short_backtrace",
            "std::sys::backtrace::__rust_begin_short_backtrace.llvm.123",
        ] {
            assert!(is_entry_marker(name), "{name}");
        }
        for name in [
            "__rust_begin_short_backtrace",
            "backtrace::__rust_begin_short_backtrace",
            "mine::std::sys::backtrace::__rust_begin_short_backtrace",
            "std::sys::backtrace::__rust_begin_short_backtrace_of_mine",
            "std::sys::backtrace::__rust_begin_short_backtrace::mine",
            "std::sys::backtrace::__rust_end_short_backtrace::<fn(), ()>",
            "<mine::std as x::Y>::__rust_begin_short_backtrace",
            "",
        ] {
            assert!(!is_entry_marker(name), "{name}");
        }
    }

    #[test]
    fn what_is_outwards_of_it() {
        for name in [
            "std::rt::lang_start::<()>::{closure#0}",
            "<std::thread::Builder>::spawn_unchecked_::<…>::{closure#1}",
            "<<std::thread::Builder>::spawn_unchecked_<…>::{closure#1} as core::ops::F>::call_once",
            "<alloc::boxed::Box<…> as core::ops::function::FnOnce<()>>::call_once",
            "core::ops::function::FnOnce::call_once{vtable.shim}",
            "__rust_try",
            "__rust_try.llvm.5",
            "main",
            "start_thread",
            "__clone3",
        ] {
            assert!(is_runtime(name), "{name}");
        }
        for name in ["", "mine::main", "mystd::x", "<mine::X as core::y::Z>::w", "mainly", "stdx"] {
            assert!(!is_runtime(name), "{name}");
        }
        for object in [&b"libc.so.6"[..], b"libc-2.31.so", b"ld-musl-x86_64.so.1"] {
            assert!(is_runtime_object(object));
        }
        assert!(!is_runtime_object(b"libcurl.so.4") && !is_runtime_object(b"heat_api"));
    }
}
