//! Every kind of debug information, every place where it may lie.

use super::*;

const BINUTILS: &str = "addr2line";
const LLVM: &str = "llvm-addr2line";

/// How the last frame of an address may be named differently.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// Never, but for functions that the linker folded into one: one in a
    /// hundred.
    Equal,
    /// The other tool prefers symbol tables, which know more than this object's
    /// debug information.
    FromSymbols,
}

/// Looks up a sample of addresses of `path`, and compares with what a tool
/// says of `reference`, the same code.
fn compare(tool: &str, path: &Path, reference: &Path, names: Names, limits: &Limits<'_>) {
    let svmas = sample(reference, 800);
    let table = resolve(vec![object(path, &svmas)], limits);
    let summary = table.summary();
    assert!(!table.was_cut(), "{summary}");
    let expected = oracle(tool, reference, &svmas);
    let (mut named, mut known) = (0, 0);
    for svma in svmas {
        let frames: Vec<LineFrame<'_>> = table.frames(svma).collect();
        let expected = &expected[&svma];
        if frames.is_empty() {
            // Padding between functions; or a symbol without lines.
            let nothing = expected.iter().all(|frame| frame.line.is_none());
            assert!(nothing, "{svma:#x}: nothing, {expected:#?}; {summary}");
            continue;
        }
        let differ = format!("{svma:#x}: {frames:#?}, {expected:#?}");
        assert_eq!(frames.len(), expected.len(), "{differ}");
        for (frame, expected) in frames.iter().zip(expected) {
            assert_eq!(frame.line, expected.line, "{differ}");
            match (frame.file, &expected.file) {
                (Some(file), Some(expected)) => assert!(expected.ends_with(file), "{differ}"),
                // addr2line takes a symbol's name for a file, too.
                (None, Some(_)) if expected.line.is_none() => {}
                (file, expected) => assert_eq!(file.is_none(), expected.is_none(), "{differ}"),
            }
        }
        let (last, inlined) = frames.split_last().unwrap();
        assert!(!last.is_inlined && inlined.iter().all(|frame| frame.is_inlined), "{differ}");
        let same = frames
            .iter()
            .zip(expected)
            .all(|(frame, expected)| frame.function == expected.function.as_deref());
        named += usize::from(same);
        known += 1;
    }
    assert!(known > 0, "{summary}");
    if names == Names::Equal {
        assert!(named * 100 >= known * 99, "{named} of {known} names agree");
    }
}

fn compare_with(tool: &str, path: &Path) {
    compare(tool, path, path, Names::Equal, &limits(64 << 20));
}

#[test]
fn rust_without_optimization() {
    for (version, tool) in [(4, BINUTILS), (5, LLVM)] {
        let fixture = Fixture::new(&format!("debug{version}"));
        compare_with(tool, &fixture.rust(&format!("-g -C dwarf-version={version}")));
    }
}

#[test]
fn rust_with_optimization() {
    for (version, tool) in [(4, BINUTILS), (5, LLVM)] {
        let fixture = Fixture::new(&format!("release{version}"));
        compare_with(tool, &fixture.rust(&format!("-g -C opt-level=3 -C dwarf-version={version}")));
    }
}

#[test]
fn rust_with_limited_debug_information() {
    let fixture = Fixture::new("limited");
    compare_with(BINUTILS, &fixture.rust("-O -C debuginfo=1 -C dwarf-version=4"));
    let path = fixture.rust("-O -C debuginfo=line-tables-only -C dwarf-version=4");
    compare(BINUTILS, &path, &path, Names::FromSymbols, &limits(64 << 20));
}

#[test]
fn rust_with_fat_lto() {
    let fixture = Fixture::new("lto");
    compare_with(BINUTILS, &fixture.rust("-g -C opt-level=3 -C lto=fat -C dwarf-version=4"));
}

#[test]
fn split_units() {
    for (how, version) in [("packed", 5), ("packed", 4), ("unpacked", 5)] {
        let fixture = Fixture::new(&format!("{how}{version}"));
        let args = format!("-g -O -C split-debuginfo={how} -C dwarf-version={version}");
        compare_with(LLVM, &fixture.rust(&args));
    }
}

#[test]
fn a_missing_package_costs_the_functions_only() {
    let fixture = Fixture::new("missing-dwp");
    let path = fixture.rust("-g -O -C split-debuginfo=packed");
    let svmas = sample(&path, 500);
    let whole = look_up(&path, &svmas);
    std::fs::remove_file(fixture.path("program.dwp")).unwrap();
    let lines = look_up(&path, &svmas);
    assert!(lines.summary().contains("split-off debug information not found"));
    let mut without_function = 0;
    for svma in svmas {
        let place = |table: &LineTable| {
            let frame = table.frames(svma).next()?;
            Some((frame.file.map(str::to_owned), frame.line))
        };
        assert_eq!(place(&whole), place(&lines), "{svma:#x}");
        without_function += lines.frames(svma).filter(|frame| frame.function.is_none()).count();
    }
    assert!(without_function > 0);
}

#[test]
fn split_units_are_not_looked_for_in_the_working_directory() {
    let fixture = Fixture::new("relative-dwo");
    // The tests' working directory as seen from there is where the file is.
    let here = std::env::current_dir().unwrap();
    let up: String = here.components().skip(1).map(|_| "../").collect();
    let relative = format!("{up}{}", fixture.0.strip_prefix("/").unwrap().display());
    for (dir, is_found) in [(fixture.0.to_str().unwrap(), true), (&relative, false)] {
        let map = format!("-fdebug-prefix-map={}={dir}", fixture.0.display());
        let path = fixture.c(&format!("-g -O2 -gdwarf-4 -gsplit-dwarf {map}"));
        let table = look_up(&path, &sample(&path, 10));
        let is_missing = table.summary().contains("split-off debug information not found");
        assert_eq!(is_missing, !is_found, "{dir}: {}", table.summary());
    }
}

#[test]
fn c_with_and_without_aranges() {
    for (args, tool) in [
        ("-g -O2 -gdwarf-4", BINUTILS),
        ("-g -O2 -gdwarf-5", LLVM),
        ("-g -O0 -gdwarf-4", BINUTILS),
        ("-g -O2 -gdwarf-4 -gsplit-dwarf", LLVM),
        ("-g -O2 -gdwarf-5 -gsplit-dwarf", LLVM),
        ("-g -O2 -gdwarf-4 -no-pie", BINUTILS),
    ] {
        let fixture = Fixture::new("c");
        let path = fixture.c(args);
        compare_with(tool, &path);
        fixture.run("objcopy", "--remove-section .debug_aranges program");
        compare_with(tool, &path);
    }
}

#[test]
fn a_linked_debug_file() {
    let fixture = Fixture::new("link");
    for args in ["-g -O", "-g -O -C link-arg=-Wl,--build-id=none"] {
        let path = fixture.rust(&format!("{args} -C dwarf-version=4"));
        std::fs::copy(&path, fixture.path("whole")).unwrap();
        fixture.run("objcopy", "--only-keep-debug program program.debug");
        fixture.run("objcopy", "--strip-debug --add-gnu-debuglink=program.debug program");
        let check = |limits: &Limits<'_>| {
            compare(BINUTILS, &path, &fixture.path("whole"), Names::Equal, limits);
        };
        check(&limits(64 << 20));
        std::fs::create_dir_all(fixture.path(".debug")).unwrap();
        fixture.run("mv", "program.debug .debug/program.debug");
        check(&limits(64 << 20));
        let dirs = [fixture.path("debug")];
        let below = dirs[0].join(fixture.0.strip_prefix("/").unwrap());
        std::fs::create_dir_all(&below).unwrap();
        std::fs::rename(fixture.path(".debug/program.debug"), below.join("program.debug")).unwrap();
        check(&Limits { debug_dirs: &dirs, ..limits(64 << 20) });

        // A file of another build is not believed.
        fixture.rust(&format!("{args} -C metadata=other -C opt-level=1"));
        fixture.run("mv", "program other.debug");
        std::fs::copy(fixture.path("whole"), &path).unwrap();
        fixture.run("objcopy", "--only-keep-debug program program.debug");
        fixture.run("objcopy", "--strip-debug --add-gnu-debuglink=program.debug program");
        fixture.run("mv", "other.debug program.debug");
        let table = look_up(&path, &sample(&path, 10));
        assert!(table.summary().contains("without debug information: 1 object"));
    }
}

#[test]
fn a_debug_file_by_build_id() {
    let fixture = Fixture::new("build-id");
    let path = fixture.rust("-g -O -C dwarf-version=4 -C link-arg=-Wl,--build-id");
    std::fs::copy(&path, fixture.path("whole")).unwrap();
    let id = ElfFile::new(File::open(&path).unwrap()).unwrap().build_id().unwrap();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = fixture.path("debug").join(".build-id").join(&id[..2]);
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("{}.debug", &id[2..]));
    fixture.run("objcopy", &format!("--only-keep-debug program {}", file.display()));
    fixture.run("objcopy", "--strip-all program");
    let dirs = [fixture.path("debug")];
    let limits = Limits { debug_dirs: &dirs, ..limits(64 << 20) };
    compare(BINUTILS, &path, &fixture.path("whole"), Names::Equal, &limits);
}

/// The names of functions that are not inlined, by addresses of `path`: the
/// core's, from its symbol table.
fn symbols(path: &Path, svmas: &[u64]) -> Vec<Option<String>> {
    use gmr_core::symbols::{NameArena, Wanted, resolve};
    let elf = ElfFile::new(File::open(path).unwrap()).unwrap();
    let (mut memory, mut scratch) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut names = NameArena::new(&mut memory);
    let mut wanted: Vec<_> = svmas.iter().map(|&svma| Wanted::new(svma, 0)).collect();
    resolve(&elf.source(), &mut wanted, &mut names, &mut scratch, &mut || true);
    wanted.iter().map(|wanted| wanted.name.map(|name| names.get(name).to_owned())).collect()
}

#[test]
fn a_stripped_program_has_the_symbols_of_its_debug_file() {
    let fixture = Fixture::new("symbols");
    let path = fixture.rust("-O -C debuginfo=line-tables-only -C dwarf-version=4");
    let svmas = sample(&path, 2000);
    let expected = symbols(&path, &svmas);
    let before = look_up(&path, &svmas);
    fixture.run("objcopy", "--only-keep-debug program program.debug");
    fixture.run("objcopy", "--strip-all --add-gnu-debuglink=program.debug program");
    assert_eq!(symbols(&path, &svmas), vec![None; svmas.len()]);
    let table = look_up(&path, &svmas);
    assert!(!table.was_cut(), "{}", table.summary());
    assert_eq!(table.summary(), before.summary(), "a name is no line");
    let (mut better, mut only) = (0, 0);
    for (&svma, expected) in svmas.iter().zip(&expected) {
        let name = |table: &LineTable| {
            let last = table.frames(svma).last()?;
            assert!(!last.is_inlined);
            last.function.map(str::to_owned)
        };
        let place = |table: &LineTable| -> Vec<_> {
            let places =
                table.frames(svma).map(|frame| (frame.file.map(str::to_owned), frame.line));
            places.filter(|(file, _)| file.is_some()).collect()
        };
        assert_eq!(place(&table), place(&before), "{svma:#x}");
        // Where there is no symbol, the debug information's.
        assert_eq!(name(&table), expected.clone().or_else(|| name(&before)), "{svma:#x}");
        better += usize::from(name(&before).is_some() && name(&before) != name(&table));
        only += usize::from(name(&before).is_none() && expected.is_some());
    }
    assert!(better > 100 && only > 0, "{better} better, {only} only there");

    // Which is what remains where there is no memory for symbols.
    let limits = limits(600 << 10);
    let table = resolve(vec![object(&path, &svmas)], &limits);
    assert!(table.was_cut() && table.summary().contains(".symtab"), "{}", table.summary());
}

#[test]
fn compressed_sections() {
    for how in ["zlib", "zstd"] {
        let fixture = Fixture::new(how);
        let path = fixture.rust("-g -O -C dwarf-version=4");
        std::fs::copy(&path, fixture.path("whole")).unwrap();
        let before = std::fs::metadata(&path).unwrap().len();
        fixture.run("objcopy", &format!("--compress-debug-sections={how} program"));
        assert!(std::fs::metadata(&path).unwrap().len() < before);
        let whole = fixture.path("whole");
        compare(BINUTILS, &path, &whole, Names::Equal, &limits(64 << 20));

        // They do not fit here.
        let svmas = sample(&whole, 10);
        let table = resolve(vec![object(&path, &svmas)], &limits(1 << 20));
        assert!(table.was_cut());
        assert!(table.summary().contains("over the memory budget of 1 MiB"), "{}", table.summary());
    }
}

#[test]
fn another_file_is_not_believed() {
    let fixture = Fixture::new("identity");
    let path = fixture.c("-g -O2");
    let svmas = sample(&path, 10);
    let summary = |change: &dyn Fn(&mut Object)| {
        let mut object = object(&path, &svmas);
        change(&mut object);
        resolve(vec![object], &limits(64 << 20)).summary().to_owned()
    };
    let refused = "the file is not what is mapped, or not there: 1 object";
    assert!(!summary(&|_| {}).contains(refused));
    assert!(summary(&|object| object.build_id = Some(vec![1; 20])).contains(refused));
    assert!(summary(&|object| object.path.push(b'x')).contains(refused));
    let by_inode = |object: &mut Object| object.build_id = None;
    assert!(!summary(&by_inode).contains(refused));
    assert!(
        summary(&|object| {
            by_inode(object);
            object.device_inode = Some((1, 2));
        })
        .contains(refused)
    );
    // A descriptor that is open already is read wherever the path leads.
    assert!(
        !summary(&|object| {
            object.file = Some(File::open(&path).unwrap());
            object.path = b"/nowhere".to_vec();
        })
        .contains(refused)
    );
}

#[test]
fn what_was_not_done_is_said() {
    let fixture = Fixture::new("said");
    let path = fixture.c("-g -O2");
    let svmas = sample(&path, 10);
    let objects = || vec![object(&path, &svmas)];
    let late = Limits { deadline: Instant::now(), ..limits(64 << 20) };
    let table = resolve(objects(), &late);
    assert!(table.was_cut() && table.summary().contains("not in time: 1 object"));
    let unwanted = Limits { is_wanted: &|| false, ..limits(64 << 20) };
    assert!(resolve(objects(), &unwanted).summary().contains("not in time"));

    let library = Object {
        path: b"/usr/lib/x86_64-linux-gnu/libc.so.6".to_vec(),
        is_executable: false,
        ..object(&path, &svmas)
    };
    let table = resolve(vec![library], &limits(64 << 20));
    assert!(!table.was_cut());
    assert!(table.summary().ends_with(&format!("; {} in system libraries", svmas.len())));

    fixture.run("strip", "program");
    let table = look_up(&path, &svmas);
    assert!(table.summary().starts_with("0 of "));
    assert!(table.summary().contains("without debug information: 1 object"));
    assert_eq!(table.frames(svmas[0]).count(), 0);
}

#[test]
fn what_another_try_may_find_is_known() {
    let fixture = Fixture::new("for-now");
    let path = fixture.rust("-g -O -C dwarf-version=4");
    let svmas = sample(&path, 200);
    let missing = |table: &LineTable| {
        let missing = |svma: &&u64| table.frames(**svma).count() == 0;
        svmas.iter().filter(missing).copied().collect::<Vec<u64>>()
    };
    let for_now = |table: &LineTable| -> Vec<u64> {
        svmas.iter().filter(|&&svma| table.lost_for_now(svma)).copied().collect()
    };
    let found = look_up(&path, &svmas);
    assert!(!found.was_cut() && for_now(&found).is_empty());
    assert!(!found.lost_for_now(1), "nobody asked");

    // Some units are read in time; those without lines are lost all the same.
    let asked = std::cell::Cell::new(0);
    let until = |most: u32| {
        asked.set(0);
        let is_wanted = || {
            asked.set(asked.get() + 1);
            asked.get() < most
        };
        let limits = Limits { is_wanted: &is_wanted, ..limits(64 << 20) };
        resolve(vec![object(&path, &svmas)], &limits)
    };
    for most in [0, 20, 40, 80, 160] {
        let table = until(most);
        assert!(table.was_cut(), "{most}: {}", table.summary());
        assert_eq!(for_now(&table), missing(&table), "{}", table.summary());
        for &svma in svmas.iter().filter(|&&svma| !table.lost_for_now(svma)) {
            assert!(table.frames(svma).eq(found.frames(svma)), "{svma:#x}: whole or not at all");
        }
    }
    // No memory for anything; none for the compressed sections.
    let object = || vec![object(&path, &svmas)];
    assert_eq!(for_now(&resolve(object(), &limits(1 << 10))), svmas);
    fixture.run("objcopy", "--compress-debug-sections=zlib program");
    assert_eq!(for_now(&resolve(object(), &limits(1 << 20))), svmas);

    fixture.run("strip", "program");
    let table = look_up(&path, &svmas);
    assert_eq!((missing(&table), for_now(&table)), (svmas.clone(), Vec::new()));
}
