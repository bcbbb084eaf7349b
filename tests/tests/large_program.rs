//! The first report of a large program: what finding its source lines costs.
//!
//! A daemon of more than 100 MB is generated and compiled without optimisation
//! (some minutes; unwanted otherwise, hence ignored):
//!
//! ```text
//! cargo test --release -p gmr-tests --test large_program -- --ignored --nocapture
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gmr_tests::process::status;
use gmr_tests::{Daemon, ErrLog, until};

/// Modules, each with its own types: the more, the larger.
const MODULES: u32 = 150;

const BUDGET_KIB: u64 = 64 * 1024;
const SMALL_BUDGET_KIB: u64 = 512;

fn source() -> String {
    let mut source = String::from("#![allow(clippy::all)]\nuse std::collections::*;\n");
    for i in 0..MODULES {
        write!(
            source,
            "mod m{i} {{
                use super::*;
                #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
                pub struct Key {{ a: u32, b: String, c: Option<Box<Key>> }}
                #[derive(Debug, Clone, PartialEq, PartialOrd)]
                pub struct Value<T> {{ a: T, b: Vec<T>, c: [u8; {i} + 1] }}
                impl<T: Default> Value<T> {{
                    fn new() -> Self {{ Value {{ a: T::default(), b: vec![], c: [0; {i} + 1] }} }}
                }}
                pub fn run() {{
                    let mut tree: BTreeMap<Key, Value<u64>> = BTreeMap::new();
                    let mut map: HashMap<Key, Value<String>> = HashMap::new();
                    let mut queue: VecDeque<Value<Key>> = VecDeque::new();
                    let mut heap: BinaryHeap<Key> = BinaryHeap::new();
                    for x in 0..3 {{
                        let key = Key {{ a: x, b: format!(\"{{x}}\"), c: None }};
                        tree.insert(key.clone(), Value::new());
                        map.insert(key.clone(), Value::new());
                        queue.push_back(Value::new());
                        heap.push(key);
                    }}
                    let mut list: Vec<_> = tree.iter().map(|(k, v)| (k.clone(), v.a)).collect();
                    list.sort_by(|a, b| a.0.cmp(&b.0));
                    tree.retain(|key, _| key.a > 0);
                    tree.values_mut().for_each(|value| {{
                        if value.a == 0 {{ std::hint::black_box(&value); }}
                    }});
                    std::hint::black_box(format!(\"{{list:?}} {{map:?}} {{queue:?}} {{heap:?}}\"));
                    let mut once = Some(());
                    tree.retain(|_, _| {{ if once.take().is_some() {{ stays() }} true }});
                }}
                fn stays() {{
                    super::READY.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
                    loop {{ std::thread::park() }}
                }}
            }}\n"
        )
        .unwrap();
    }
    source +=
        "static READY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);\n";
    let calls: String = (0..MODULES).map(|i| format!("std::thread::spawn(m{i}::run);\n")).collect();
    write!(
        source,
        "fn main() {{
            let budget = std::env::args().nth(1).map(|kib| kib.parse::<u64>().unwrap() << 10);
            let mut setup = gmr_std::setup_autorun(gmr_std::package!());
            if let Some(bytes) = budget {{ setup = setup.source_lines_memory(bytes); }}
            setup.install().unwrap();
            {calls}
            while READY.load(std::sync::atomic::Ordering::Acquire) < {MODULES} {{
                std::thread::sleep(std::time::Duration::from_millis(1));
            }}
            println!(\"ready\");
            let _ = std::io::stdin().lines().count();
        }}"
    )
    .unwrap();
    source
}

/// Compiles the daemon; returns where it is.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("large_program");
    std::fs::create_dir_all(home.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"large_program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\ngmr-std = {{ path = \"{}/gmr-std\" }}\n\
         # The search itself, as the documentation advises.\n\
         [profile.dev.package.gmr-std]\nopt-level = 2\n\
         [profile.dev.package.gimli]\nopt-level = 2\n[workspace]\n",
        root.display()
    );
    std::fs::write(home.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root.join("Cargo.lock"), home.join("Cargo.lock")).unwrap();
    std::fs::write(home.join("src/main.rs"), source()).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet"])
        .current_dir(&home)
        .env("CARGO_TARGET_DIR", home.join("target"))
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(built.success());
    home.join("target/debug/large_program")
}

fn kib(pid: u32, key: &str) -> u64 {
    status(pid, key).trim_end_matches(" kB").parse().expect("a number of KiB")
}

#[test]
#[ignore = "compiles a program of 100 MB"]
fn the_first_report_of_a_large_program_stays_within_its_budget_of_memory() {
    let program = build();
    let bytes = std::fs::metadata(&program).unwrap().len();
    println!("program: {} MiB", bytes >> 20);
    assert!(bytes > 100 << 20);
    for (args, budget_kib) in [(vec![], BUDGET_KIB), (vec!["512"], SMALL_BUDGET_KIB)] {
        let log = ErrLog::new();
        let daemon = Daemon::start(&program, &args, log.stdio());
        let pid = daemon.pid();
        // VmHWM := VmRSS (proc_pid_clear_refs(5)).
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let before = kib(pid, "VmRSS");
        daemon.trigger();
        let report = log.report(1);
        let peak = kib(pid, "VmHWM") - before;
        let after = until("rest", || Some(kib(pid, "VmRSS").saturating_sub(before)));
        let lines = report.end("source lines").unwrap_or_default();
        println!(
            "budget {budget_kib} KiB: peak +{peak} KiB, afterwards +{after} KiB, {}\n  {lines}",
            report.end("time taken").unwrap_or_default()
        );
        // The report has memory of its own, touched for the first time.
        const REPORT_KIB: u64 = 8 * 1024;
        assert!(peak <= budget_kib + REPORT_KIB, "{peak} KiB");
        let parked = report.threads.iter().filter(|thread| thread.is_in("::stays"));
        assert_eq!(parked.count(), MODULES as usize, "names, whatever the budget");
        if budget_kib == BUDGET_KIB {
            assert!(report.is_complete, "{}", report.reasons);
            let has_lines = |thread: &gmr_tests::report::Thread| {
                thread.frames.iter().any(|frame| frame.location.contains("src/main.rs:"))
            };
            assert_eq!(report.threads.iter().filter(|it| has_lines(it)).count(), 151);
        } else {
            assert_eq!(report.reasons, "source lines missing");
            assert!(lines.contains("over the memory budget of 512 KiB"), "{lines}");
        }
    }
}
