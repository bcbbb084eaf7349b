//! System calls by name: `futex(0x7f21c0a41e10, FUTEX_WAIT|PRIVATE, 2, …)`.
//!
//! 1. A table for each architecture, and one for what they have in common, say of
//!    each number its name and what its arguments are.
//! 2. What helps an operator is decoded: descriptors, lengths, timeouts, and
//!    the operation of futex(2). All else is hexadecimal, as the kernel has it.
//! 3. A number that no table has keeps its number and shows all six words.
//!
//! Not done: reading what arguments point to. It may change at any moment, and
//! a path or a buffer may hold a secret.
//!
//! # Signal safety
//!
//! All of it: pure functions and constants.

use ufmt::{uWrite, uwrite};

#[cfg(any(test, target_arch = "aarch64"))]
mod aarch64;
mod common;
pub(crate) mod futex;
#[cfg(any(test, target_arch = "x86_64"))]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::CALLS;
#[cfg(target_arch = "x86_64")]
use x86_64::CALLS;
/// No table: calls that are not common to all are shown by number.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static CALLS: &[Row] = &[];

/// Number, name, and a letter for each argument: `f` a descriptor, `n` a length
/// or count, `c` one of 32 bits, `i` a signed number, `m` a timeout in
/// milliseconds, `o` futex(2)'s operation, `u` a mask of 32 bits, `x` anything
/// else. Sorted by number.
type Row = (u16, &'static str, &'static str);

/// One system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syscall {
    pub(crate) name: &'static str,
    kinds: &'static str,
}

/// The call with this number, if the table has it.
pub(crate) fn find(number: i64) -> Option<Syscall> {
    let number = u16::try_from(number).ok()?;
    let table = if number >= common::FIRST { common::CALLS } else { CALLS };
    let index = table.binary_search_by_key(&number, |row| row.0).ok()?;
    table.get(index).map(|(_, name, kinds)| Syscall { name, kinds })
}

impl Syscall {
    /// How many arguments it has.
    pub(crate) fn argument_count(self) -> usize {
        self.kinds.len()
    }
}

/// Writes `name(argument, …)`.
pub(crate) fn write<W: uWrite>(
    out: &mut W,
    number: i64,
    arguments: &[u64; 6],
) -> Result<(), W::Error> {
    let Some(call) = find(number) else {
        uwrite!(out, "syscall {}(", number)?;
        list(out, arguments.iter().map(|word| (b'x', *word)))?;
        return out.write_str(")");
    };
    out.write_str(call.name)?;
    out.write_str("(")?;
    list(out, call.kinds.bytes().zip(arguments.iter().copied()))?;
    out.write_str(")")
}

/// Writes the call in a few words: its name and what it is about, the first
/// argument, if that is a descriptor or an address.
pub(crate) fn write_brief<W: uWrite>(
    out: &mut W,
    number: i64,
    arguments: &[u64; 6],
) -> Result<(), W::Error> {
    let Some(call) = find(number) else { return uwrite!(out, "syscall {}", number) };
    out.write_str(call.name)?;
    match call.kinds.bytes().next() {
        Some(b'f') => {
            out.write_str(" ")?;
            argument(out, b'f', arguments[0])
        }
        Some(b'x') if call.name.starts_with("futex") => {
            out.write_str(" ")?;
            argument(out, b'x', arguments[0])
        }
        _ => Ok(()),
    }
}

fn list<W: uWrite>(
    out: &mut W,
    arguments: impl Iterator<Item = (u8, u64)>,
) -> Result<(), W::Error> {
    let mut separator = "";
    for (kind, word) in arguments {
        out.write_str(separator)?;
        argument(out, kind, word)?;
        separator = ", ";
    }
    Ok(())
}

/// `openat` and its like: relative to the working directory.
const AT_FDCWD: i32 = -100;

/// Beyond this a signed or counted word is more likely something else: an
/// address, or a mask.
const READABLE: i64 = 1 << 40;

#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at the low half only")]
fn argument<W: uWrite>(out: &mut W, kind: u8, word: u64) -> Result<(), W::Error> {
    let low_half = word as i32;
    match kind {
        b'f' if low_half == AT_FDCWD => out.write_str("AT_FDCWD"),
        b'f' => uwrite!(out, "fd {}", low_half),
        b'm' => uwrite!(out, "{} ms", low_half),
        // The upper half of an `int` is whatever was in the register.
        b'i' if word.cast_signed().unsigned_abs() < READABLE.unsigned_abs() => {
            uwrite!(out, "{}", word.cast_signed())
        }
        b'i' if word >> 32 == 0xffff_ffff => uwrite!(out, "{}", low_half),
        b'n' if word < READABLE.unsigned_abs() => uwrite!(out, "{}", word),
        b'c' => uwrite!(out, "{}", word as u32),
        b'o' => futex::write_operation(out, word as u32),
        b'u' => {
            out.write_str("0x")?;
            hexadecimal(out, u64::from(word as u32))
        }
        _ => {
            out.write_str("0x")?;
            hexadecimal(out, word)
        }
    }
}

/// Lower case, without leading zeros.
fn hexadecimal<W: uWrite>(out: &mut W, word: u64) -> Result<(), W::Error> {
    let mut digits = [0_u8; 16];
    let mut rest = word;
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        let value = (rest & 0xf) as u8;
        *digit = if value < 10 {
            b'0'.wrapping_add(value)
        } else {
            b'a'.wrapping_add(value).wrapping_sub(10)
        };
        first = at;
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.write_str(core::str::from_utf8(digits.get(first..).unwrap_or_default()).unwrap_or(""))
}

#[cfg(test)]
mod tests;
