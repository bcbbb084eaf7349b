//! Functions written by hand, with and without call frame information.

use std::hint::black_box;

use crate::rest::{Kind, rest};

pub(crate) const KINDS: &[Kind] = &[
    // SAFETY: each calls its argument, by the C calling convention.
    ("asm_cfi", || _ = black_box(unsafe { corpus_with_cfi(called) })),
    ("asm_no_cfi", || _ = black_box(unsafe { corpus_without_cfi(called) })),
    ("asm_no_cfi_rbp", || _ = black_box(unsafe { corpus_without_cfi_rbp(called) })),
    ("asm_jump", || _ = black_box(unsafe { corpus_jumps(called) })),
];

extern "C" fn called() -> u64 {
    rest() + 1
}

unsafe extern "C" {
    fn corpus_with_cfi(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_without_cfi(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_without_cfi_rbp(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_jumps(callback: extern "C" fn() -> u64) -> u64;
}

core::arch::global_asm!(
    r#"
    .macro corpus_function name
        .p2align 4
        .globl \name
        .type \name, @function
    \name:
    .endm

    corpus_function corpus_with_cfi
        .cfi_startproc
        push rbx
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbx, -16
        sub rsp, 32
        .cfi_adjust_cfa_offset 32
        mov rbx, rdi
        call rbx
        add rsp, 32
        .cfi_adjust_cfa_offset -32
        pop rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size corpus_with_cfi, . - corpus_with_cfi

    corpus_function corpus_without_cfi
        sub rsp, 24
        call rdi
        add rsp, 24
        ret
        .size corpus_without_cfi, . - corpus_without_cfi

    corpus_function corpus_without_cfi_rbp
        push rbp
        mov rbp, rsp
        sub rsp, 16
        call rdi
        leave
        ret
        .size corpus_without_cfi_rbp, . - corpus_without_cfi_rbp

    # Not there when its callee waits.
    corpus_function corpus_jumps
        .cfi_startproc
        jmp rdi
        .cfi_endproc
        .size corpus_jumps, . - corpus_jumps
    .purgem corpus_function
    "#
);
