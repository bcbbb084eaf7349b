//! Names: what they become, and what that costs.

use super::*;
use crate::symbols::demangle_full_into;
use crate::symbols::test_support::{DEEP_NAME_BYTES, deep_v0_name};
use core::time::Duration;
use proptest::prelude::*;
use std::format;
use std::time::Instant;

fn demangled(name: &str) -> (String, bool) {
    let mut out = [0; 2 * MAX_NAME_BYTES];
    let cut = demangle_into(name, &mut out);
    (core::str::from_utf8(&out[..cut.len]).unwrap().to_string(), cut.truncated)
}

#[test]
fn names_are_read() {
    let table = [
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        ("_RNvC9backtrace3foo.llvm.A5310EB9", "backtrace::foo"),
        ("_RINvNtCs1_4core3mem4dropjE", "core::mem::drop::<usize>"),
        ("_ZN3foo3barE.cold", "foo::bar.cold"),
        // C++ and C, as they are.
        ("_ZNSt6thread4joinEv", "_ZNSt6thread4joinEv"),
        ("RC4_set_key", "RC4_set_key"),
        ("RC3foo", "RC3foo"),
        ("main", "main"),
        ("", ""),
        ("_R", "_R"),
        ("_ZN", "_ZN"),
    ];
    for (mangled, readable) in table {
        assert_eq!(demangled(mangled), (readable.to_string(), false));
    }
}

#[test]
fn long_names_are_cut_at_a_character() {
    assert_eq!(demangled(&"c".repeat(513)), ("c".repeat(512), true));
    assert_eq!(demangled(&"c".repeat(512)), ("c".repeat(512), false));
    // One byte, then characters of three: 512 falls inside one.
    let mangled = format!("_ZN2500a{}E", "$u20ac$".repeat(357));
    assert_eq!(demangled(&mangled), (format!("a{}", "€".repeat(170)), true));
    let mut out = [0; 4];
    assert_eq!(demangle_into("_ZN3foo3barE", &mut out), Cut { len: 4, truncated: true });
    assert_eq!(&out, b"foo:");
    assert_eq!(demangle_into("x", &mut []), Cut { len: 0, truncated: true });
    // Too long to be demangled.
    let mangled = format!("_ZN4090{}E", "x".repeat(4090));
    assert_eq!(demangled(&mangled), (mangled[..512].to_string(), true));
}

/// Shapes of v0 names that describe much more than they are long.
fn explosive_names() -> Vec<String> {
    let mut names = Vec::new();
    // Tuples, each of which repeats all before it: 2^n.
    let mut tuples = String::from("_RINvC1a1b");
    let start = tuples.len() - 2;
    tuples += &"T".repeat(30);
    tuples.push('p');
    for back in (0..30).rev() {
        tuples += &format!("B{}_E", base_62(start + back));
    }
    tuples.push('E');
    names.push(tuples);
    // Backward references written with as many digits as fit.
    let mut zeros = String::from("_RINvC1a1bTp");
    for _ in 0..3 {
        zeros += &format!("B{}7_", "0".repeat(1200));
    }
    zeros += "EE";
    names.push(zeros);
    // Impl paths, which are walked but not printed, in a row.
    let mut impls = String::from("_RINvC1a1b");
    impls += &"MC0".repeat(490);
    impls += "pE";
    names.push(impls);
    // Namespaces without a name print nothing; each type walks them again.
    let mut silent = String::from("_RINvC1a1bT");
    silent += &"Nv".repeat(450);
    silent += "C0";
    silent += &"0".repeat(450);
    silent += &"B9_".repeat(800);
    silent += "EE";
    names.push(silent);
    names
}

fn base_62(number: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    match number {
        0 => String::new(),
        1..=62 => char::from(DIGITS[number - 1]).to_string(),
        _ => format!(
            "{}{}",
            char::from(DIGITS[(number - 1) / 62]),
            char::from(DIGITS[(number - 1) % 62])
        ),
    }
}

#[test]
fn explosive_names_end_soon() {
    for name in explosive_names() {
        assert!(name.len() <= MAX_MANGLED_BYTES);
        let begin = Instant::now();
        let (text, _) = demangled(&name);
        let elapsed = begin.elapsed();
        std::eprintln!("{elapsed:?} for {} bytes, {}…", name.len(), &text[..text.len().min(40)]);
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?} for {name}");
    }
}

/// Names that are mostly grammar.
fn grammatical() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        &[
            "_R",
            "_ZN",
            "C",
            "N",
            "v",
            "M",
            "X",
            "Y",
            "I",
            "E",
            "B",
            "_",
            "0_",
            "5_",
            "T",
            "F",
            "D",
            "L",
            "K",
            "G",
            "R",
            "Q",
            "S",
            "A",
            "W",
            "O",
            "p",
            "u",
            "e",
            "c",
            "j",
            "h",
            "s_",
            "U",
            "V",
            "w",
            "1a",
            "3foo",
            "0",
            "u3abc",
            "17h0123456789abcdefE",
            "$LT$",
            "$u7e$",
            "..",
            ".",
            "$",
            "99999999999999999999",
            "G9999_",
            "n",
            "f0_",
            "e9_",
            "ffff_",
            "ä",
            ".llvm.",
            "@",
            "zzzzzzzzzzz_",
        ][..],
    );
    (
        prop::sample::select(&["_R", "_ZN", "_RINvC1a1b", ""][..]),
        prop::collection::vec(piece, 0..60),
    )
        .prop_map(|(head, pieces)| format!("{head}{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_name_is_survived(name in prop_oneof![grammatical(), any::<String>()], room in 0_usize..600) {
        let mut out = std::vec![0; room];
        let cut = demangle_into(&name, &mut out);
        prop_assert!(cut.len <= room.min(MAX_NAME_BYTES));
        let text = core::str::from_utf8(&out[..cut.len]).unwrap();
        // Cut or not, it is what rustc-demangle says, shortened.
        let is_rust = name.starts_with("_R") || name.starts_with("_ZN");
        let whole = if is_rust {
            format!("{:#}", rustc_demangle::demangle(&name))
        } else {
            name.clone()
        };
        // It prints nothing for a name without a part.
        let whole = if whole.is_empty() { name.clone() } else { whole };
        let mut short = std::vec![0; room];
        let short_cut = crate::symbols::shorten_into(&whole, &mut short);
        prop_assert_eq!(text.as_bytes(), &short[..short_cut.len]);
        let full_cut = demangle_full_into(&name, &mut out);
        prop_assert!(whole.as_bytes().starts_with(&out[..full_cut.len]));
        prop_assert!(full_cut.truncated || full_cut.len == whole.len());
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a thread on a painted stack")]
mod stack {
    use super::*;
    use core::ffi::c_void;

    /// What the stack is filled with before.
    const PAINT: u8 = 0xa5;
    const STACK_BYTES: usize = 4 << 20;

    extern "C" fn demangle_on_thread(argument: *mut c_void) -> *mut c_void {
        // SAFETY: `stack_use_of` passes a `&[&str]` that it keeps until the
        // join.
        let names = unsafe { *argument.cast::<&[&str]>() };
        let mut out = [0; MAX_NAME_BYTES];
        for name in names {
            core::hint::black_box(demangle_into(core::hint::black_box(name), &mut out));
        }
        core::ptr::null_mut()
    }

    fn stack_use(name: &str) -> usize {
        stack_use_of(&[name])
    }

    /// How many bytes of stack a thread takes that demangles `names`.
    fn stack_use_of(mut names: &[&str]) -> usize {
        let mut memory = std::vec![PAINT; STACK_BYTES];
        let mut attributes = core::mem::MaybeUninit::uninit();
        let mut thread = 0;
        // SAFETY: the attributes are written, not read.
        assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
        let base = memory.as_mut_ptr().cast::<c_void>();
        // SAFETY: initialised above; the memory lives until after the join.
        let set =
            unsafe { libc::pthread_attr_setstack(attributes.as_mut_ptr(), base, STACK_BYTES) };
        assert_eq!(set, 0);
        // SAFETY: all pointers are valid, and until after the join.
        let created = unsafe {
            libc::pthread_create(
                &mut thread,
                attributes.as_ptr(),
                demangle_on_thread,
                (&raw mut names).cast::<c_void>(),
            )
        };
        assert_eq!(created, 0);
        // SAFETY: the thread was just created and is joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, core::ptr::null_mut()) }, 0);
        // SAFETY: initialised above, destroyed once.
        unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
        STACK_BYTES - memory.iter().position(|&byte| byte != PAINT).unwrap()
    }

    /// A type of generic argument, nested as deep as rustc-demangle allows.
    fn nested(open: &str, leaf: &str, close: &str, depth_of_one: usize) -> String {
        // The outer path is one level, its leaf another.
        let levels = 498 / depth_of_one;
        format!("_RINvC1a1b{}{leaf}{}E", open.repeat(levels), close.repeat(levels))
    }

    #[test]
    fn the_deepest_name_stays_within_the_budget() {
        let base = stack_use("main");
        let mut buf = [0; DEEP_NAME_BYTES];
        let deepest = stack_use(deep_v0_name(&mut buf)) - base;
        std::eprintln!("deepest: {deepest} bytes of stack");
        let shapes = [
            ("references", nested("R", "p", "", 1)),
            ("tuples", nested("T", "p", "E", 1)),
            ("arrays", nested("S", "p", "", 1)),
            ("functions", nested("FE", "p", "", 1)),
            ("function arguments", nested("F", "p", "Eu", 1)),
            ("generics", nested("IC0", "p", "E", 2)),
            ("paths", nested("Nv", "C0", "0", 1)),
            ("impls", nested("MC0", "p", "", 2)),
            ("patterns", nested("Wp", "p", "", 2)),
            ("constants", format!("_RINvC1a1bK{}p{}E", "T".repeat(490), "E".repeat(490))),
            (
                "constant structures",
                format!("_RINvC1a1bK{}p{}E", "VC0S0".repeat(490), "E".repeat(490)),
            ),
            ("functions in themselves", "_RINvC1a1bFB8_EuE".to_string()),
            ("tuples in themselves", "_RINvC1a1bTB8_EE".to_string()),
            ("functions in dyn", nested("DC0p0F", "p", "EuEL_", 2)),
            ("associated types", nested("DC0p0", "p", "EL_", 1)),
            ("short dyn", nested("DC0p0", "p", "EL_", 10)),
        ];
        for (shape, name) in shapes {
            assert!(name.len() <= MAX_MANGLED_BYTES, "{shape}");
            let used = stack_use(&name) - base;
            std::eprintln!("{shape}: {used} bytes");
            // No other shape is much worse, with any compiler.
            assert!(used <= deepest + deepest / 8, "{shape}: {used} bytes, deepest {deepest}");
        }
        assert!(deepest + base <= MAX_STACK_BYTES, "{deepest} bytes of stack");
    }

    /// `GMR_ELF=OBJECT cargo test --release -p gmr-core --features symbols --
    /// --ignored --nocapture stack_of_real_names`
    #[test]
    #[ignore = "a measurement"]
    fn stack_of_real_names() {
        let path = std::env::var("GMR_ELF").unwrap_or_else(|_| "/proc/self/exe".into());
        let bytes = std::fs::read(&path).unwrap();
        let names: Vec<&str> = bytes
            .split(|&byte| byte == 0)
            .filter_map(|word| core::str::from_utf8(word).ok())
            .filter(|word| word.starts_with("_R") || word.starts_with("_ZN"))
            .collect();
        let longest = names.iter().map(|name| name.len()).max();
        let too_long = names.iter().filter(|name| name.len() > MAX_MANGLED_BYTES).count();
        let begin = Instant::now();
        let used = stack_use_of(&names) - stack_use("main");
        let elapsed = begin.elapsed();
        std::eprintln!(
            "{path}: {} names, longest {longest:?}, {too_long} too long, {used} bytes, {elapsed:?}",
            names.len()
        );
    }

    #[test]
    fn the_deepest_name_is_valid() {
        let mut buf = [0; DEEP_NAME_BYTES];
        let name = deep_v0_name(&mut buf);
        assert!(rustc_demangle::try_demangle(name).is_ok());
        let mut out = [0; MAX_NAME_BYTES];
        let Cut { len, truncated } = demangle_full_into(name, &mut out);
        let text = core::str::from_utf8(&out[..len]).unwrap();
        assert!(text.starts_with("a::b::<dyn <dyn <dyn "), "{text}");
        assert!(truncated);
        // One level more is refused: nothing valid goes deeper.
        let deeper = name.replacen("DIC0", "DIC0DIC0", 1).replacen("EEL_", "EEL_EEL_", 1);
        assert!(rustc_demangle::try_demangle(&deeper).is_err());
        assert_eq!(deep_v0_name(&mut [0; 100]), "");
    }
}
