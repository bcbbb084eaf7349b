//! This process, and objects fresh from the compiler.

#![cfg(target_os = "linux")]

use super::*;
use crate::symbols::elf::{SYM_BYTES, Symbol, SymbolKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Result as IoResult;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;
use std::{env, eprintln, format, fs};

/// By rustix: without its feature `std` its descriptors are types of its own.
fn open(path: &str) -> IoResult<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Path and load bias of the object that `address` lies in.
///
/// The bias is where the object's first mapping begins: true for objects that
/// are linked to address 0, which all here are.
fn module_of(address: u64) -> Option<(String, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines: Vec<(u64, u64, &str)> = maps
        .lines()
        .map(|line| {
            let (start, rest) = line.split_once('-').unwrap();
            let (end, rest) = rest.split_once(' ').unwrap();
            let path = rest.splitn(5, ' ').nth(4).unwrap().trim();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            (number(start), number(end), path)
        })
        .collect();
    let (.., path) = *lines.iter().find(|(start, end, _)| (*start..*end).contains(&address))?;
    let (start, ..) = *lines.iter().find(|(.., other)| *other == path)?;
    Some((path.to_string(), start))
}

#[inline(never)]
fn marker_one(number: u64) -> u64 {
    core::hint::black_box(number) + 1
}

#[inline(never)]
fn marker_generic<T: Into<u64>>(number: T) -> u64 {
    core::hint::black_box(number.into()) * 3
}

#[test]
fn this_program_knows_its_functions() {
    let addresses = [
        marker_one as *const () as u64,
        marker_generic::<u32> as *const () as u64 + 1,
        marker_one as *const () as u64 + 2,
    ];
    let (_, bias) = module_of(addresses[0]).unwrap();
    let exe = open("/proc/self/exe").unwrap();
    let (resolved, names) = names_of(&FdSource(exe.as_fd()), &addresses.map(|at| at - bias));
    assert_eq!(resolved.status, ResolveStatus::Complete);
    let own = "gmr_core::symbols::tests::live";
    assert_eq!(names[0], Some(format!("{own}::marker_one")));
    assert!(names[1].as_ref().unwrap().starts_with(&format!("{own}::marker_generic")));
    assert_eq!(names[2], names[0]);
    assert!(resolved.symbols_read > 1000);
}

#[test]
fn the_c_library_knows_malloc() {
    let address = libc::malloc as *const () as u64;
    let Some((path, bias)) = module_of(address) else { return };
    let Ok(file) = open(&path) else { return };
    let (resolved, names) = names_of(&FdSource(file.as_fd()), &[address - bias]);
    assert_eq!(resolved.status, ResolveStatus::Complete, "{path}");
    assert!(names[0].as_ref().unwrap().ends_with("malloc"), "{names:?}");
}

#[test]
fn the_vdso_is_read_from_memory() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else { return };
    let (start, rest) = line.split_once('-').unwrap();
    let start = u64::from_str_radix(start, 16).unwrap();
    let end = u64::from_str_radix(rest.split_once(' ').unwrap().0, 16).unwrap();
    let mut bytes = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, start).unwrap();
    assert!(build_id(bytes.as_slice()).is_some());
    let found = functions(&bytes);
    let addresses: Vec<u64> = found.iter().map(|symbol| symbol.value).collect();
    let (resolved, names) = names_of(bytes.as_slice(), &addresses);
    assert_eq!(resolved.status, ResolveStatus::Complete);
    assert!(names.iter().flatten().any(|name| name.contains("clock_gettime")), "{names:?}");
}

#[test]
fn descriptors_end_and_refuse() {
    let mut buf = [0; 16];
    let exe = open("/proc/self/exe").unwrap();
    let source = FdSource(exe.as_fd());
    assert_eq!(source.read_at(0, &mut buf), Ok(16));
    assert_eq!(&buf[..4], b"\x7fELF");
    for offset in [1 << 50, i64::MAX as u64 - 1000, i64::MAX as u64 + 1, u64::MAX] {
        assert_eq!(source.read_at(offset, &mut buf), Ok(0), "{offset:#x}");
    }
    let folder = open("/").unwrap();
    let refused = FdSource(folder.as_fd()).read_at(0, &mut buf);
    assert_eq!(refused, Err(ReadError::Os { errno: libc::EISDIR }));
}

/// All sized functions of an object, found by another way: by a scan of the
/// sections of each kind, without limits.
fn functions(bytes: &[u8]) -> Vec<Symbol> {
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (shoff, shnum) = (u64_at(40), usize::from(bytes[60]) | usize::from(bytes[61]) << 8);
    let mut found = Vec::new();
    for header in (0..shnum).map(|index| shoff + index * 64) {
        if matches!(u32_at(header + 4), 2 | 11) {
            let (offset, size) = (u64_at(header + 24), u64_at(header + 32));
            for symbol in bytes[offset..offset + size].as_chunks::<SYM_BYTES>().0 {
                found.extend(Symbol::decode(symbol));
            }
        }
    }
    found.retain(|symbol| {
        symbol.kind() == SymbolKind::Function && symbol.size > 0 && symbol.section != 0
    });
    found
}

/// Compiles a library; `None` if there is no compiler here.
fn compile(name: &str, options: &[&str]) -> Option<Vec<u8>> {
    const SOURCE: &str = "
        pub mod inner {
            #[inline(never)]
            pub fn generic<T: Copy>(values: &[T], at: usize) -> T { values[at] }
        }
        #[unsafe(no_mangle)]
        pub extern \"C\" fn entry(at: usize) -> u32 {
            inner::generic(&[1_u32, 2, 3], at) + u32::from(inner::generic(&[4_u8, 5], at))
        }
    ";
    let folder = env::temp_dir().join(format!("gmr-symbols-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).ok()?;
    let (source, library) = (folder.join("fixture.rs"), folder.join("libfixture.so"));
    fs::write(&source, SOURCE).ok()?;
    let compiled = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=fixture", "-Copt-level=1"])
        .args(options)
        .arg("-o")
        .args([&library, &source])
        .output();
    let bytes = match compiled {
        Ok(output) if output.status.success() => fs::read(&library).ok(),
        other => {
            eprintln!("skipped, no fixture: {other:?}");
            None
        }
    };
    let _ = fs::remove_dir_all(&folder);
    bytes
}

#[test]
fn both_manglings_are_read() {
    for (name, options, readable) in [
        ("default", &[][..], "fixture::inner::generic"),
        ("v0", &["-Csymbol-mangling-version=v0"], "fixture::inner::generic::<u32>"),
    ] {
        let Some(bytes) = compile(name, options) else { return };
        let functions = functions(&bytes);
        let middles: Vec<u64> =
            functions.iter().map(|symbol| symbol.value + symbol.size / 2).collect();
        let (resolved, names) = names_of(bytes.as_slice(), &middles);
        assert_eq!(resolved.status, ResolveStatus::Complete);
        assert_eq!(resolved.named as usize, functions.len());
        let is_there = |wanted: &str| names.iter().flatten().any(|name| name.starts_with(wanted));
        assert!(is_there(readable), "{name}: {names:?}");
        assert!(is_there("entry"));
    }
}

#[test]
fn a_stripped_library_still_has_its_exports() {
    let Some(bytes) = compile("stripped", &["-Cstrip=symbols"]) else { return };
    let addresses: Vec<u64> = functions(&bytes).iter().map(|symbol| symbol.value).collect();
    let (_, names) = names_of(bytes.as_slice(), &addresses);
    assert!(names.contains(&Some("entry".to_string())), "{names:?}");
}

#[test]
fn build_id_is_what_the_linker_was_told() {
    let id = "-Clink-arg=-Wl,--build-id=0x0123456789abcdef";
    let Some(bytes) = compile("build-id", &[id]) else { return };
    let found = build_id(bytes.as_slice()).unwrap();
    assert_eq!(found.as_bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
}

/// `GMR_ELF=OBJECT cargo test --release -p gmr-core --features symbols -- \
///  --ignored --nocapture time_of_one_pass`
#[test]
#[ignore = "a measurement"]
fn time_of_one_pass() {
    let path = env::var("GMR_ELF").unwrap_or_else(|_| "/proc/self/exe".into());
    let file = open(&path).unwrap();
    let source = FdSource(file.as_fd());
    let bytes = fs::read(&path).unwrap();
    let functions = functions(&bytes);
    drop(bytes);
    for (count, scratch_bytes) in
        [(1000, 8 << 10), (1000, 64 << 10), (1000, 256 << 10), (10, 64 << 10)]
    {
        let mut scratch = vec![0; scratch_bytes];
        let mut memory = vec![0; 1 << 20];
        let step = (functions.len() / count).max(1);
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let mut wanted: Vec<Wanted> =
                    functions.iter().step_by(step).map(|s| Wanted::new(s.value, 0)).collect();
                let mut names = NameArena::new(&mut memory);
                let begin = Instant::now();
                let resolved =
                    resolve(&source, &mut wanted, &mut names, &mut scratch, &mut || true);
                (begin.elapsed(), resolved, wanted.len())
            })
            .collect();
        times.sort_by_key(|(elapsed, ..)| *elapsed);
        let (median, resolved, wanted) = times[times.len() / 2];
        let (best, worst) = (times[0].0, times[times.len() - 1].0);
        eprintln!(
            "{path}: {wanted} addresses, scratch {scratch_bytes}: {resolved:?}: \
             best {best:?}, median {median:?}, worst {worst:?}"
        );
    }
}
