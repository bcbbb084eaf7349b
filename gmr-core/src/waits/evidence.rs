//! Which function of the C library a thread waits in, by its stack.
//!
//! From the innermost frame on: all of them lie in the C library and are
//! certain, and one of the first [`INNERMOST`] is a function that locks or
//! joins. A name in any other object proves nothing: a program may have a
//! `pthread_mutex_lock` of its own.
//!
//! Limits: a C library that is linked statically is not recognised, and
//! functions that a stripped library keeps to itself have no names.

use super::Caller;
use crate::model::Certainty;
use crate::names::Names;
use crate::stacks::collect::FrameRecord;
use crate::stacks::modules::{Module, Table};
use crate::threads::ThreadRecord;

/// The function that the program called, what does the work for it, and what
/// waits.
const INNERMOST: usize = 3;

/// The function that `record` waits in.
pub(crate) fn caller(
    record: &ThreadRecord,
    frames: &[FrameRecord],
    table: &Table,
    names: &Names,
) -> Caller {
    for frame in record.frames(frames).iter().take(INNERMOST) {
        let found = frame.found();
        let is_c_library = table
            .find(found.lookup_address())
            .is_some_and(|(_, module)| !module.is_stale() && is_c_library(module));
        if !is_c_library || found.certainty != Certainty::Exact || found.is_signal_frame {
            return Caller::Unknown;
        }
        if let Some((name, _)) = names.of(&found)
            && let Some(caller) = by_name(name)
        {
            return caller;
        }
    }
    Caller::Unknown
}

fn is_c_library(module: &Module) -> bool {
    let name = module.file_name();
    name == b"libc.so.6" || name.starts_with(b"libpthread") || name.starts_with(b"libc-2.")
}

/// The function, without what the library puts in front of its own names
/// (`__GI___pthread_mutex_lock`).
fn by_name(name: &str) -> Option<Caller> {
    let name = name.strip_prefix("__GI_").unwrap_or(name).trim_start_matches('_');
    Some(match name {
        "pthread_mutex_lock"
        | "pthread_mutex_lock_full"
        | "pthread_mutex_cond_lock"
        | "pthread_mutex_timedlock"
        | "pthread_mutex_clocklock"
        | "pthread_mutex_clocklock_common" => Caller::MutexLock,
        "pthread_rwlock_rdlock" | "pthread_rwlock_timedrdlock" | "pthread_rwlock_clockrdlock" => {
            Caller::ReadLock
        }
        "pthread_rwlock_wrlock" | "pthread_rwlock_timedwrlock" | "pthread_rwlock_clockwrlock" => {
            Caller::WriteLock
        }
        "pthread_join"
        | "pthread_timedjoin_np"
        | "pthread_clockjoin_np"
        | "pthread_clockjoin_ex" => Caller::Join,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_under_all_their_names() {
        for name in ["pthread_mutex_lock", "___pthread_mutex_lock", "__GI___pthread_mutex_lock"] {
            assert_eq!(by_name(name), Some(Caller::MutexLock));
        }
        assert_eq!(by_name("__pthread_clockjoin_ex"), Some(Caller::Join));
        assert_eq!(by_name("pthread_rwlock_wrlock"), Some(Caller::WriteLock));
        for other in ["pthread_mutex_unlock", "pthread_cond_wait", "lock", "", "____"] {
            assert_eq!(by_name(other), None);
        }
    }
}
