//! The walk on made-up tables and memory.

use gmr_std::await_table::format::{Field, Variant, Vtable};
use gmr_std::await_table::image::{TextId, Writer};
use proptest::prelude::*;

use super::*;

/// Memory in pieces.
#[derive(Default)]
struct Made(Vec<(u64, Vec<u8>)>);

impl Made {
    fn put(&mut self, address: u64, bytes: impl Into<Vec<u8>>) {
        self.0.push((address, bytes.into()));
    }

    fn words(&mut self, address: u64, words: &[u64]) {
        self.put(address, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
    }
}

impl Memory for Made {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        for (start, bytes) in &self.0 {
            let Some(at) = address.checked_sub(*start) else { continue };
            if let Some(part) = bytes.get(at as usize..at as usize + buffer.len()) {
                buffer.copy_from_slice(part);
                return Ok(());
            }
        }
        Err(ReadError::Unreadable)
    }
}

/// A table that grows; type 0 is a leaf, type 1 holds nothing.
struct Types(Writer);

const LEAF: u32 = 0;
const EMPTY: u32 = 1;

impl Types {
    fn new() -> Self {
        let mut table = Types(Writer::new());
        table.ty("leaf", 8, Kind::Opaque, type_flag::LEAF);
        table.ty("empty", 8, Kind::Opaque, 0);
        table
    }

    fn ty(&mut self, name: &str, size: u32, kind: Kind, flags: u32) -> u32 {
        let name = self.0.text(name);
        self.0.ty(&Type { name, size, kind, flags })
    }

    fn fields(&mut self, fields: &[(u32, u32)]) -> (u32, u32) {
        let first = self.0.next_field();
        for (offset, ty) in fields {
            self.0.field(&Field { offset: *offset, ty: *ty });
        }
        (first, fields.len() as u32)
    }

    fn holder(&mut self, name: &str, fields: &[(u32, u32)], flags: u32) -> u32 {
        let (first, count) = self.fields(fields);
        self.ty(name, 64, Kind::Struct { first, count }, flags)
    }

    /// Tag at 0; state 0 never polled, 1 returned, 2 panicked, from 3 on suspended
    /// at line 100 and so on, awaiting these types at offset 8.
    fn coroutine(&mut self, name: &str, awaited: &[u32]) -> u32 {
        let file = self.0.text("a.rs");
        let mut first = None;
        let mut state = |value, kind, line, awaitee| {
            let state = State { value, kind, file, line, awaitee, is_in_macro: value == 4 };
            let index = self.0.state(&state);
            first.get_or_insert(index);
        };
        state(0, StateKind::Unresumed, 10, None);
        state(1, StateKind::Returned, 11, None);
        state(2, StateKind::Panicked, 11, None);
        for (ty, value) in awaited.iter().zip(3..) {
            state(value, StateKind::Suspended, 97 + value, Some(Field { offset: 8, ty: *ty }));
        }
        let count = 3 + awaited.len() as u32;
        let kind = Kind::Coroutine { first: first.unwrap(), count, tag_offset: 0, tag_bytes: 1 };
        self.ty(name, 64, kind, 0)
    }

    fn walk(self, memory: &mut dyn Memory, ty: u32) -> Vec<String> {
        let image = self.0.finish(&[], "");
        let table = AwaitTable::new(&image).unwrap();
        let mut levels = Levels::new();
        Walker::default().walk(table, 0, memory, (ty, 0x1000), &mut levels);
        let line = |level: &Level| {
            let shown = level.shown(table);
            let place = shown.line.map_or(String::new(), |line| format!(":{line}"));
            let more =
                if level.left_out > 0 { format!(" ({})", level.left_out) } else { String::new() };
            let note = if shown.note.is_empty() { "" } else { " !" };
            let target =
                if level.target > 0 { format!(" -> {:#x}", level.target) } else { String::new() };
            format!(
                "{} {}{place} {}{target}{note}{}{more}",
                shown.depth,
                shown.function,
                shown.kind.code(),
                shown.note
            )
        };
        levels.iter().map(line).collect()
    }
}

fn unreadable() -> String {
    format!("!{}", Note::Unreadable.words())
}

#[test]
fn a_coroutine_is_where_its_tag_says() {
    let walk = |tag: u8| {
        let mut table = Types::new();
        let inner = table.coroutine("inner", &[LEAF]);
        let outer = table.coroutine("outer", &[inner, EMPTY]);
        let mut memory = Made::default();
        let mut bytes = [0; 64];
        (bytes[0], bytes[8]) = (tag, 3);
        memory.put(0x1000, bytes);
        table.walk(&mut memory, outer)
    };
    assert_eq!(walk(0), ["0 outer:10 unresumed"]);
    assert_eq!(walk(1), ["0 outer returned"]);
    assert_eq!(walk(2), ["0 outer panicked"]);
    assert_eq!(walk(3), ["0 outer:100 suspended", "1 inner:100 suspended", "2 leaf leaf"]);
    // Holds nothing that is known, and is awaited all the same. Within a macro.
    assert_eq!(walk(4), ["0 outer:101 in_macro", "1 empty leaf"]);
    assert_eq!(walk(5), [format!("0 outer undecoded !{}", Note::UnknownState.words())]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut table = Types::new();
    let inner = table.coroutine("inner", &[LEAF]);
    let pointer = table.ty("&", 8, Kind::Pointer { to: inner }, 0);
    let outer = table.coroutine("outer", &[pointer]);
    let mut memory = Made::default();
    memory.words(0x1000, &[3, 0x9000]);
    let expected = ["0 outer:100 suspended".into(), format!("1 inner undecoded {}", unreadable())];
    assert_eq!(table.walk(&mut memory, outer), expected);
    let mut table = Types::new();
    let outer = table.coroutine("outer", &[]);
    let lines = table.walk(&mut Made::default(), outer);
    assert_eq!(lines, [format!("0 outer undecoded {}", unreadable())]);
}

#[test]
fn holders_have_a_level_if_they_are_awaited_and_what_is_transparent_never() {
    let mut table = Types::new();
    let inner = table.coroutine("inner", &[LEAF]);
    let nested = table.holder("nested", &[(8, inner), (0, EMPTY), (0, LEAF)], 0);
    let select = table.holder("select", &[(8, nested)], 0);
    let pin = table.holder("Pin", &[(0, select)], type_flag::TRANSPARENT);
    let outer = table.coroutine("outer", &[pin]);
    let mut memory = Made::default();
    memory.words(0x1000, &[3, 0, 0, 3, 0, 0, 0, 0]);
    let expected = [
        "0 outer:100 suspended",
        "1 select holder",
        "2 inner:100 suspended",
        "3 leaf leaf",
        "2 leaf leaf",
    ];
    assert_eq!(table.walk(&mut memory, outer), expected);
    // Nothing in it: then it is named itself.
    let mut table = Types::new();
    let unit = table.holder("Ready", &[], type_flag::TRANSPARENT);
    assert_eq!(table.walk(&mut Made::default(), unit), ["0 Ready leaf"]);
}

#[test]
fn of_an_enum_the_variant_that_is_there_is_followed() {
    let walk = |tag: u64| {
        let mut table = Types::new();
        let inner = table.coroutine("inner", &[LEAF]);
        let (leaf, leafs) = table.fields(&[(0, LEAF)]);
        let (other, others) = table.fields(&[(8, inner)]);
        let mut first = None;
        // As a niche is written: 64 bits of a value of 4.
        for (value, fields) in
            [(Some(u64::MAX), (leaf, leafs)), (Some(7), (0, 0)), (None, (other, others))]
        {
            let (start, count) = fields;
            let variant = Variant { value, first: start, count, name: TextId::EMPTY };
            let index = table.0.variant(&variant);
            first.get_or_insert(index);
        }
        let kind = Kind::Enum { first: first.unwrap(), count: 3, tag_offset: 0, tag_bytes: 4 };
        let either = table.ty("Either", 64, kind, 0);
        let mut memory = Made::default();
        memory.words(0x1000, &[tag, 3, 0]);
        table.walk(&mut memory, either)
    };
    assert_eq!(walk(0xffff_ffff), ["0 Either holder", "1 leaf leaf"]);
    assert_eq!(walk(7), ["0 Either holder"]);
    assert_eq!(walk(1), ["0 Either holder", "1 inner:100 suspended", "2 leaf leaf"]);
}

#[test]
fn a_dyn_future_is_known_by_its_vtable() {
    let walk = |vtable: u64| {
        let mut table = Types::new();
        let inner = table.coroutine("inner", &[LEAF]);
        table.0.vtable(Vtable { svma: 0x500, ty: inner });
        let object = table.ty("dyn Future", 16, Kind::Dyn, 0);
        let boxed = table.holder("Box", &[(0, object)], type_flag::TRANSPARENT);
        let mut memory = Made::default();
        memory.words(0x1000, &[0x2000, vtable]);
        memory.words(0x2000, &[0]);
        table.walk(&mut memory, boxed)
    };
    assert_eq!(walk(0x500), ["0 inner:10 unresumed"]);
    assert_eq!(walk(0x508), [format!("0 dyn Future undecoded !{}", Note::UnknownVtable.words())]);
}

#[test]
fn containers_show_their_first_elements_and_say_what_is_left_out() {
    let cut = |name: &str, left_out: &str| {
        format!("1 {name} undecoded !{}{left_out}", Note::TooManyChildren.words())
    };
    let walk = |kind: Kind, name: &str, words: &[u64]| {
        let mut table = Types::new();
        let container = table.ty(name, 24, kind, 0);
        let mut memory = Made::default();
        memory.words(0x1000, words);
        // A hundred nodes, each the next one's neighbour; the last one leads to the first.
        for node in 0..100 {
            memory.words(0x2000 + node * 16, &[0x2000 + (node + 1) % 100 * 16, 0]);
        }
        table.walk(&mut memory, container)
    };
    let element = LEAF;
    let vec = Kind::Vec { element, pointer_offset: 8, length_offset: 16 };
    let list =
        Kind::FuturesUnordered { future: LEAF, future_offset: 8, head_offset: 8, next_offset: 0 };
    assert_eq!(walk(Kind::Slice { element }, "Box", &[0x2000, 2]).len(), 3);
    assert_eq!(walk(vec, "Vec", &[9, 0x2000, 0]), ["0 Vec holder"]);
    assert_eq!(walk(Kind::Array { element, count: 3 }, "[]", &[]).len(), 4);
    for (kind, name, words, left_out) in [
        (Kind::Slice { element }, "Box", [0x2000, 70, 0], " (6)"),
        (vec, "Vec", [0, 0x2000, u64::MAX], " (4294967295)"),
        (Kind::Array { element, count: 65 }, "[]", [0; 3], " (1)"),
        (list, "FuturesUnordered", [0, 0x2000, 0], ""),
    ] {
        let lines = walk(kind, name, &words);
        assert_eq!(lines.len(), 2 + MAX_CHILDREN as usize, "{lines:?}");
        assert_eq!(lines.last(), Some(&cut(name, left_out)));
    }
}

#[test]
fn a_join_handle_leads_to_a_header() {
    let mut table = Types::new();
    let handle = table.ty("JoinHandle", 8, Kind::JoinHandle { header_offset: 0 }, type_flag::LEAF);
    let outer = table.coroutine("outer", &[handle]);
    let mut memory = Made::default();
    memory.words(0x1000, &[3, 0x7000]);
    let lines = table.walk(&mut memory, outer);
    assert_eq!(lines, ["0 outer:100 suspended", "1 JoinHandle leaf -> 0x7000"]);
}

#[test]
fn what_never_ends_is_cut_and_says_so() {
    // A reference to itself.
    let mut table = Types::new();
    let to = 2;
    table.ty("&", 8, Kind::Pointer { to }, 0);
    let mut memory = Made::default();
    memory.words(0x1000, &[0x1000]);
    let lines = table.walk(&mut memory, to);
    assert_eq!(lines, [format!("0 ? undecoded !{}", Note::TooManySteps.words())]);
    // An async fn that awaits itself.
    let mut table = Types::new();
    let boxed = table.ty("Box", 8, Kind::Pointer { to: 3 }, 0);
    assert_eq!(table.coroutine("again", &[boxed]), 3);
    memory.words(0x3000, &[3, 0x3000]);
    let mut memory = Made::default();
    memory.words(0x1000, &[3, 0x1000]);
    let lines = table.walk(&mut memory, 3);
    assert_eq!(lines.len(), MAX_DEPTH as usize + 2);
    let last = format!("{MAX_DEPTH} Box undecoded !{}", Note::TooDeep.words());
    assert_eq!(lines.last(), Some(&last));
    // Structs within each other, without a level.
    let mut table = Types::new();
    let mut ty = LEAF;
    for _ in 0..MAX_PENDING + 10 {
        ty = table.holder("in", &[(0, ty), (0, ty)], 0);
    }
    let lines = table.walk(&mut Made::default(), ty);
    assert_eq!(lines, ["0 in holder".into(), format!("1 ? undecoded !{}", Note::TooDeep.words())]);
    // Twice as many each time.
    let mut table = Types::new();
    let mut ty = LEAF;
    for _ in 0..20 {
        ty = table.holder("in", &[(0, ty), (0, ty)], 0);
    }
    let lines = table.walk(&mut Made::default(), ty);
    assert_eq!(lines.len(), MAX_LEVELS);
    assert!(lines[MAX_LEVELS - 1].contains(Note::TooManyLevels.words()));
}

/// Any address is readable and has bytes of its own; or nothing is.
struct Any {
    seed: u64,
    one_in: u64,
}

impl Memory for Any {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        for (at, byte) in (address..).zip(buffer) {
            let mixed = (at ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if self.one_in != 0 && (mixed >> 20).is_multiple_of(self.one_in) {
                return Err(ReadError::TooMuch);
            }
            // Small numbers, so that tags often fit.
            *byte = (mixed >> 56) as u8 & 3;
        }
        Ok(())
    }
}

fn check(levels: &Levels) {
    assert!(!levels.is_empty() && levels.len() <= MAX_LEVELS);
    assert!(levels.iter().all(|level| u32::from(level.depth) <= MAX_DEPTH));
}

/// Kinds of types with small numbers, that refer to each other as it happens.
fn kinds() -> impl Strategy<Value = (Kind, u32)> {
    let small = || 0..24_u32;
    let kind =
        (0..11, small(), small(), small(), small()).prop_map(|(which, a, b, c, d)| match which {
            0 => Kind::Opaque,
            1 => Kind::Struct { first: a, count: b },
            2 => Kind::Coroutine { first: a, count: b, tag_offset: c, tag_bytes: d % 10 },
            3 => Kind::Enum { first: a, count: b, tag_offset: c, tag_bytes: d % 10 },
            4 => Kind::Pointer { to: a },
            5 => Kind::Dyn,
            6 => Kind::Slice { element: a },
            7 => Kind::Vec { element: a, pointer_offset: b, length_offset: c },
            8 => Kind::Array { element: a, count: b * b * b },
            9 => Kind::FuturesUnordered {
                future: a,
                future_offset: b,
                head_offset: c,
                next_offset: d,
            },
            _ => Kind::JoinHandle { header_offset: a },
        });
    (kind, 0..4_u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_table_and_any_memory_give_a_tree_that_ends(
        kinds in prop::collection::vec(kinds(), 1..24),
        fields in prop::collection::vec((0..16_u32, 0..26_u32), 0..32),
        states in prop::collection::vec((0..8_u32, 0..5_u8, 0..26_u32), 0..32),
        seed in any::<u64>(),
        one_in in prop_oneof![Just(0), Just(1), 2..200_u64],
    ) {
        let mut table = Types::new();
        for (kind, flags) in &kinds {
            table.ty("any", 8, *kind, *flags);
        }
        for (offset, ty) in &fields {
            table.0.field(&Field { offset: *offset, ty: *ty });
        }
        let file = table.0.text("a.rs");
        for (value, kind, ty) in &states {
            let kinds = [StateKind::Unresumed, StateKind::Returned, StateKind::Panicked];
            let kind = kinds.get(usize::from(*kind)).copied().unwrap_or(StateKind::Suspended);
            let awaitee = Some(Field { offset: 8, ty: *ty });
            let line = *value;
            table.0.state(&State { value: *value, kind, file, line, awaitee, is_in_macro: false });
            let variant = Variant {
                value: (*value < 6).then_some(u64::from(*value)),
                first: *ty,
                count: *value,
                name: TextId::EMPTY,
            };
            table.0.variant(&variant);
            table.0.vtable(Vtable { svma: u64::from(*value) << 24, ty: *ty });
        }
        let image = table.0.finish(&[], "");
        let table = AwaitTable::new(&image).unwrap();
        let mut levels = Levels::new();
        let mut walker = Walker::default();
        for ty in 0..26 {
            walker.walk(table, 0, &mut Any { seed, one_in }, (ty, seed), &mut levels);
            check(&levels);
        }
    }

    #[test]
    fn any_bytes_as_a_table_do_no_harm(
        words in prop::collection::vec(prop_oneof![0..300_u32, any::<u32>()], 0..200),
        seed in any::<u64>(),
    ) {
        let image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let table = AwaitTable::unchecked(&image);
        let mut levels = Levels::new();
        for ty in 0..4 {
            let memory = &mut Any { seed, one_in: 0 };
            Walker::default().walk(table, seed, memory, (ty, seed), &mut levels);
            check(&levels);
            for level in &levels {
                let _ = level.shown(table);
            }
        }
    }
}
