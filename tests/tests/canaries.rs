//! No secret that is planted in a daemon comes out in a report, in any view.

use std::process::Command;

use gmr_tests::{Daemon, ErrLog, Report};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");

/// What gives a canary away, in lower case: itself, and base64 of
/// `user:cAnArY10`.
const TRACES: [&str; 2] = ["canary", "dxnlcjpjqw5bclkxma"];

const ARGUMENTS: [&str; 7] = [
    "--token",
    "cAnArY",
    "--db-password=cAnArY x",
    "--card-pin=cAnArY",
    "postgres://app:cAnArY@db/app",
    "acme_cAnArYcAnArY",
    "eyJcAnArYcAnArY.eyJcAnArY.cAnArY",
];

fn report(with: &str, view: &str) -> Report {
    let log = ErrLog::new();
    let mut command = Command::new(KEEPER);
    command.args([with, view]).args(ARGUMENTS).env_clear().envs([
        ("PATH", "/plainly/visible"),
        ("HTTPS_PROXY", "http://me:cAnArY@proxy"),
        ("LISTEN_PIN", "cAnArY"),
        ("KEEPER_WORKERS", "plainly visible"),
        ("KEEPER_TOKEN", "cAnArY"),
        ("KEEPER_NOTE", "acme_cAnArYcAnArY"),
        ("INNOCENT", "cAnArY"),
        ("DATABASE_URL", "postgres://app:cAnArY@db/app"),
    ]);
    let mut daemon = Daemon::start_command(command, log.stdio());
    daemon.trigger();
    let report = log.report(1);
    // Not that it is complete: on a busy machine a thread may answer too late.
    for section in &report.sections {
        assert_eq!(section.status, "ok", "{}: {}", section.title, report.raw);
    }
    assert!(daemon.finish().success());
    report
}

fn assert_silent(report: &Report) {
    let singing: Vec<_> = report
        .raw
        .lines()
        .filter(|line| TRACES.iter().any(|trace| line.to_lowercase().contains(trace)))
        .collect();
    assert!(singing.is_empty(), "{singing:#?}\n{}", report.raw);
}

/// That the places were reached: what stands beside the secrets is there.
#[track_caller]
fn assert_holds(text: &str, expected: &[&str]) {
    let missing: Vec<_> = expected.iter().filter(|part| !text.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:#?} in\n{text}");
}

const IN_COMMAND_LINE: [&str; 7] = [
    "      --token\n      ***\n",
    "--db-password=***",
    "--card-pin=***",
    "postgres://app:***@db/app",
    "acme_***\n",
    "      acme_***\n      ***\n",
    "keeper",
];

const IN_THREADS: [&str; 4] = [
    "token=***",
    "doing = request: GET /x?access_token=***&a=1",
    "doing = card: use acme_***",
    "amqp://user:***",
];

const IN_CARELESS: [&str; 14] = [
    "plain key = plainly visible",
    "\ndb_password = ***",
    "upstream = redis://:***@h/0",
    "amqp://u:***@host = 1",
    "token=***",
    "card_pin = ***",
    "GET /x?api_key=***&a=1\nAuthorization: ***",
    "  --token\n  ***\n  -v\n  --password=***\n  acme_***\n",
    "  user = ***\n",
    "  -----BEGIN RSA PRIVATE KEY-----\n  ***\n  ***\n  ***\n",
    "\\-----BEGIN RSA PRIVATE KEY-----\n***\n***\n\\-----END RSA PRIVATE KEY-----\n",
    "after the key",
    "session_key = exposed on purpose",
    "inner",
];

#[test]
fn no_canary_sings_in_a_report_of_gmr_std() {
    let report = report("std", "text");
    assert_silent(&report);
    assert_holds(&report.section("Processes").body, &IN_COMMAND_LINE);
    assert_holds(&report.section("Threads").body, &IN_THREADS);
    assert_holds(&report.section("Careless").body, &IN_CARELESS);
    assert_holds(
        &report.section("Configuration").body,
        &[
            "config files",
            "/etc/keeper/plain.toml",
            "/etc/keeper/acme_***.toml",
            "plain_setting = plainly visible",
            "wrapped = ***",
            "url = postgres://app:***@db:5432/app",
            "dsn = app:***@tcp(db:1)/x",
            "username = heat",
            "amqp://u:***@host = 1",
            "-----BEGIN RSA PRIVATE KEY-----",
            "amqp://u:***@a,amqp://v:***@b",
            "https://***@host/x",
            "Authorization",
            "DB_PASSWORD",
            "--db-password=***",
            "ghp_***",
            "AKIA***",
            "https://h/x?access_token=***&a=1",
            "card_pin = ***",
            "anything = ***",
            "see acme_***, Basic *** and Bearer ***",
            "token_name = X-Token",
            "session_key = exposed on purpose",
        ],
    );
    assert_holds(
        &report.section("Environment").body,
        &[
            "PATH = /plainly/visible",
            "HTTPS_PROXY = http://me:***@proxy",
            "LISTEN_PIN = ***",
            "KEEPER_WORKERS = plainly visible",
            "KEEPER_TOKEN = ***",
            "KEEPER_NOTE = acme_***",
            "INNOCENT = ***",
            "DATABASE_URL = ***",
        ],
    );
    assert_holds(&report.section("Ordinary").body, &["plain = plainly visible", "token = ***"]);
    assert_holds(&report.section("Ordinary text").body, &["Bearer ***, acme_***"]);
    assert_holds(&report.section("Ordinary list").body, &["--token\n***\nplainly visible"]);
}

#[test]
fn no_canary_sings_in_a_report_of_the_core_alone() {
    let report = report("core", "text");
    assert_silent(&report);
    assert_holds(&report.section("Processes").body, &IN_COMMAND_LINE);
    assert_holds(&report.section("Threads").body, &IN_THREADS);
    assert_holds(&report.section("Careless").body, &IN_CARELESS);
}

#[test]
fn no_canary_sings_in_json() {
    for view in ["json", "line"] {
        for with in ["std", "core"] {
            let report = report(with, view);
            assert_silent(&report);
            assert_holds(
                &report.section("Careless").body,
                &["plainly visible", "exposed on purpose"],
            );
            assert_holds(&report.section("Processes").body, &["--db-password=***"]);
            assert_holds(&report.section("Threads").body, &["token=***"]);
            if with == "std" {
                assert_holds(&report.section("Environment").body, &["/plainly/visible"]);
                assert_holds(&report.section("Configuration").body, &["plainly visible"]);
                assert_holds(&report.section("Ordinary").body, &["plainly visible"]);
            }
        }
    }
}
