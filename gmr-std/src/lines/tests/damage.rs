//! Damaged files: an answer or none, soon, and no panic.

use super::*;

/// Changes bytes of the debug sections, and looks up what is left.
#[test]
fn damaged_files_are_survived() {
    let fixture = Fixture::new("damage");
    for args in ["-g -O2 -gdwarf-4", "-g -O2 -gdwarf-5 -Wl,--compress-debug-sections=zlib"] {
        let path = fixture.c(args);
        let svmas = sample(&path, 50);
        let whole = std::fs::read(&path).unwrap();
        let damaged_path = fixture.path("damaged");
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = |below: usize| {
            // xorshift64: the same damage in each run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        // The debug sections and the section headers come last.
        let headers = usize::try_from(u64::from_le_bytes(*whole[40..].first_chunk().unwrap()));
        let headers = headers.unwrap();
        let mut different = 0;
        let sound = look_up(&path, &svmas);
        for round in 0..1500 {
            let mut bytes = whole.clone();
            let first = if round % 4 == 0 { headers } else { headers / 2 };
            for _ in 0..1 + next(4) {
                let at = first + next(bytes.len() - first);
                bytes[at] = match next(3) {
                    0 => 0,
                    1 => 0xff,
                    _ => bytes[at] ^ (1 << next(8)),
                };
            }
            if round % 10 == 0 {
                bytes.truncate(first + next(bytes.len() - first));
            }
            std::fs::write(&damaged_path, &bytes).unwrap();
            let metadata = std::fs::metadata(&damaged_path).unwrap();
            let object = Object {
                path: damaged_path.as_os_str().as_bytes().to_vec(),
                file: None,
                build_id: None,
                device_inode: Some((metadata.dev(), metadata.ino())),
                is_executable: true,
                wanted: svmas.iter().map(|&svma| Wanted { avma: svma, svma }).collect(),
            };
            let table = resolve(vec![object], &limits(8 << 20));
            assert!(!table.summary().contains("panicked"), "round {round}: {}", table.summary());
            assert!(!table.summary().contains("not in time"), "round {round}");
            different += usize::from(table.summary() != sound.summary());
            for &svma in &svmas {
                assert!(table.frames(svma).count() <= 129);
            }
        }
        assert!(different > 100, "the damage does not hit");
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_survived() {
    let fixture = Fixture::new("cut");
    let path = fixture.c("-g -O2");
    let svmas = sample(&path, 10);
    let cut = std::cell::Cell::new(0);
    let path_to_cut = path.clone();
    let is_wanted = move || {
        cut.set(cut.get() + 1);
        if cut.get() == 6 {
            File::options().write(true).open(&path_to_cut).unwrap().set_len(100).unwrap();
        }
        true
    };
    let table =
        resolve(vec![object(&path, &svmas)], &Limits { is_wanted: &is_wanted, ..limits(8 << 20) });
    let damaged = "debug information damaged or not readable";
    assert!(table.summary().contains(damaged), "{}", table.summary());
}
