//! Does a call end right before an address? A return address always follows
//! one; a stale word of the stack that points into code rarely does.
//!
//! The instruction is looked at backwards, by the two encodings that x86-64 has
//! for near calls:
//!
//! 1. `e8 rel32`;
//! 2. `ff /2`, whose length follows from its ModRM and SIB bytes.
//!
//! Prefixes stand before the opcode and do not matter here. Far calls are left
//! out: no compiler emits them.
//!
//! Limits: bytes of another instruction may look like a call, so a `true` is no
//! proof; a `false` is one.

/// Bytes of the longest form, without prefixes: opcode, ModRM, SIB, disp32.
pub const MAX_CALL_BYTES: usize = 7;

/// Whether `before`, the code up to a return address, ends with a call.
#[must_use]
pub fn ends_with_call(before: &[u8]) -> bool {
    let last = |count: usize| before.len().checked_sub(count).and_then(|at| before.get(at..));
    if last(5).is_some_and(|bytes| bytes.first() == Some(&0xe8)) {
        return true;
    }
    (2..=MAX_CALL_BYTES).any(|length| match last(length) {
        Some([0xff, modrm, rest @ ..]) => indirect_call_bytes(*modrm, rest.first()) == Some(length),
        _ => false,
    })
}

/// Length of `ff modrm ...` if that is a call.
fn indirect_call_bytes(modrm: u8, sib: Option<&u8>) -> Option<usize> {
    if (modrm >> 3) & 7 != 2 {
        return None;
    }
    let (mode, base) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return Some(2);
    }
    let has_sib = base == 4;
    let displacement = match mode {
        // rip-relative, or a SIB without a base.
        0 if base == 5 || (has_sib && sib? & 7 == 5) => 4,
        0 => 0,
        1 => 1,
        _ => 4,
    };
    Some(if has_sib { 3_usize } else { 2 }.saturating_add(displacement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_each_form() {
        for call in [
            &[0xe8, 1, 2, 3, 4][..],
            &[0x66, 0x66, 0x48, 0xe8, 1, 2, 3, 4],
            &[0xff, 0xd0],                               // call rax
            &[0x41, 0xff, 0xd3],                         // call r11
            &[0xff, 0x10],                               // call [rax]
            &[0xff, 0x15, 1, 2, 3, 4],                   // call [rip + x]
            &[0xff, 0x50, 0x18],                         // call [rax + 24]
            &[0xff, 0x54, 0x24, 8],                      // call [rsp + 8]
            &[0xff, 0x14, 0xc8],                         // call [rax + rcx*8]
            &[0xff, 0x14, 0x25, 1, 2, 3, 4],             // call [x]
            &[0xff, 0x94, 0x24, 1, 2, 3, 4],             // call [rsp + x]
            &[0x90, 0x41, 0xff, 0x94, 0xc5, 1, 0, 0, 0], // call [r13 + rax*8 + 1]
        ] {
            assert!(ends_with_call(call), "{call:x?}");
        }
    }

    #[test]
    fn what_is_no_call() {
        for other in [
            &[][..],
            &[0xe8],
            &[0xe8, 1, 2, 3],
            &[0xe8, 1, 2, 3, 4, 0x90],
            &[0xe9, 1, 2, 3, 4],       // jmp
            &[0xff, 0xe0],             // jmp rax
            &[0xff, 0x25, 1, 2, 3, 4], // jmp [rip + x]
            &[0xff, 0x35, 1, 2, 3, 4], // push [rip + x]
            &[0xff, 0x14],             // cut before its SIB
            &[0x0f, 0x05],             // syscall
            &[0x90; 8],
        ] {
            assert!(!ends_with_call(other), "{other:x?}");
        }
    }
}
