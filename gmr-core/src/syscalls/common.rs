//! The system calls that every architecture has under one number: all since
//! Linux 5.1 begin at 424 (include/uapi/asm-generic/unistd.h), up to Linux 6.19.
//!
//! Columns as in the other tables.

use super::Row;

/// The first number.
pub(super) const FIRST: u16 = 424;

/// All calls, by number.
#[rustfmt::skip] // a row is a line, in columns
pub(super) static CALLS: &[Row] = &[
    (424, "pidfd_send_signal", "fxxx"),
    (425, "io_uring_setup", "xx"),
    (426, "io_uring_enter", "fnnxxn"),
    (427, "io_uring_register", "fxxx"),
    (428, "open_tree", "fxx"),
    (429, "move_mount", "fxfxx"),
    (430, "fsopen", "xx"),
    (431, "fsconfig", "fxxxx"),
    (432, "fsmount", "fxx"),
    (433, "fspick", "fxx"),
    (434, "pidfd_open", "xx"),
    (435, "clone3", "xx"),
    (436, "close_range", "nnx"),
    (437, "openat2", "fxxx"),
    (438, "pidfd_getfd", "fxx"),
    (439, "faccessat2", "fxxx"),
    (440, "process_madvise", "fxxxx"),
    (441, "epoll_pwait2", "fxnxxn"),
    (442, "mount_setattr", "fxxxx"),
    (443, "quotactl_fd", "fxxx"),
    (444, "landlock_create_ruleset", "xxx"),
    (445, "landlock_add_rule", "fxxx"),
    (446, "landlock_restrict_self", "fx"),
    (447, "memfd_secret", "x"),
    (448, "process_mrelease", "fx"),
    (449, "futex_waitv", "xxxxx"),
    (450, "set_mempolicy_home_node", "xxxx"),
    (451, "cachestat", "fxxx"),
    (452, "fchmodat2", "fxxx"),
    (453, "map_shadow_stack", "xxx"),
    (454, "futex_wake", "xxxx"),
    (455, "futex_wait", "xnxxxi"),
    (456, "futex_requeue", "xxxx"),
    (457, "statmount", "xxxx"),
    (458, "listmount", "xxxx"),
    (459, "lsm_get_self_attr", "xxxx"),
    (460, "lsm_set_self_attr", "xxxx"),
    (461, "lsm_list_modules", "xxx"),
    (462, "mseal", "xxx"),
    (463, "setxattrat", "fxxxxx"),
    (464, "getxattrat", "fxxxxx"),
    (465, "listxattrat", "fxxxx"),
    (466, "removexattrat", "fxxx"),
    (467, "open_tree_attr", "fxxxx"),
    (468, "file_getattr", "fxxxx"),
    (469, "file_setattr", "fxxxx"),
    (470, "listns", "xxxx"),
    (471, "rseq_slice_yield", ""),
];
