//! The operator's guide: its commands for cutting reports out of logs do what
//! it says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use gmr_tests::{Daemon, ErrLog, Stream, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const GUIDE: &str = include_str!("../../gmr-std/docs/operating.md");

/// The commands of the last section, by the words in the comment above each.
fn commands() -> BTreeMap<&'static str, String> {
    let (_, section) = GUIDE.split_once("\n# Cutting a report out of a log\n").expect("a section");
    let mut commands = BTreeMap::new();
    for block in section.split("```sh\n").skip(1) {
        let (block, _) = block.split_once("```").expect("its end");
        for command in block.split("# ✓ ").skip(1) {
            let (title, command) = command.split_once('\n').expect("a command");
            commands.insert(title, command.to_owned());
        }
    }
    assert_eq!(commands.len(), 9, "{commands:?}");
    commands
}

/// A log of three reports with the program's own lines before, between and
/// behind them; and one of its threads.
fn log_with_reports(view: &str) -> (ErrLog, u32) {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 2");
    daemon.must(&format!("std view={view}"));
    let mut file = File::options().append(true).open(log.path()).expect("the log");
    for count in 1..=3 {
        writeln!(file, "INFO a line of the log\n{{\"level\": \"info\"}}").expect("the log");
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == count);
    }
    writeln!(file, "INFO the last line").expect("the log");
    let threads = gmr_tests::process::threads(daemon.pid());
    let (tid, _) = threads.iter().find(|(_, name)| *name == "parked-1").expect("a thread");
    (log, *tid)
}

/// Runs a command of the guide where `heat.log` is `log`.
fn run(command: &str, log: &ErrLog) -> String {
    let directory = log.path().with_extension("dir");
    fs::create_dir(&directory).expect("a directory");
    fs::copy(log.path(), directory.join("heat.log")).expect("a copy");
    let output = Command::new("sh").args(["-c", command]).current_dir(&directory).output();
    fs::remove_dir_all(&directory).expect("the directory");
    let output = output.expect("a shell");
    assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands leave out the first rule.
fn parse(cut: &str) -> Stream {
    let rule = "=".repeat(72);
    Stream::parse(&cut.replace(
        "====                        Guru",
        &format!("{rule}\n====                        Guru"),
    ))
}

#[test]
fn the_guides_commands_cut_text_reports_out_of_a_log() {
    let commands = commands();
    let (log, tid) = log_with_reports("text");
    let whole = until("the log", || (!log.is_empty()).then(|| Stream::parse(&log.text())));
    assert_eq!(whole.reports.len(), 3);
    assert_eq!(whole.outside.len(), 7);

    let sequences = |cut: &str| -> Vec<u64> {
        let stream = parse(cut);
        stream.assert_clean();
        stream.reports.iter().map(|report| report.sequence).collect()
    };
    assert_eq!(sequences(&run(&commands["all"], &log)), [1, 2, 3]);
    assert_eq!(sequences(&run(&commands["last"], &log)), [3]);
    assert_eq!(sequences(&run(&commands["by number"], &log)), [2]);
    assert_eq!(
        run(&commands["verdicts"], &log),
        "End of report 1: complete\nEnd of report 2: complete\nEnd of report 3: complete\n"
    );

    let section = run(&commands["section"], &log);
    assert_eq!(section.matches("summary = ").count(), 3, "{section}");
    assert_eq!(section.matches(" parked-1").count(), 3, "{section}");
    assert!(!section.contains("product = "), "{section}");
    assert!(!section.contains("rss = "), "{section}");

    let thread = run(&commands["thread"].replace("28315", &tid.to_string()), &log);
    assert_eq!(thread.matches("parked_for_the_test").count(), 3, "{thread}");
    // Alone, or with the other one: both wait.
    assert_eq!(thread.matches("\n------").count() + 1, 3, "{thread}");
    assert!(thread.starts_with("------"), "{thread}");
    assert!(thread.matches(&format!("#{tid}")).count() >= 3, "{thread}");
}

#[test]
fn the_guides_commands_cut_json_reports_out_of_a_log() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("there is no jq: not tested");
        return;
    }
    let commands = commands();
    let (log, _) = log_with_reports("line");
    assert_eq!(run(&commands["json verdicts"], &log), "[1,true,[]]\n[2,true,[]]\n[3,true,[]]\n");
    let threads = run(&commands["json threads without a whole stack"], &log);
    assert!(threads.lines().all(|line| line.contains("\"capture\":\"own\"")), "{threads}");
    assert_eq!(threads.matches("gmr-supervisor0").count(), 3, "{threads}");
    let functions = run(&commands["json innermost functions, counted"], &log);
    // The reporter's own four have none.
    assert!(functions.lines().any(|line| line.trim() == "12 -"), "{functions}");
    assert!(functions.lines().any(|line| line.ends_with(" syscall")), "{functions}");
}
