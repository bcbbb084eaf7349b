//! A daemon full of secrets, none of which may be in its report: in its
//! configuration, its sections of both kinds, scopes and names of threads here,
//! in its environment and arguments by whoever starts it.
//!
//! `keeper std|core VIEW …`: with gmr-std, or with gmr-core alone. It says
//! `ready`, and ends with its stdin.
#![allow(unsafe_code, reason = "implements the section contract")]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::mpsc::channel;
use std::thread;

use gmr_core::{Reporter, Scope};
use gmr_std::{
    Options, Pattern, Redaction, Secret, SectionResult, SectionWriter, Signal, SignalSafeSection,
    View, expose,
};
use gmr_tests::DEADLINE;
use serde::Serialize;
use serde_json::json;

/// In every secret, in some form.
const CANARY: &str = "cAnArY";

static POLICY: Redaction = Redaction::new()
    .secret_keys(&["*_pin", "dossier"])
    .public_keys(&["token_name"])
    .patterns(&[Pattern::prefixed("acme_", 12)]);

/// What looks like a private key.
const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\ncAnArYcAnArY\nAAcAnArY=\n\
                   -----END RSA PRIVATE KEY-----";

const JWT: &str = "eyJcAnArYcAnArY.eyJcAnArY.cAnArY";

#[derive(Serialize)]
struct Config {
    plain_setting: &'static str,
    wrapped: Secret<&'static str>,
    database: Database,
    keystone_authtoken: BTreeMap<&'static str, &'static str>,
    credentials: BTreeMap<&'static str, Vec<&'static str>>,
    odd_keys: BTreeMap<&'static str, u8>,
    tls_key: &'static str,
    pem_lines: Vec<&'static str>,
    pem_text: &'static str,
    brokers: Vec<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    env: Vec<BTreeMap<&'static str, &'static str>>,
    command: Vec<&'static str>,
    bytes: serde_json::Value,
    providers: Vec<String>,
    backend: Backend,
    card_pin: u32,
    dossier: BTreeMap<&'static str, &'static str>,
    note: String,
    token_name: &'static str,
    session_key: gmr_std::Exposed<&'static str>,
}

#[derive(Serialize)]
struct Database {
    url: &'static str,
    replicas: Vec<BTreeMap<&'static str, &'static str>>,
    password: Option<&'static str>,
}

#[derive(Serialize)]
enum Backend {
    Remote { api_key: &'static str, endpoint: &'static str },
}

fn config() -> Config {
    Config {
        plain_setting: "plainly visible",
        wrapped: Secret::new(CANARY),
        database: Database {
            url: "postgres://app:cAnArY/1?@db:5432/app",
            replicas: vec![BTreeMap::from([("dsn", "app:cAnArY@tcp(db:1)/x")])],
            password: Some(CANARY),
        },
        keystone_authtoken: BTreeMap::from([("username", "heat"), ("password", CANARY)]),
        credentials: BTreeMap::from([("anything", vec![CANARY])]),
        odd_keys: BTreeMap::from([
            ("amqp://u:cAnArY@host", 1),
            ("password=cAnArY", 2),
            ("", 3),
            ("x\ny", 4),
        ]),
        tls_key: KEY,
        pem_lines: KEY.lines().collect(),
        pem_text: KEY,
        brokers: vec!["amqp://u:cAnArY@a,amqp://v:cAnArY@b", "https://cAnArY@host/x"],
        headers: vec![("Authorization", "Basic dXNlcjpjQW5BclkxMA=="), ("Accept", "*/*")],
        env: vec![BTreeMap::from([("name", "DB_PASSWORD"), ("value", CANARY)])],
        command: vec!["run", "--token", CANARY, "--db-password=cAnArY x", "--verbose"],
        bytes: json!({"secret": CANARY.as_bytes()}),
        providers: providers(),
        backend: Backend::Remote {
            api_key: CANARY,
            endpoint: "https://h/x?access_token=cAnArY&a=1",
        },
        card_pin: 0x00ca_0a77,
        dossier: BTreeMap::from([("anything", CANARY)]),
        note: format!("see acme_{CANARY}{CANARY}, Basic dXNlcjpjQW5BclkxMA== and Bearer {CANARY}"),
        token_name: "X-Token",
        session_key: expose("exposed on purpose"),
    }
}

/// Tokens that their form gives away, put together here so that no scanner
/// takes them for real ones.
fn providers() -> Vec<String> {
    let rest = CANARY.repeat(7);
    ["ghp_", "github_pat_", "glpat-", "xoxb-", "sk_live_", "AIza", "npm_", "hf_"]
        .iter()
        .map(|prefix| format!("{prefix}{rest}"))
        .chain([format!("AKIA{}", "CANARY2345678901"), JWT.to_owned()])
        .collect()
}

/// A section that a signal handler may run, careless with secrets.
struct Careless;

// SAFETY: writes literals.
unsafe impl SignalSafeSection for Careless {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("plain key", "plainly visible")?;
        out.value("db_password", CANARY)?;
        out.value("upstream", "redis://:cAnArY@h/0")?;
        out.value("amqp://u:cAnArY@host", 1_u64)?;
        out.value("raw", &b"\xff token=cAnArY"[..])?;
        out.value("card_pin", CANARY)?;
        out.text("last request: GET /x?api_key=cAnArY&a=1\nAuthorization: Bearer cAnArY")?;
        out.list("arguments", |out| {
            for argument in ["--token", CANARY, "-v", "--password=cAnArY", "acme_cAnArYcAnArY"] {
                out.item(argument)?;
            }
            Ok(())
        })?;
        out.group("secrets", |out| {
            out.value("user", CANARY)?;
            out.group("inner", |out| Ok(out.item(CANARY)?))?;
            Ok(out.text(CANARY)?)
        })?;
        out.list("pem", |out| KEY.lines().try_for_each(|line| Ok(out.item(line)?)))?;
        for line in KEY.lines() {
            out.text(line)?;
        }
        out.text("after the key")?;
        out.exposed().value("session_key", "exposed on purpose")?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (with, view) = (arguments.next(), arguments.next());
    let view = match view.as_deref() {
        Some("json") => View::Json,
        Some("line") => View::JsonLine,
        _ => View::Text,
    };
    let (sender, entered) = channel();
    let thread = thread::Builder::new().name("token=cAnArY".to_owned()).spawn(move || {
        let _outer = Scope::enter_with("request", "GET /x?access_token=cAnArY&a=1");
        let _inner = Scope::enter_with("card", "use acme_cAnArYcAnArY");
        let long = format!("{} amqp://user:{}@host", "x".repeat(40), CANARY.repeat(20));
        let _cut = Scope::enter_with("cut", &long);
        let _ = sender.send(());
        loop {
            thread::park();
        }
    })?;
    entered.recv()?;

    if with.as_deref() == Some("std") {
        set_up_std(view)?;
    } else {
        static REPORTER: Reporter = Reporter::new(gmr_core::package!(product: "keeper"));
        REPORTER.register_section("Careless", &Careless)?;
        let options = Options::new()
            .view(view)
            .redaction(&POLICY)
            .report_deadline(DEADLINE)
            .section_deadline(DEADLINE);
        REPORTER.setup_autorun_with(Signal::Usr2, &options)?;
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(thread);
    Ok(())
}

fn set_up_std(view: View) -> Result<(), Box<dyn std::error::Error>> {
    let config = config();
    // The policy last: what was said before is judged by it all the same.
    gmr_std::setup_autorun(gmr_std::package!())
        .view(view)
        .conf(&config)
        .config_file("/etc/keeper/plain.toml")
        .config_file("/etc/keeper/acme_cAnArYcAnArY.toml")
        .environment(&["KEEPER_*"])
        .register_signal_safe_section("Careless", &Careless)
        .register_section("Ordinary", || json!({"plain": "plainly visible", "token": CANARY}))
        .register_section("Ordinary text", || {
            format!("Bearer {CANARY}, acme_{CANARY}{CANARY}\n{KEY}")
        })
        .register_section("Ordinary list", || vec!["--token", CANARY, "plainly visible"])
        .redaction(&POLICY)
        // What is looked for here does not depend on how busy the machine is.
        .source_lines(false)
        .report_deadline(DEADLINE)
        .section_deadline(DEADLINE)
        .install()?;
    Ok(())
}
