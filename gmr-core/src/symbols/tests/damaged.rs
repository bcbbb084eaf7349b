//! Objects that end early or contradict themselves: never a panic, never a
//! walk without end.

use super::image::*;
use super::*;
use core::cell::Cell;
use proptest::prelude::*;

fn whole() -> Vec<u8> {
    let symbols = [
        sym("_ZN3foo3bar17h0123456789abcdefE", LOCAL | FUNC, 0x10, 0x20),
        sym("_RNvC9backtrace3foo", GLOBAL | FUNC, 0x40, 0x20),
        sym("plain", WEAK | FUNC, 0x80, 0x20),
    ];
    let notes = note(3, &[7; 20]);
    let image = Image {
        symtab: Some(&symbols),
        dynsym: Some(&symbols),
        segment_notes: &notes,
        section_notes: &notes,
        ..Image::default()
    };
    image.build()
}

const ADDRESSES: [u64; 5] = [0x10, 0x2f, 0x41, 0x80, 0x1000];

/// Gives a few bytes at a time and counts the reads.
struct Slow<'a>(&'a [u8], Cell<usize>);

impl ElfSource for Slow<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.1.set(self.1.get() + 1);
        let len = buf.len().min(7);
        self.0.read_at(offset, &mut buf[..len])
    }
}

/// Refuses everything that goes beyond an offset.
struct Refusing<'a>(&'a [u8], u64);

impl ElfSource for Refusing<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        if offset + buf.len() as u64 > self.1 {
            return Err(ReadError::Os { errno: 5 });
        }
        self.0.read_at(offset, buf)
    }
}

#[test]
fn short_reads_are_continued() {
    let bytes = whole();
    let slow = Slow(&bytes, Cell::new(0));
    assert_eq!(names_of(&slow, &ADDRESSES), names_of(bytes.as_slice(), &ADDRESSES));
    assert_eq!(build_id(&slow), build_id(bytes.as_slice()));
    assert!(slow.1.get() > 100);
}

#[test]
fn every_truncation_is_survived() {
    let bytes = whole();
    let complete = names_of(bytes.as_slice(), &ADDRESSES);
    assert_eq!(complete.0.named, 4);
    for len in 0..bytes.len() {
        let (resolved, names) = names_of(&bytes[..len], &ADDRESSES);
        // The section headers come last in this image.
        assert_eq!(resolved.status, ResolveStatus::Failed(ElfError::Truncated));
        assert_eq!(names, [const { None }; ADDRESSES.len()]);
        let id = build_id(&bytes[..len]);
        assert!(id.is_none_or(|id| id.as_bytes() == [7; 20]));
        let (resolved, _) = names_of(&Refusing(&bytes, len as u64), &ADDRESSES);
        let refused = ElfError::Read(ReadError::Os { errno: 5 });
        assert_eq!(resolved.status, ResolveStatus::Failed(refused));
    }
}

#[test]
fn tables_behind_the_end_are_said_and_the_other_one_is_used() {
    let mut bytes = whole();
    let shoff = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    // Section 4 is .symtab; its offset lies 24 bytes into the header.
    let field = shoff + 4 * 64 + 24;
    bytes[field..field + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let (resolved, names) = names_of(bytes.as_slice(), &ADDRESSES);
    assert_eq!(resolved.status, ResolveStatus::Failed(ElfError::Truncated));
    assert_eq!(names[0].as_deref(), Some("foo::bar"));
    assert_eq!(resolved.named, 4);
}

#[test]
fn other_files_are_told_apart() {
    let status = |bytes: &[u8]| names_of(bytes, &ADDRESSES).0.status;
    assert_eq!(status(&[b'#'; 100]), ResolveStatus::Failed(ElfError::NotElf));
    for (at, value) in [(4, 1), (5, 2), (6, 0)] {
        let mut bytes = whole();
        bytes[at] = value;
        assert_eq!(status(&bytes), ResolveStatus::Failed(ElfError::Unsupported));
    }
}

#[test]
fn endless_tables_are_refused() {
    /// A valid header, then for ever the same bytes.
    struct Endless(Vec<u8>);
    impl ElfSource for Endless {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
            buf.fill(1);
            self.0.read_at(offset, buf)?;
            Ok(buf.len())
        }
    }
    let mut bytes = whole();
    let shoff = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    for section in [4, 6] {
        let field = shoff + section * 64 + 32;
        bytes[field..field + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    }
    let (resolved, _) = names_of(&Endless(bytes), &ADDRESSES);
    assert_eq!(resolved.status, ResolveStatus::Failed(ElfError::LimitExceeded));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutations_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        extremes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&[0, 1, 1 << 31, 1 << 63, u64::MAX][..])),
            0..3,
        ),
    ) {
        let mut bytes = whole();
        for (at, value) in extremes {
            let at = at.index(bytes.len() - 8);
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let (resolved, names) = names_of(bytes.as_slice(), &ADDRESSES);
        prop_assert!(names.iter().flatten().all(|name| name.len() <= MAX_NAME_BYTES));
        prop_assert!(resolved.symbols_read < 100);
        build_id(bytes.as_slice());
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut image = whole();
        image.truncate(120);
        image.extend(&bytes);
        names_of(bytes.as_slice(), &ADDRESSES);
        names_of(image.as_slice(), &ADDRESSES);
        build_id(image.as_slice());
    }
}
