//! Numbers, times and amounts as text, without `core::fmt`.
//!
//! `core::fmt` is signal-safe but not small: its trait objects and paddings cost
//! stack and code, and an optimiser has to prove its panics away. ufmt formats
//! no hexadecimal with padding, no times and no strings that must be escaped,
//! and its `write_char` rests on the deprecated `mem::uninitialized`. What a
//! report needs is little, so it is written here, over `write_str` alone:
//!
//! - decimal and hexadecimal, padded with zeros;
//! - durations (`3.1 us`, `12.4 s`, `04:11:09`, `3d 04:11:09`) and amounts of
//!   bytes (`512 B`, `16 KiB`, `1.4 GiB`): for eyes, rounded down. The exact
//!   figure is in the JSON report;
//! - points in time in RFC 3339, UTC, by the days-to-civil algorithm of Howard
//!   Hinnant. Years that RFC 3339 cannot say (outside 0..=9999) are given as
//!   `@SECONDS`, which `date -d` reads.
//!
//! Nothing here can fail or panic; the largest local is 20 bytes.

use super::Output;
use crate::model::Timestamp;

/// Writes a string.
pub(super) fn put(out: &mut Output<'_>, text: &str) {
    // An empty write is a call through the sink for nothing.
    if !text.is_empty() {
        let Ok(()) = out.write_str(text);
    }
}

/// Writes `count` spaces.
pub(super) fn spaces(out: &mut Output<'_>, count: usize) {
    repeat(out, "                ", count);
}

/// Writes the first `count` characters of an endless row of `pattern`, which
/// must be ASCII.
pub(super) fn repeat(out: &mut Output<'_>, pattern: &str, count: usize) {
    let mut left = count;
    while let Some(rest) = left.checked_sub(pattern.len().max(1)) {
        put(out, pattern);
        left = rest;
    }
    put(out, pattern.get(..left).unwrap_or_default());
}

/// Writes a number in decimal.
pub(super) fn decimal(out: &mut Output<'_>, number: u64) {
    decimal_padded(out, number, 1);
}

/// Writes a number in decimal, with leading zeros up to `digits` (at most 20).
pub(super) fn decimal_padded(out: &mut Output<'_>, number: u64, digits: usize) {
    digits_of::<10>(out, number, digits);
}

/// Writes a signed number in decimal.
pub(super) fn signed(out: &mut Output<'_>, number: i64) {
    if number < 0 {
        put(out, "-");
    }
    decimal(out, number.unsigned_abs());
}

/// Writes `0x` and a number in hexadecimal.
pub(crate) fn address(out: &mut Output<'_>, number: u64) {
    put(out, "0x");
    hex_padded(out, number, 1);
}

/// Writes a number in hexadecimal, with leading zeros up to `digits` (at most
/// 20).
pub(super) fn hex_padded(out: &mut Output<'_>, number: u64, digits: usize) {
    digits_of::<16>(out, number, digits);
}

/// Writes each byte as two hexadecimal digits.
pub(super) fn hex_bytes(out: &mut Output<'_>, bytes: &[u8]) {
    for &byte in bytes {
        hex_padded(out, u64::from(byte), 2);
    }
}

fn digits_of<const BASE: u64>(out: &mut Output<'_>, number: u64, digits: usize) {
    const { assert!(BASE == 10 || BASE == 16) };
    // 20 digits hold u64::MAX in base 10.
    let mut buffer = [b'0'; 20];
    let mut rest = number;
    let mut start = buffer.len();
    for slot in buffer.iter_mut().rev() {
        let digit = rest.checked_rem(BASE).unwrap_or(0) as u8;
        *slot = if digit < 10 { b'0' } else { b'a' - 10 }.wrapping_add(digit);
        rest = rest.checked_div(BASE).unwrap_or(0);
        start = start.saturating_sub(1);
        if rest == 0 && 20usize.saturating_sub(start) >= digits {
            break;
        }
    }
    let text = buffer.get(start..).and_then(|ascii| core::str::from_utf8(ascii).ok());
    put(out, text.unwrap_or_default());
}

/// How many decimal digits a number has.
pub(super) fn decimal_width(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| (log as usize).saturating_add(1))
}

/// Writes a length of time for eyes, rounded down.
pub(crate) fn duration(out: &mut Output<'_>, nanoseconds: u64) {
    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;
    match nanoseconds {
        0..US => {
            decimal(out, nanoseconds);
            put(out, " ns");
        }
        US..MS => tenths(out, nanoseconds / (US / 10), " us"),
        MS..SECOND => tenths(out, nanoseconds / (MS / 10), " ms"),
        SECOND.. => {
            let seconds = nanoseconds / SECOND;
            if seconds < 60 {
                return tenths(out, nanoseconds / (SECOND / 10), " s");
            }
            let days = seconds / 86_400;
            if days > 0 {
                decimal(out, days);
                put(out, "d ");
            }
            clock(out, seconds % 86_400);
        }
    }
}

/// Writes an amount of bytes for eyes, rounded down; a whole number of units
/// has no decimals.
pub(crate) fn byte_count(out: &mut Output<'_>, bytes: u64) {
    const UNITS: [(u32, &str); 6] =
        [(60, " EiB"), (50, " PiB"), (40, " TiB"), (30, " GiB"), (20, " MiB"), (10, " KiB")];
    let Some((shift, unit)) = UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        decimal(out, bytes);
        return put(out, " B");
    };
    let whole = bytes >> shift;
    let rest = bytes & (1u64 << shift).wrapping_sub(1);
    if rest == 0 {
        decimal(out, whole);
        return put(out, unit);
    }
    // The ten bits below the unit are enough for one decimal.
    let tenth = (rest >> shift.saturating_sub(10)).saturating_mul(10) >> 10;
    tenths(out, whole.saturating_mul(10).saturating_add(tenth), unit);
}

fn tenths(out: &mut Output<'_>, tenths: u64, unit: &str) {
    decimal(out, tenths / 10);
    put(out, ".");
    decimal(out, tenths % 10);
    put(out, unit);
}

/// `HH:MM:SS` of a second of the day.
fn clock(out: &mut Output<'_>, second_of_day: u64) {
    decimal_padded(out, second_of_day / 3_600, 2);
    put(out, ":");
    decimal_padded(out, second_of_day / 60 % 60, 2);
    put(out, ":");
    decimal_padded(out, second_of_day % 60, 2);
}

/// Writes a point in time as RFC 3339, UTC, with nanoseconds.
pub(super) fn timestamp(out: &mut Output<'_>, time: Timestamp) {
    let nanoseconds = u64::from(time.nanoseconds.min(999_999_999));
    let days = time.unix_seconds.div_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    match u64::try_from(year) {
        Ok(year @ 0..=9999) => {
            decimal_padded(out, year, 4);
            put(out, "-");
            decimal_padded(out, month, 2);
            put(out, "-");
            decimal_padded(out, day, 2);
            put(out, "T");
            clock(out, time.unix_seconds.rem_euclid(86_400).unsigned_abs());
        }
        _ => {
            put(out, "@");
            signed(out, time.unix_seconds);
        }
    }
    put(out, ".");
    decimal_padded(out, nanoseconds, 9);
    if (0..=9999).contains(&year) {
        put(out, "Z");
    }
}

/// Year, month (1..=12) and day (1..=31) of a day counted from 1970-01-01, in
/// the proleptic Gregorian calendar.
///
/// Hinnant's `civil_from_days`: years begin in March, so that the leap day is
/// the last of its year; eras of 400 years all have 146,097 days. `days` comes
/// from an i64 of seconds, so nothing here can overflow; saturating operations
/// say so to the compiler's lints.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    // Day 0 becomes 0000-03-01.
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097).unsigned_abs();
    let leap_days = (day_of_era / 1_460)
        .saturating_sub(day_of_era / 36_524)
        .saturating_add(day_of_era / 146_096);
    let year_of_era = day_of_era.saturating_sub(leap_days) / 365;
    let days_before_year = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(days_before_year);
    // March is month 0; 153 days in each run of five months.
    let shifted_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let days_before_month = shifted_month.saturating_mul(153).saturating_add(2) / 5;
    let day = day_of_year.saturating_sub(days_before_month).saturating_add(1);
    let month = if shifted_month < 10 {
        shifted_month.saturating_add(3)
    } else {
        shifted_month.saturating_sub(9)
    };
    let january_or_february = i64::from(month <= 2);
    let year = era
        .saturating_mul(400)
        .saturating_add_unsigned(year_of_era)
        .saturating_add(january_or_february);
    (year, month, day)
}

/// Whether `text` is a number in JSON's grammar (RFC 8259 §6) that is certainly
/// below 1e308: beyond the range of a double some parsers refuse the whole
/// document, and one value must not cost the report.
pub(super) fn is_json_number(text: &str) -> bool {
    fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { None } else { text.split_at_checked(count) }
    }
    fn check(text: &[u8]) -> Option<bool> {
        const MAX_MAGNITUDE: usize = 308;
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let (integer, mut rest) = digits(text)?;
        if integer.len() > 1 && integer.starts_with(b"0") {
            return None;
        }
        let mut magnitude = integer.len();
        if let Some(fraction) = rest.strip_prefix(b".") {
            (_, rest) = digits(fraction)?;
        }
        if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
            let negative = exponent.strip_prefix(b"-");
            let unsigned = negative.or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
            let exponent;
            (exponent, rest) = digits(unsigned)?;
            if negative.is_none() {
                magnitude = exponent
                    .iter()
                    .fold(0usize, |sum, digit| {
                        sum.saturating_mul(10).saturating_add(usize::from(digit & 0xf))
                    })
                    .saturating_add(magnitude);
            }
        }
        Some(rest.is_empty() && magnitude <= MAX_MAGNITUDE)
    }
    check(text.as_bytes()).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;
    use crate::view::testing::written;

    #[test]
    fn numbers() {
        assert_eq!(written(|out| decimal(out, 0)), "0");
        assert_eq!(written(|out| decimal(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(written(|out| signed(out, i64::MIN)), i64::MIN.to_string());
        assert_eq!(written(|out| decimal_padded(out, 7, 3)), "007");
        assert_eq!(written(|out| address(out, 0)), "0x0");
        assert_eq!(written(|out| address(out, u64::MAX)), "0xffffffffffffffff");
        assert_eq!(written(|out| hex_bytes(out, &[0x9f, 0x00, 0xe1])), "9f00e1");
        assert_eq!(written(|out| repeat(out, "abc", 7)), "abcabca");
        assert_eq!(written(|out| spaces(out, 33)).len(), 33);
        for number in [0, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(decimal_width(number), number.to_string().len());
        }
    }

    #[test]
    fn durations_are_rounded_down() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (3_199, "3.1 us"),
            (999_999, "999.9 us"),
            (21_700_000, "21.7 ms"),
            (12_499_999_999, "12.4 s"),
            (59_999_999_999, "59.9 s"),
            (60_000_000_000, "00:01:00"),
            (15_069_000_000_000, "04:11:09"),
            (274_269_000_000_000, "3d 04:11:09"),
            (u64::MAX, "213503d 23:34:33"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(written(|out| duration(out, nanoseconds)), expected);
        }
    }

    #[test]
    fn byte_counts() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (16 * 1024, "16 KiB"),
            (16 * 1024 + 1, "16.0 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 << 30, "5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(written(|out| byte_count(out, bytes)), expected);
        }
    }

    fn rfc3339(unix_seconds: i64, nanoseconds: u32) -> String {
        written(|out| timestamp(out, Timestamp { unix_seconds, nanoseconds }))
    }

    #[test]
    fn timestamps() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_795_356_191, 482_913_000), "2026-11-22T14:03:11.482913000Z");
        assert_eq!(rfc3339(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(rfc3339(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(253_402_300_799, 0), "9999-12-31T23:59:59.000000000Z");
        assert_eq!(rfc3339(-62_167_219_200, 0), "0000-01-01T00:00:00.000000000Z");
        // Not sayable in RFC 3339; a nanosecond part out of range is clamped.
        assert_eq!(rfc3339(253_402_300_800, u32::MAX), "@253402300800.999999999");
        assert_eq!(rfc3339(i64::MIN, 0), "@-9223372036854775808.000000000");
        assert_eq!(rfc3339(i64::MAX, 0), "@9223372036854775807.000000000");
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_day_before() {
        let mut before = civil_from_days(-150_000);
        for days in -149_999..150_000 {
            let (year, month, day) = civil_from_days(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match before.1 {
                2 => {
                    28 + u64::from(
                        before.0 % 4 == 0 && (before.0 % 100 != 0 || before.0 % 400 == 0),
                    )
                }
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = if before.2 < last {
                (before.0, before.1, before.2 + 1)
            } else if before.1 < 12 {
                (before.0, before.1 + 1, 1)
            } else {
                (before.0 + 1, 1, 1)
            };
            assert_eq!((year, month, day), expected, "day {days}, leap {leap}");
            before = expected;
        }
    }

    #[test]
    fn json_numbers() {
        for good in ["0", "-0", "10", "1.5", "-1.25e+10", "3E-7", "0.0"] {
            assert!(is_json_number(good), "{good}");
        }
        for bad in [
            "",
            "-",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "NaN",
            "inf",
            "1 ",
            "0x1",
            "1.5.2",
            "1e308",
            "1e99999999999999999999",
        ] {
            assert!(!is_json_number(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn json_numbers_are_what_serde_json_takes(text in "[-+0-9.eE]{0,12}") {
            let taken = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            if is_json_number(&text) {
                prop_assert!(taken);
            } else {
                // Only numbers near the limit of a double are refused needlessly.
                prop_assert!(!taken || text.contains(['e', 'E']));
            }
        }
    }
}
