//! Synthetic symbol tables, single rules first, then against an oracle.

use super::image::*;
use super::*;
use crate::symbols::elf::MAX_SECTIONS;
use proptest::prelude::*;

fn image(symbols: &[Sym]) -> Vec<u8> {
    Image { symtab: Some(symbols), ..Image::default() }.build()
}

/// The name of one address.
fn name_at(symbols: &[Sym], address: u64) -> Option<String> {
    let (resolved, names) = names_of(image(symbols).as_slice(), &[address]);
    assert_eq!(resolved.status, ResolveStatus::Complete);
    names[0].clone()
}

#[test]
fn the_innermost_function_wins() {
    let symbols = [
        sym("outer", LOCAL | FUNC, 0x1000, 0x100),
        sym("inner", LOCAL | FUNC, 0x1040, 0x10),
        sym("whole", GLOBAL | FUNC, 0x1000, 0x1000),
    ];
    let addresses = [0x1000, 0x103f, 0x1040, 0x104f, 0x1050, 0x10ff, 0x1100, 0x2000, 0xfff];
    let (_, names) = names_of(image(&symbols).as_slice(), &addresses);
    let names: Vec<_> = names.iter().map(Option::as_deref).collect();
    let (outer, inner, whole) = (Some("outer"), Some("inner"), Some("whole"));
    assert_eq!(names, [outer, outer, inner, inner, outer, outer, whole, None, None]);
}

#[test]
fn among_equals_the_weak_then_the_global_wins() {
    let local = sym("local", LOCAL | FUNC, 0x10, 8);
    let global = sym("__poll", GLOBAL | FUNC, 0x10, 8);
    let weak = sym("poll", WEAK | FUNC, 0x10, 8);
    let other = sym("other", WEAK | FUNC, 0x10, 8);
    assert_eq!(name_at(&[local.clone(), global.clone()], 0x10).unwrap(), "__poll");
    assert_eq!(name_at(&[weak.clone(), global, local], 0x17).unwrap(), "poll");
    assert_eq!(name_at(&[weak, other], 0x17).unwrap(), "poll");
}

#[test]
fn only_sized_functions_count() {
    let untyped = |section| Sym { section, ..sym("stub", GLOBAL | NOTYPE, 0x10, 8) };
    assert_eq!(name_at(&[untyped(TEXT)], 0x12).unwrap(), "stub");
    assert_eq!(name_at(&[untyped(DATA)], 0x12), None);
    assert_eq!(name_at(&[sym("resolver", GLOBAL | IFUNC, 0x10, 8)], 0x12).unwrap(), "resolver");
    assert_eq!(name_at(&[sym("table", GLOBAL | OBJECT, 0x10, 8)], 0x12), None);
    assert_eq!(name_at(&[sym("no_size", GLOBAL | FUNC, 0x10, 0)], 0x10), None);
    let undefined = Sym { section: 0, ..sym("import", GLOBAL | FUNC, 0x10, 8) };
    assert_eq!(name_at(&[undefined], 0x12), None);
}

#[test]
fn versions_are_not_part_of_a_name() {
    assert_eq!(name_at(&[sym("memcpy@@GLIBC_2.14", GLOBAL | FUNC, 0, 8)], 0).unwrap(), "memcpy");
    assert_eq!(name_at(&[sym("memcpy@GLIBC_2.2.5", GLOBAL | FUNC, 0, 8)], 0).unwrap(), "memcpy");
    assert_eq!(name_at(&[sym("@", GLOBAL | FUNC, 0, 8)], 0).unwrap(), "@");
    assert_eq!(name_at(&[sym("", GLOBAL | FUNC, 0, 8)], 0), None);
}

#[test]
fn names_are_demangled_and_shared() {
    let symbols = [sym("_ZN3foo3bar17h0123456789abcdefE", LOCAL | FUNC, 0x10, 0x20)];
    let bytes = image(&symbols);
    let mut memory = [0; 4096];
    let mut names = NameArena::new(&mut memory);
    let mut scratch = [0; MIN_SCRATCH_BYTES];
    let mut wanted = [Wanted::new(0x2f, 0), Wanted::new(0x10, 1), Wanted::new(0x11, 2)];
    let resolved = resolve(bytes.as_slice(), &mut wanted, &mut names, &mut scratch, &mut || true);
    assert_eq!(resolved, Resolved { status: ResolveStatus::Complete, symbols_read: 2, named: 3 });
    assert_eq!(wanted.map(|entry| entry.tag), [1, 2, 0]);
    assert!(wanted.iter().all(|entry| entry.name == wanted[0].name));
    assert!(wanted.iter().all(|entry| entry.function_svma == Some(0x10)));
    assert_eq!(names.get(wanted[0].name.unwrap()), "foo::bar");
    assert_eq!(names.used_bytes(), "foo::bar".len());
}

#[test]
fn names_that_are_too_long_or_no_text_are_cut() {
    let long = "x".repeat(MAX_MANGLED_BYTES + 10);
    assert_eq!(name_at(&[sym(&long, FUNC, 0, 8)], 0).unwrap(), long[..MAX_NAME_BYTES]);
    let longest = std::format!("_ZN{}{}E", 4000, "y".repeat(4000));
    assert_eq!(name_at(&[sym(&longest, FUNC, 0, 8)], 0).unwrap(), "y".repeat(MAX_NAME_BYTES));
    let bytes = Sym { name: b"ab\xffcd".to_vec(), ..sym("", FUNC, 0, 8) };
    assert_eq!(name_at(&[bytes], 0).unwrap(), "ab");
}

#[test]
fn a_stripped_object_has_its_dynamic_symbols() {
    let dynsym = [sym("exported", GLOBAL | FUNC, 0x10, 8), sym("both", GLOBAL | FUNC, 0x20, 4)];
    let symtab = [sym("both_locally", LOCAL | FUNC, 0x20, 8)];
    let stripped = Image { dynsym: Some(&dynsym), ..Image::default() }.build();
    let (_, names) = names_of(stripped.as_slice(), &[0x10, 0x20]);
    assert_eq!(names, [Some("exported".to_string()), Some("both".to_string())]);
    // What .symtab names is settled, also if .dynsym is needed for the rest.
    let image = Image { symtab: Some(&symtab), dynsym: Some(&dynsym), ..Image::default() };
    let (_, names) = names_of(image.build().as_slice(), &[0x10, 0x20]);
    assert_eq!(names, [Some("exported".to_string()), Some("both_locally".to_string())]);
    let (resolved, _) = names_of(Image::default().build().as_slice(), &[0x10]);
    assert_eq!(resolved.status, ResolveStatus::NoSymbols);
}

#[test]
fn a_count_of_sections_may_stand_in_the_first_one() {
    let symbols = [sym("function", GLOBAL | FUNC, 0x10, 8)];
    let mut image =
        Image { symtab: Some(&symbols), extended_count: true, ..Image::default() }.build();
    let (_, names) = names_of(image.as_slice(), &[0x10]);
    assert_eq!(names[0].as_deref(), Some("function"));
    let shoff = u64::from_le_bytes(image[40..48].try_into().unwrap()) as usize;
    image[shoff + 32..shoff + 40].copy_from_slice(&(MAX_SECTIONS as u64 + 1).to_le_bytes());
    let (resolved, _) = names_of(image.as_slice(), &[0x10]);
    assert_eq!(resolved.status, ResolveStatus::Failed(ElfError::LimitExceeded));
}

#[test]
fn the_deadline_is_obeyed() {
    let symbols: Vec<Sym> =
        (0..2000).map(|at| sym("everything", GLOBAL | FUNC, at, 1 << 20)).collect();
    let bytes = image(&symbols);
    for allowed in 0..20 {
        let mut memory = [0; 4096];
        let mut names = NameArena::new(&mut memory);
        let mut scratch = [0; MIN_SCRATCH_BYTES];
        // Each symbol is tried on each address: 2 million tries.
        let mut wanted: Vec<_> = (0..1000).map(|at| Wanted::new(4000 + at, 0)).collect();
        let mut asked = 0;
        let resolved =
            resolve(bytes.as_slice(), &mut wanted, &mut names, &mut scratch, &mut || {
                asked += 1;
                asked <= allowed
            });
        assert_eq!(resolved.status, ResolveStatus::Stopped);
        assert_eq!((asked, resolved.named), (allowed + 1, 0));
    }
}

#[test]
fn too_little_scratch_is_said() {
    let bytes = image(&[]);
    let mut names = NameArena::new(&mut []);
    let mut scratch = [0; MIN_SCRATCH_BYTES - 1];
    let resolved = resolve(bytes.as_slice(), &mut [], &mut names, &mut scratch, &mut || true);
    assert_eq!(resolved.status, ResolveStatus::ScratchTooSmall);
}

#[test]
fn a_full_arena_loses_names_but_nothing_else() {
    let symbols =
        [sym("first", FUNC, 0x10, 8), sym("longer name", FUNC, 0x20, 8), sym("3", FUNC, 0x30, 8)];
    let mut memory = [0; 6];
    let mut names = NameArena::new(&mut memory);
    let mut scratch = [0; MIN_SCRATCH_BYTES];
    let mut wanted = [0x10, 0x20, 0x21, 0x30].map(|svma| Wanted::new(svma, 0));
    let resolved =
        resolve(image(&symbols).as_slice(), &mut wanted, &mut names, &mut scratch, &mut || true);
    assert_eq!((resolved.status, resolved.named), (ResolveStatus::Complete, 2));
    assert_eq!(names.lost(), 1);
    assert_eq!(wanted[2].function_svma, Some(0x20));
}

#[test]
fn build_ids_are_found_in_segments_and_sections() {
    let id = [0xab; 20];
    let other = note(5, b"property");
    let with_id = [other.clone(), note(3, &id)].concat();
    let of = |segment: &[u8], section: &[u8]| {
        let image = Image { segment_notes: segment, section_notes: section, ..Image::default() };
        build_id(image.build().as_slice())
    };
    assert_eq!(of(&with_id, b"").unwrap().as_bytes(), id);
    assert_eq!(of(b"", &with_id).unwrap().as_bytes(), id);
    assert_eq!(of(&other, b""), None);
    assert_eq!(of(&note(3, &[1; 64]), b"").unwrap().as_bytes(), [1; 64]);
    assert_eq!(of(&note(3, &[1; 65]), b""), None);
    assert_eq!(of(&note(3, b""), b""), None);
    assert_eq!(std::format!("{:?}", of(&note(3, &[1, 0xf0]), b"").unwrap()), "BuildId(01f0)");
}

/// Every rule of [`resolve()`], without its cleverness.
fn oracle(symtab: &[Sym], dynsym: &[Sym], address: u64) -> Option<String> {
    [symtab, dynsym].iter().find_map(|table| {
        let covering = table.iter().enumerate().filter(|(_, symbol)| {
            let function = matches!(symbol.info & 15, 2 | 10)
                || (symbol.info & 15 == 0 && symbol.section == TEXT);
            let end = symbol.value.saturating_add(symbol.size);
            function && symbol.section != 0 && symbol.value <= address && address < end
        });
        let best = covering.max_by_key(|(index, symbol)| {
            let rank = [0, 1, 2][usize::from(symbol.info >> 4)];
            use core::cmp::Reverse;
            (Reverse(symbol.size), symbol.value, rank, Reverse(*index))
        });
        best.map(|(_, symbol)| String::from_utf8(symbol.name.clone()).unwrap())
    })
}

fn any_symbols(prefix: &'static str) -> impl Strategy<Value = Vec<Sym>> {
    let kind = prop::sample::select(&[NOTYPE, OBJECT, FUNC, FUNC, FUNC, IFUNC][..]);
    let binding = prop::sample::select(&[LOCAL, GLOBAL, WEAK][..]);
    let value = prop_oneof![9 => 0_u64..200, 1 => u64::MAX - 50..=u64::MAX];
    let one = (kind, binding, value, 0_u64..60, 0_u16..3);
    prop::collection::vec(one, 0..60).prop_map(move |all| {
        let numbered = all.into_iter().enumerate();
        numbered
            .map(|(number, (kind, binding, value, size, section))| Sym {
                name: std::format!("{prefix}{number}").into(),
                info: kind | binding,
                section,
                value,
                size,
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(
        symtab in any_symbols("s"),
        dynsym in any_symbols("d"),
        mut addresses in prop::collection::vec(0_u64..260, 0..50),
    ) {
        addresses.extend([u64::MAX, u64::MAX - 10]);
        let image =
            Image { symtab: Some(&symtab), dynsym: Some(&dynsym), ..Image::default() }.build();
        let (resolved, names) = names_of(image.as_slice(), &addresses);
        prop_assert_eq!(resolved.status, ResolveStatus::Complete);
        for (name, &address) in names.iter().zip(&addresses) {
            prop_assert_eq!(name, &oracle(&symtab, &dynsym, address), "at {}", address);
        }
    }
}
