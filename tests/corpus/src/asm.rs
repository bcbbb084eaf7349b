//! Functions written by hand, with and without call frame information.

use std::hint::black_box;

use crate::rest::{Kind, rest};
use crate::signals::handle_faults;

pub(crate) const KINDS: &[Kind] = &[
    // SAFETY: each calls its argument, by the C calling convention.
    ("asm_cfi", || _ = black_box(unsafe { corpus_with_cfi(called) })),
    ("asm_no_cfi", || _ = black_box(unsafe { corpus_without_cfi(called) })),
    ("asm_no_cfi_rbp", || _ = black_box(unsafe { corpus_without_cfi_rbp(called) })),
    ("asm_cfa_rbx", || _ = black_box(unsafe { corpus_cfa_is_rbx(called) })),
    ("asm_expression", || _ = black_box(unsafe { corpus_cfa_is_computed(called) })),
    ("asm_prologue", || _ = black_box(unsafe { corpus_stops_in_prologue(faulting()) })),
    ("asm_epilogue", || _ = black_box(unsafe { corpus_stops_in_epilogue(faulting()) })),
    ("own_stack", own_stack),
    ("asm_jump", || _ = black_box(unsafe { corpus_jumps(called) })),
];

extern "C" fn called() -> u64 {
    rest() + 1
}

/// What an undefined instruction ends in; the functions that meet one do not
/// call back.
fn faulting() -> extern "C" fn() -> u64 {
    handle_faults();
    called
}

/// Of the stack that `own_stack` makes, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// As libraries do that grow stacks, or switch between them. Theirs may lie
/// anywhere; this one below the thread's, since gdb takes a caller that lies
/// below its callee for an error.
fn own_stack() {
    let local = 0_u8;
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let below = (1..100).find_map(|step| {
        let hint = (&raw const local).map_addr(|here| (here - step * (16 << 20)) & !4095);
        // SAFETY: new memory, wherever the kernel finds room.
        let memory = unsafe { libc::mmap(hint.cast_mut().cast(), STACK_BYTES, prot, flags, -1, 0) };
        (memory.cast_const().cast::<u8>() < &raw const local).then_some(memory)
    });
    let end = below.expect("room below the stack").cast::<u8>().wrapping_add(STACK_BYTES);
    // SAFETY: memory that stays, and that nobody else uses.
    black_box(unsafe { corpus_on_stack(called, end) });
}

unsafe extern "C" {
    fn corpus_cfa_is_rbx(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_cfa_is_computed(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_stops_in_prologue(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_stops_in_epilogue(callback: extern "C" fn() -> u64) -> u64;
    fn corpus_on_stack(callback: extern "C" fn() -> u64, end: *mut u8) -> u64;
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

    # The frame hangs on a register that is neither rsp nor rbp.
    corpus_function corpus_cfa_is_rbx
        .cfi_startproc
        push rbx
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbx, -16
        mov rbx, rsp
        .cfi_def_cfa rbx, 16
        sub rsp, 256
        and rsp, -128
        call rdi
        mov rsp, rbx
        .cfi_def_cfa rsp, 16
        pop rbx
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size corpus_cfa_is_rbx, . - corpus_cfa_is_rbx

    # It lies in memory, and is found by an expression: as gcc does it where it
    # aligns a stack.
    corpus_function corpus_cfa_is_computed
        .cfi_startproc
        push rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbp, -16
        mov rbp, rsp
        sub rsp, 256
        and rsp, -128
        lea rax, [rbp + 16]
        mov [rsp + 8], rax
        # DW_CFA_def_cfa_expression, 4 bytes: DW_OP_breg7 (rsp) 8, DW_OP_deref, DW_OP_nop
        .cfi_escape 0x0f, 0x04, 0x77, 0x08, 0x06, 0x96
        call rdi
        mov rsp, rbp
        .cfi_def_cfa rsp, 16
        pop rbp
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size corpus_cfa_is_computed, . - corpus_cfa_is_computed

    # Interrupted where the frame is half made, and half undone.
    corpus_function corpus_stops_in_prologue
        .cfi_startproc
        push rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbp, -16
        push rbx
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbx, -24
        ud2
        sub rsp, 24
        .cfi_adjust_cfa_offset 24
        ud2
        .cfi_endproc
        .size corpus_stops_in_prologue, . - corpus_stops_in_prologue

    corpus_function corpus_stops_in_epilogue
        .cfi_startproc
        push rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbp, -16
        mov rbp, rsp
        .cfi_def_cfa_register rbp
        sub rsp, 64
        leave
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        ud2
        .cfi_endproc
        .size corpus_stops_in_epilogue, . - corpus_stops_in_epilogue

    corpus_function corpus_on_stack
        .cfi_startproc
        push rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset rbp, -16
        mov rbp, rsp
        .cfi_def_cfa_register rbp
        mov rsp, rsi
        call rdi
        mov rsp, rbp
        pop rbp
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        .size corpus_on_stack, . - corpus_on_stack

    # Not there when its callee waits.
    corpus_function corpus_jumps
        .cfi_startproc
        jmp rdi
        .cfi_endproc
        .size corpus_jumps, . - corpus_jumps
    .purgem corpus_function
    "#
);
