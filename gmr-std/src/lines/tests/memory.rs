//! What resolving costs.
//!
//! For a program of more than 100 MB (it takes a minute to compile; unwanted
//! otherwise, hence ignored):
//!
//! ```text
//! cargo test --release -p gmr-std --lib memory -- --ignored --nocapture
//! ```

use std::fmt::Write as _;

use super::*;

/// A line of /proc/self/status, in KiB.
fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// The processor time of this thread, without what it waited for one.
fn thread_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// How much the process grew at most while `work` ran, in KiB. Other threads'
/// growth is in it.
pub(super) fn peak_growth_kib<T>(work: impl FnOnce() -> T) -> (u64, T) {
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // VmHWM := VmRSS
    let before = status_kib("VmRSS:");
    let result = work();
    (status_kib("VmHWM:").saturating_sub(before), result)
}

/// A program whose debug information is large because of its many types.
fn large_program(modules: u32) -> String {
    let mut source = String::from("use std::collections::*; use std::hint::black_box;\n");
    for i in 0..modules {
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
                    list.sort_unstable();
                    tree.retain(|key, _| key.a > 1);
                    tree.remove(&Key::default());
                    black_box(format!(\"{{list:?}} {{tree:?}} {{map:?}} {{queue:?}} {{heap:?}}\"));
                    black_box((map.get(&Key::default()), heap.pop()));
                }}
            }}\n"
        )
        .unwrap();
    }
    let calls: String = (0..modules).map(|i| format!("m{i}::run();")).collect();
    source + "fn main() { " + &calls + " }"
}

#[test]
#[ignore = "compiles a program of 100 MB"]
fn memory_stays_within_the_budget() {
    let fixture = Fixture::new("large");
    std::fs::write(fixture.path("large.rs"), large_program(120)).unwrap();
    fixture.run("rustc", "--edition 2021 -g large.rs");
    let path = fixture.path("large");
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes > 100 << 20, "{bytes}");
    println!("{} MiB", bytes >> 20);
    for count in [20, 200, 2000] {
        let svmas = sample(&path, count);
        for budget_kib in [65_536, 4096, 1024, 512, 128] {
            let began = thread_time();
            let (growth_kib, table) =
                peak_growth_kib(|| resolve(vec![object(&path, &svmas)], &limits(budget_kib << 10)));
            let took = thread_time() - began;
            let summary = table.summary();
            println!("budget {budget_kib} KiB: peak +{growth_kib} KiB, {took:.1?}: {summary}");
            // What is not counted has a fixed size.
            assert!(growth_kib <= budget_kib + 256, "{growth_kib} of {budget_kib} KiB");
            if budget_kib < 512 {
                assert!(table.was_cut());
                assert!(summary.contains("over the memory budget of"));
            }
        }
    }
}
