//! A configuration on its way from the program's type to the events of a
//! report.

use std::collections::{BTreeMap, HashMap};

use gmr_core::model::{Column, Event, MAX_DEPTH, Value};
use gmr_core::redact::{Pattern, Redaction};
use gmr_core::section::{EventSink, SectionError, SectionWriter, SignalSafeSection, Stop};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::blob::Blob;
use super::encode::{LEFT_OUT_KEY, encode};
use super::flatten::{MAX_CONFIG_BYTES, MAX_TEXT_BYTES};
use super::holder::MAX_RETIRED;
use super::node::Node;
use super::{ConfigCell, ConfigError, Exposed, Secret, Table, expose, record, record_section};

/// One line for each event, indented as nested; panics on a stream that is not
/// well nested.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    open: Vec<&'static str>,
    /// Of the last head of a table.
    columns: Vec<String>,
    /// Stop after so many events.
    stop_after: Option<usize>,
    /// A list stands at the top of the section, without a key.
    takes_bare_items: bool,
}

impl Lines {
    fn is_in_list(&self) -> bool {
        self.open.last().map_or(self.takes_bare_items, |open| *open == "list")
    }
}

impl Lines {
    fn line(&mut self, text: &str) {
        self.lines.push(format!("{}{text}", "  ".repeat(self.open.len())));
    }
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Number(text) => format!("#{text}"),
        Value::Redacted => "***".into(),
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        Value::Truncated { text, full_len_bytes } => {
            format!("cut {:?} of {full_len_bytes:?}", String::from_utf8_lossy(text))
        }
        Value::None => "None".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::U64(n) => format!("u{n}"),
        Value::I64(n) => format!("i{n}"),
        other => panic!("no configuration has this value: {other:?}"),
    }
}

impl EventSink for Lines {
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        if self.stop_after == Some(self.lines.len()) {
            return Err(Stop);
        }
        match event {
            Event::Value { key, value } => {
                assert_ne!(self.open.last(), Some(&"list"), "keyed value in a list");
                self.line(&format!("{key} = {}", show(value)));
            }
            Event::Item { value } => {
                assert!(self.is_in_list(), "item outside a list");
                self.line(&show(value));
            }
            Event::BeginGroup { key } => {
                assert_eq!(key.is_none(), self.open.last() == Some(&"list"));
                self.line(&format!("{} {{", key.unwrap_or("-")));
                self.open.push("group");
            }
            Event::BeginList { key } => {
                assert_eq!(key.is_none(), self.open.last() == Some(&"list"));
                self.line(&format!("{} [", key.unwrap_or("-")));
                self.open.push("list");
            }
            Event::Close => {
                let closed = self.open.pop().expect("Close without Begin");
                self.line(if closed == "list" { "]" } else { "}" });
            }
            Event::Text(text) => self.line(&format!("| {}", String::from_utf8_lossy(text))),
            Event::BeginBlocks { key } => {
                self.line(&format!("{key} (("));
                self.open.push("list");
            }
            Event::TableHead { columns } => {
                assert!(self.is_in_list(), "table outside a list");
                let shown = |column: &Column<'_>| {
                    let side = if column.is_right_aligned { 'r' } else { 'l' };
                    format!("{}:{side}{}", column.name, column.width)
                };
                self.line(&columns.iter().map(shown).collect::<Vec<_>>().join("|"));
                self.columns = columns.iter().map(|column| column.name.to_owned()).collect();
            }
            Event::Row { columns, values } => {
                assert!(self.columns.iter().eq(columns.iter().map(|column| column.name)));
                assert!(values.len() <= columns.len(), "{event:?}");
                self.line(&values.iter().map(show).collect::<Vec<_>>().join("|"));
            }
            other => panic!("no configuration has this event: {other:?}"),
        }
        assert!(self.open.len() <= MAX_DEPTH);
        Ok(())
    }
}

fn replayed(blob: &Blob) -> Vec<String> {
    let mut lines = Lines::default();
    blob.replay(&mut SectionWriter::new(&mut lines)).expect("a sound blob");
    assert!(lines.open.is_empty(), "left open");
    lines.lines
}

fn flatten<T: Serialize + ?Sized>(config: &T) -> Result<Node, ConfigError> {
    super::flatten::flatten(config, &Redaction::new())
}

fn lines_of<T: Serialize + ?Sized>(config: &T) -> Vec<String> {
    replayed(&encode(flatten(config).expect("serializes")))
}

fn section(cell: &ConfigCell) -> Vec<String> {
    let mut lines = Lines::default();
    cell.generate(&mut SectionWriter::new(&mut lines)).expect("a sound section");
    lines.lines
}

#[derive(Serialize)]
struct Golden {
    workers: u32,
    ratio: f64,
    nan: f32,
    huge: u128,
    offset: i32,
    letter: char,
    nothing: Option<u8>,
    something: Option<bool>,
    unit: (),
    level: Level,
    store: Level,
    span: Level,
    listener: Level,
    hosts: Vec<&'static str>,
    servers: Vec<BTreeMap<&'static str, u16>>,
    by_number: BTreeMap<i32, &'static str>,
    by_pair: BTreeMap<(u8, bool), u8>,
    database: Database,
    #[serde(rename = "default")]
    real_default: BTreeMap<&'static str, u8>,
    #[serde(flatten)]
    limits: Limits,
}

#[derive(Serialize)]
enum Level {
    Debug,
    File(String),
    Range(u8, u8),
    Tcp { port: u16 },
}

#[derive(Serialize)]
struct Database {
    url: &'static str,
    password: Secret<String>,
    unset_password: Option<Secret<String>>,
    empty_password: &'static str,
    pool: Pool,
}

#[derive(Serialize)]
struct Pool {
    size: u8,
    comment: &'static str,
}

#[derive(Serialize)]
struct Limits {
    max_open: u64,
}

#[test]
fn golden() {
    let config = Golden {
        workers: 4,
        ratio: 16.0,
        nan: f32::NAN,
        huge: u128::MAX,
        offset: -3,
        letter: 'x',
        nothing: None,
        something: Some(true),
        unit: (),
        level: Level::Debug,
        store: Level::File("/var/lib/x".into()),
        span: Level::Range(1, 2),
        listener: Level::Tcp { port: 80 },
        hosts: vec!["b", "a"],
        servers: vec![BTreeMap::from([("port", 1)]), BTreeMap::new()],
        by_number: BTreeMap::from([(-1, "minus"), (10, "ten")]),
        by_pair: BTreeMap::from([((1, true), 9)]),
        database: Database {
            url: "postgres://app:pw@db/app",
            password: Secret::from(String::from("pw")),
            unset_password: None,
            empty_password: "",
            pool: Pool { size: 5, comment: "one\ntwo" },
        },
        real_default: BTreeMap::from([("workers", 8), ("zone", 1)]),
        limits: Limits { max_open: 7 },
    };
    let expected = r##"
by_number {
  -1 = "minus"
  10 = "ten"
}
by_pair {
  (1, true) = u9
}
database {
  empty_password = ""
  password = ***
  pool {
    comment = "one\ntwo"
    size = u5
  }
  unset_password = None
  url = "postgres://app:***@db/app"
}
default {
  hosts [
    "b"
    "a"
  ]
  huge = #340282366920938463463374607431768211455
  letter = "x"
  level = "Debug"
  max_open = u7
  nan = "NaN"
  nothing = None
  offset = i-3
  ratio = #16.0
  servers [
    - {
      port = u1
    }
    - {
    }
  ]
  something = true
  unit = None
  workers = u4
  workers (2) = u8
  zone = u1
}
listener {
  Tcp {
    port = u80
  }
}
span {
  Range [
    u1
    u2
  ]
}
store {
  File = "/var/lib/x"
}
"##;
    assert_eq!(lines_of(&config).join("\n"), expected.trim());
}

#[test]
fn a_bare_value_is_a_value_of_default() {
    assert_eq!(lines_of("text"), ["default {", "  value = \"text\"", "}"]);
    assert_eq!(lines_of(&[1u8]), ["default {", "  value [", "    u1", "  ]", "}"]);
    assert_eq!(lines_of(&Secret::new(3)), ["default {", "  value = ***", "}"]);
    assert_eq!(lines_of(&Level::Tcp { port: 1 }), ["Tcp {", "  port = u1", "}"]);
    assert_eq!(lines_of(&json!({})), ["| the configuration has no values"]);
}

#[test]
fn equal_keys_are_all_kept() {
    struct Twice;
    impl Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.collect_map([("k", 1), ("k (2)", 2), ("k", 3), ("k", 4)])
        }
    }
    let lines = lines_of(&Twice);
    assert_eq!(
        lines,
        ["default {", "  k = i1", "  k (2) = i2", "  k (3) = i3", "  k (4) = i4", "}"]
    );
}

/// Every canary holds this word, so one search finds any.
const CANARY: &str = "canary";

fn assert_no_canary<T: Serialize + ?Sized>(config: &T) -> Vec<String> {
    let lines = lines_of(config);
    for line in &lines {
        assert!(!line.contains(CANARY), "leaked: {line}\nin {lines:#?}");
    }
    lines
}

#[test]
fn a_component_named_after_a_secret_stays_readable() {
    let component = json!({
        "auth_url": "https://id",
        "username": "heat",
        "password": "canary1",
        "roles": ["service"],
        "endpoint": {"port": 5000, "token": "canary2"},
    });
    let lines = lines_of(&json!({
        "keystone_authtoken": component,
        "list": {"auth_tokens_of": [component], "authtoken": [component, "canary3"]},
        "secret_store": {"backend": "file", "max_tokens": 9, "token_ttl": 60, "api_key": 1},
    }));
    for shown in [
        "auth_url = \"https://id\"",
        "username = \"heat\"",
        "password = ***",
        "\"service\"",
        "port = u5000",
        "token = ***",
        "backend = \"file\"",
        "max_tokens = u9",
        "token_ttl = u60",
        "api_key = ***",
    ] {
        assert!(lines.iter().any(|line| line.trim() == shown), "{shown}: {lines:#?}");
    }
    assert!(!lines.concat().contains("canary"), "{lines:#?}");
}

#[test]
fn everything_below_a_group_of_secrets_is_masked() {
    for key in
        ["secrets", "credentials", "db_passwords", "apiTokens", "api_keys", "secret", "password"]
    {
        let inside = json!({"url": "canary1", "n": [{"port": 4711, "on": true}]});
        let lines = lines_of(&json!({"service": {key: inside}}));
        let text = lines.concat();
        for leaf in ["canary", "4711", "true"] {
            assert!(!text.contains(leaf), "{key}: {lines:#?}");
        }
        assert!(text.contains("url = ***") && text.contains("port = ***"), "{key}: {lines:#?}");
    }
}

#[test]
fn canaries_under_secret_keys() {
    let lines = assert_no_canary(&json!({
        "password": "canary1",
        "nested": {"deep": {"deeper": {"apiKey": "canary2", "API-KEY": "canary3", "port": 1}}},
        "secrets": {"a": "canary4", "b": ["canary5", {"c": "canary6"}], "n": 7, "t": true},
        "tokens": ["canary7", ["canary8"]],
        "list": [{"db_password": "canary9"}, [{"private_key": "Y2FuYXJ5canary=="}]],
        "env": [{"name": "DB_PASSWORD", "value": "canary10"}],
        "args": ["--token", "canary11", "--verbose", "--password=canary12"],
        "more_args": ["--password", "-canary14", "--db-password=two canary15"],
        "headers": [{"header": "Authorization", "value": ["canary16"]}],
        "db.password 2": "canary13",
    }));
    for kept in [
        "port = u1",
        "n = ***",
        "t = ***",
        "\"--verbose\"",
        "\"--password=***\"",
        "\"--db-password=***\"",
    ] {
        assert!(lines.iter().any(|line| line.trim() == kept), "{kept} not in {lines:#?}");
    }
}

#[test]
fn canaries_in_texts() {
    assert_no_canary(&json!({
        "amqp://user:canary1@host/": "key",
        "m": {"https://canary2@host/x": 1, "password=canary3": 2},
        "url": "amqp://u:canary4@h1:5672,u2:canary5@h2:5672//",
        "two": ["see http://a:canary6@b/ and redis://:canary7@c/0 done"],
        "pem": "-----BEGIN RSA PRIVATE KEY-----\ncanary8\ncanary9\n-----END RSA PRIVATE KEY-----\n",
        "cut_pem": "x -----BEGIN PRIVATE KEY-----\ncanary10",
        "one_line_pem": "-----BEGIN EC PRIVATE KEY-----\\ncanary11\\n-----END EC PRIVATE KEY-----",
        "header": "Authorization: Bearer canary12",
        "dsn": "host=db password='canary13 canary' user=x",
        "odbc": "Server=db;Pwd=canary14 canary;Encrypt=1",
        "query": "https://h/p?a=1&access_token=canary15&b=2",
        "json": "{\"user\": \"x\", \"password\": \"canary16\"}",
        "go": "app:canary17@tcp(db:3306)/app",
    }));
}

/// Kinds of places in which serde treats a value in a way of its own.
#[derive(Serialize)]
struct Places {
    option: Option<Secret<&'static str>>,
    list: Vec<Secret<&'static str>>,
    map: HashMap<&'static str, Secret<&'static str>>,
    as_key: BTreeMap<Secret2, u8>,
    whole_map: Secret<BTreeMap<&'static str, &'static str>>,
    whole_list: Secret<Vec<&'static str>>,
    whole_struct: Secret<Inner>,
    nested: Secret<Option<Secret<&'static str>>>,
    variant: Enum,
    struct_variant: Enum,
    internally_tagged: Tagged,
    adjacently_tagged: Adjacent,
    untagged: Untagged,
    #[serde(flatten)]
    flattened: Inner,
    #[serde(flatten)]
    flattened_secret: Secret<Inner>,
    #[serde(flatten)]
    flattened_map: Option<Secret<BTreeMap<&'static str, &'static str>>>,
    by_value: ThroughJson,
}

/// `Secret` has no order, a key of a `BTreeMap` needs one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Secret2(&'static str);

impl Serialize for Secret2 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Secret::new(self.0).serialize(s)
    }
}

#[derive(Serialize)]
struct Inner {
    plain: Secret<&'static str>,
}

#[derive(Serialize)]
enum Enum {
    New(Secret<&'static str>),
    Fields { field: Secret<&'static str> },
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Tagged {
    Some(Secret<Inner>),
}

#[derive(Serialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Some(Secret<&'static str>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Untagged {
    Some(Secret<&'static str>),
}

/// A type that serializes itself by way of another serializer.
struct ThroughJson(Secret<&'static str>);

impl Serialize for ThroughJson {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        serde_json::to_value(self.0).map_err(serde::ser::Error::custom)?.serialize(s)
    }
}

#[test]
fn canaries_in_secret() {
    let secret = || Secret::new("canary");
    let inner = || Inner { plain: secret() };
    let places = Places {
        option: Some(secret()),
        list: vec![secret(), Secret::new("")],
        map: HashMap::from([("k", secret())]),
        as_key: BTreeMap::from([(Secret2("canary"), 1)]),
        whole_map: Secret::new(BTreeMap::from([("canary", "canary")])),
        whole_list: Secret::new(vec!["canary"]),
        whole_struct: Secret::new(inner()),
        nested: Secret::new(Some(secret())),
        variant: Enum::New(secret()),
        struct_variant: Enum::Fields { field: secret() },
        internally_tagged: Tagged::Some(Secret::new(inner())),
        adjacently_tagged: Adjacent::Some(secret()),
        untagged: Untagged::Some(secret()),
        flattened: inner(),
        flattened_secret: Secret::new(inner()),
        flattened_map: Some(Secret::new(BTreeMap::from([("canary", "canary")]))),
        by_value: ThroughJson(secret()),
    };
    let lines = assert_no_canary(&places);
    for kept in ["option = ***", "plain = ***", "\"\"", "whole_map = ***", "nested = ***"] {
        assert!(lines.iter().any(|line| line.trim() == kept), "{kept} not in {lines:#?}");
    }
}

#[test]
fn unset_and_empty_secrets_stay_visible() {
    #[derive(Serialize)]
    struct Config {
        none: Secret<Option<u8>>,
        empty: Secret<&'static str>,
        set: Secret<u8>,
        password: Option<&'static str>,
        token: &'static str,
    }
    let config = Config {
        none: Secret::new(None),
        empty: Secret::new(""),
        set: Secret::new(0),
        password: None,
        token: "",
    };
    assert_eq!(
        lines_of(&config),
        [
            "default {",
            "  empty = \"\"",
            "  none = None",
            "  password = None",
            "  set = ***",
            "  token = \"\"",
            "}"
        ]
    );
}

#[test]
fn other_serializers_write_the_real_value() {
    #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Config {
        password: Secret<String>,
        nested: Option<Secret<Vec<u8>>>,
        session_key: Exposed<String>,
        #[serde(flatten)]
        flattened: Secret<BTreeMap<String, String>>,
    }
    let config = Config {
        password: Secret::new("real".into()),
        nested: Some(Secret::new(vec![1])),
        session_key: expose("X-Session".into()),
        flattened: Secret::new(BTreeMap::from([("k".into(), "v".into())])),
    };
    // A report's view of it must leave nothing behind on this thread.
    lines_of(&config);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(json, r#"{"password":"real","nested":[1],"session_key":"X-Session","k":"v"}"#);
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    let toml = toml::to_string(&config).unwrap();
    assert!(toml.contains("password = \"real\""), "{toml}");
    assert_eq!(toml::from_str::<Config>(&toml).unwrap(), config);
    // As a program does it: to a file and back.
    let path = std::env::temp_dir().join(format!("gmr-std-config-{}.toml", std::process::id()));
    std::fs::write(&path, &toml).unwrap();
    let read: Config = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read, config);
    assert_eq!(read.password.expose(), "real");
    assert!(!format!("{config:?}").contains("real"));
}

#[test]
fn a_toml_date_is_text() {
    let config: toml::Table = "when = 2026-01-02T03:04:05Z\nn = 1.5".parse().unwrap();
    assert_eq!(
        lines_of(&config),
        ["default {", "  n = #1.5", "  when = \"2026-01-02T03:04:05Z\"", "}"]
    );
}

/// serde_json's feature `arbitrary_precision` writes numbers like this, and
/// any crate of a program may switch it on.
#[test]
fn an_arbitrary_precision_number_is_a_number() {
    struct Number;
    impl Serialize for Number {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut number = s.serialize_struct("$serde_json::private::Number", 1)?;
            number.serialize_field("$serde_json::private::Number", "1.25")?;
            number.end()
        }
    }
    let lines = lines_of(&BTreeMap::from([("n", Number), ("token", Number)]));
    assert_eq!(lines, ["default {", "  n = #1.25", "  token = ***", "}"]);
}

#[test]
fn too_deep_is_said() {
    let mut value = json!({"leaf": 1});
    for _ in 0..40 {
        value = json!({"n": value});
    }
    let lines = lines_of(&value);
    assert!(lines.iter().any(|line| line.contains("nested too deep")), "{lines:#?}");
    let mut value = json!([1]);
    for _ in 0..40 {
        value = json!([value]);
    }
    let lines = lines_of(&value);
    assert!(lines.iter().any(|line| line.contains("nested too deep")), "{lines:#?}");
}

#[test]
fn too_large_is_said() {
    let numbers = vec![7u8; MAX_CONFIG_BYTES];
    let lines = lines_of(&json!({"numbers": numbers, "z": 1}));
    assert!(lines.iter().any(|line| line.contains("entries: 1024 KiB")), "numbers");
    assert!(lines.iter().any(|line| line.contains(&format!("{LEFT_OUT_KEY} = cut \"1 entries"))));
    let blob = encode(flatten(&vec!["x".repeat(1000); 5000]).unwrap());
    assert!(blob.as_bytes().len() < 2 * MAX_CONFIG_BYTES);
    let lines = lines_of(&json!({"long": "é".repeat(MAX_TEXT_BYTES)}));
    let end = format!("of Some({})", 2 * MAX_TEXT_BYTES);
    assert!(lines.iter().any(|line| line.ends_with(&end)));
    // A text that is all there is has all the room.
    let lines = lines_of(&"é".repeat(MAX_TEXT_BYTES));
    assert!(lines.iter().all(|line| !line.contains("of Some")));
    // What is cut is masked first.
    for near in [MAX_TEXT_BYTES, MAX_CONFIG_BYTES] {
        let text = format!("{}://u:{}@h", "x".repeat(near - 20), "canary".repeat(9));
        assert_no_canary(&text);
        assert_no_canary(&json!({"url": text}));
    }
}

#[test]
fn a_failing_serialize_keeps_the_previous() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("cannot: amqp://u:canary@h"))
        }
    }
    let cell = ConfigCell::new();
    let given = section(&cell);
    assert_eq!(given, ["| no configuration was given (setup_autorun(...).conf(&config))"]);
    cell.set(&json!({"a": 1})).unwrap();
    let before = section(&cell);
    let error = cell.set(&json!({"a": 2}).as_object().map(|_| Fails)).unwrap_err();
    assert_eq!(error, ConfigError::Serialize { message: "cannot: amqp://u:***@h".into() });
    assert_eq!(section(&cell), before);
    cell.set(&json!({"a": 3})).unwrap();
    assert_eq!(section(&cell), ["default {", "  a = u3", "}"]);
}

#[test]
fn a_stuck_reader_bounds_what_is_kept() {
    struct SetsWhileRead<'a>(&'a ConfigCell, Vec<Result<(), ConfigError>>);
    impl EventSink for SetsWhileRead<'_> {
        fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
            if let Event::Value { key: "n", value } = event {
                for n in 0..MAX_RETIRED + 2 {
                    self.1.push(self.0.set(&json!({"n": n})));
                }
                assert_eq!(*value, Value::U64(1000), "the value being read stays");
            }
            Ok(())
        }
    }
    let cell = ConfigCell::new();
    cell.set(&json!({"n": 1000})).unwrap();
    let mut sink = SetsWhileRead(&cell, Vec::new());
    cell.generate(&mut SectionWriter::new(&mut sink)).unwrap();
    let refused = Err(ConfigError::ReaderStuck { waiting: MAX_RETIRED });
    assert_eq!(sink.1.iter().filter(|r| r.is_ok()).count(), MAX_RETIRED);
    assert_eq!(sink.1.last(), Some(&refused));
    let lines = section(&cell);
    assert_eq!(lines.last().unwrap(), "(updates refused, the values are older) = u2");
    cell.set(&json!({"n": 5})).unwrap();
    assert_eq!(section(&cell), ["default {", "  n = u5", "}"]);
}

#[test]
fn stop_is_passed_on() {
    let blob = encode(flatten(&json!({"a": 1, "b": {"c": 2}})).unwrap());
    let mut sink = Lines { stop_after: Some(1), ..Lines::default() };
    let outcome = blob.replay(&mut SectionWriter::new(&mut sink));
    assert_eq!(outcome, Err(SectionError::Stopped));
    assert_eq!(sink.lines.len(), 1);
}

#[test]
fn replace_beside_replay() {
    static CELL: ConfigCell = ConfigCell::new();
    let config =
        |n: u64| json!({"a": n, "text": "x".repeat(usize::try_from(n % 97).unwrap()), "z": n});
    CELL.set(&config(0)).unwrap();
    std::thread::scope(|scope| {
        let setters: Vec<_> = (0..2u64)
            .map(|setter| {
                scope.spawn(move || {
                    for n in 0..500 {
                        // Refused while readers overlap for long: allowed.
                        _ = CELL.set(&config(n * 2 + setter));
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let lines = section(&CELL);
                    let number = |line: &str| line.split('u').nth(1).unwrap().to_owned();
                    assert_eq!(number(&lines[1]), number(&lines[3]), "{lines:?}");
                }
            });
        }
        for setter in setters {
            setter.join().unwrap();
        }
    });
    CELL.set(&config(1)).unwrap();
    assert_eq!(section(&CELL).len(), 5);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let key = "[a-z_:/@=\"é-]{0,6}|password|default|k|api_key|http://u:p@h";
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        "[ :/@=&;,\"'a-z?-]{0,24}".prop_map(Into::into),
        "(BEGIN |END |PRIVATE KEY|-----|bearer |basic |token|password|://|@|=|: |\\n|\"|\\\\|é){0,8}"
            .prop_map(Into::into),
    ];
    leaf.prop_recursive(20, 128, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Checks the order of keys, group by group.
#[derive(Default)]
struct SortedKeys {
    last: Vec<Option<String>>,
    top: Option<String>,
}

impl EventSink for SortedKeys {
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        let key = match event {
            Event::Value { key, .. } => Some(*key),
            Event::BeginGroup { key } | Event::BeginList { key } => *key,
            _ => None,
        };
        if let Some(key) = key {
            let last = self.last.last_mut().unwrap_or(&mut self.top);
            assert!(last.as_deref() < Some(key), "{last:?} before {key:?}");
            *last = Some(key.to_owned());
        }
        match event {
            Event::BeginGroup { .. } | Event::BeginList { .. } => self.last.push(None),
            Event::Close => _ = self.last.pop(),
            _ => {}
        }
        Ok(())
    }
}

/// A value as a section of its own, by a policy.
fn recorded<T: Serialize + ?Sized>(value: &T, policy: &Redaction) -> Vec<String> {
    let mut lines = Lines { takes_bare_items: true, ..Lines::default() };
    let blob = record(value, policy).expect("serializes");
    blob.replay(&mut SectionWriter::new(&mut lines)).expect("a sound blob");
    assert!(lines.open.is_empty(), "left open");
    lines.lines
}

#[test]
fn any_value_is_a_section() {
    let common = Redaction::new();
    assert_eq!(recorded(&7_u8, &common), ["u7"]);
    assert_eq!(recorded("password=x", &common), ["\"password=***\""]);
    assert_eq!(recorded(&Secret::from(7), &common), ["***"]);
    assert_eq!(recorded(&None::<u8>, &common), ["None"]);
    assert_eq!(recorded(&[1_u8, 2], &common), ["u1", "u2"]);
    assert_eq!(recorded(&Level::File("x".into()), &common), ["File = \"x\""]);
    assert_eq!(
        recorded(&json!({"b": 1, "a": {"token": "x"}, "c": [2, {"d": 3}]}), &common),
        ["a {", "  token = ***", "}", "b = u1", "c [", "  u2", "  - {", "    d = u3", "  }", "]"]
    );
    assert_eq!(recorded(&expose(json!({"token": 1})), &common), ["token = u1"]);
    assert_eq!(recorded(&json!({}), &common), Vec::<String>::new());
    let too_many = recorded(&vec!["x".repeat(1000); 5000], &common);
    assert!(too_many.last().unwrap().contains("entries: 1024 KiB"), "{:?}", too_many.last());
}

#[test]
fn a_policy_of_the_program_holds_in_its_configuration() {
    static POLICY: Redaction = Redaction::new()
        .secret_keys(&["*_pin", "license"])
        .public_keys(&["token_name", "credentials"])
        .patterns(&[Pattern::prefixed("acme_", 8)]);
    let config = json!({
        "userPin": 1234,
        "license": {"to": "me", "of": ["x"]},
        "token_name": "X-Token",
        "credentials": {"user": "me", "password": "x"},
        "note": "use acme_0123456789",
        "acme_0123456789": 1,
        "args": ["--card-pin", "1234"],
        "env": [{"name": "CARD_PIN", "value": "1234"}],
    });
    assert_eq!(
        recorded(&config, &POLICY),
        [
            "acme_*** = u1",
            "args [",
            "  \"--card-pin\"",
            "  ***",
            "]",
            "credentials {",
            "  password = ***",
            "  user = \"me\"",
            "}",
            "env [",
            "  - {",
            "    name = \"CARD_PIN\"",
            "    value = ***",
            "  }",
            "]",
            "license {",
            "  of [",
            "    ***",
            "  ]",
            "  to = ***",
            "}",
            "note = \"use acme_***\"",
            "token_name = \"X-Token\"",
            "userPin = ***",
        ]
    );
}

#[test]
fn lines_of_a_private_key_in_a_list() {
    let lines = ["me", "-----BEGIN PRIVATE KEY-----", "x", "", "x-----END PRIVATE KEY-----", "me"];
    assert_eq!(
        recorded(&lines, &Redaction::new()),
        ["\"me\"", "\"-----BEGIN PRIVATE KEY-----\"", "***", "\"\"", "***", "\"me\""]
    );
}

#[test]
fn what_is_exposed_is_shown() {
    #[derive(Serialize)]
    struct Shown {
        password: Exposed<&'static str>,
        secrets: BTreeMap<&'static str, Exposed<u8>>,
        url: Exposed<&'static str>,
        pair: (&'static str, Exposed<u8>),
        args: [Exposed<&'static str>; 2],
        token: Exposed<BTreeMap<&'static str, BTreeMap<&'static str, Secret<u8>>>>,
        all: Secret<Exposed<u8>>,
        nothing: Secret<Exposed<Option<u8>>>,
        bytes: Exposed<Vec<BTreeMap<&'static str, Vec<u8>>>>,
        #[serde(flatten)]
        flat: Exposed<BTreeMap<&'static str, u8>>,
    }
    let config = Shown {
        password: expose("plain"),
        secrets: BTreeMap::from([("a", expose(1))]),
        url: expose("a://u:shown@h"),
        pair: ("token", expose(2)),
        args: [expose("--token"), expose("x")],
        token: expose(BTreeMap::from([("password", BTreeMap::from([("key", Secret::from(1))]))])),
        all: Secret::from(expose(3)),
        nothing: Secret::from(expose(None)),
        bytes: expose(vec![BTreeMap::from([("token", vec![4])])]),
        // serde drops the mark: judged by its key.
        flat: expose(BTreeMap::from([("api_key", 5)])),
    };
    assert_eq!(
        recorded(&config, &Redaction::new()),
        [
            "all = ***",
            "api_key = ***",
            "args [",
            "  \"--token\"",
            "  \"x\"",
            "]",
            "bytes [",
            "  - {",
            "    token [",
            "      u4",
            "    ]",
            "  }",
            "]",
            "nothing = None",
            "pair [",
            "  \"token\"",
            "  u2",
            "]",
            "password = \"plain\"",
            "secrets {",
            "  a = u1",
            "}",
            "token {",
            "  password {",
            "    key = ***",
            "  }",
            "}",
            "url = \"a://u:shown@h\"",
        ]
    );
    // A top-level group, and elsewhere than in a report.
    assert_eq!(lines_of(&json!({"x": 1})), ["default {", "  x = u1", "}"]);
    assert_eq!(
        lines_of(&BTreeMap::from([("tokens", expose(BTreeMap::from([("a", 1_u8)])))])),
        ["tokens {", "  a = u1", "}"]
    );
    let written = serde_json::to_string(&config).unwrap();
    assert!(written.contains(r#""url":"a://u:shown@h""#) && written.contains(r#""api_key":5"#));
}

fn queues() -> Table {
    Table::new(["name", "depth", "paused"]).row(("mail", 1700_u32, false)).row((
        "webhooks",
        -2_i64,
        None::<bool>,
    ))
}

/// What a section's closure that returns this shows, and whether it is cut.
fn section_of<T: Serialize>(value: &T) -> (Vec<String>, bool) {
    let recorded = record_section(value, &Redaction::new()).expect("serializes");
    (replayed_in_list(&recorded.blob), recorded.is_cut)
}

fn replayed_in_list(blob: &Blob) -> Vec<String> {
    let mut lines = Lines { takes_bare_items: true, ..Lines::default() };
    blob.replay(&mut SectionWriter::new(&mut lines)).expect("a sound blob");
    assert!(lines.open.is_empty(), "left open");
    lines.lines
}

#[test]
fn a_table_is_a_head_and_rows() {
    let head = "name:l8|depth:r4|paused:l5";
    let rows = ["\"mail\"|u1700|false", "\"webhooks\"|i-2|None"];
    let (lines, is_cut) = section_of(&queues());
    assert_eq!(
        lines,
        [
            "rows ((".to_owned(),
            format!("  {head}"),
            format!("  {}", rows[0]),
            format!("  {}", rows[1]),
            "]".to_owned()
        ]
    );
    assert!(!is_cut);
    // Under a key, in a list, exposed.
    #[derive(Serialize)]
    struct Report {
        all: Vec<Table>,
        queues: Exposed<Table>,
    }
    let (lines, _) = section_of(&Report { all: vec![queues()], queues: expose(queues()) });
    let table = |indent: &str| [head, rows[0], rows[1]].map(|line| format!("{indent}{line}"));
    let mut expected = vec!["all [".to_owned(), "  - [".to_owned()];
    expected.extend(table("    "));
    expected.extend(["  ]", "]", "queues ["].map(str::to_owned));
    expected.extend(table("  "));
    expected.push("]".to_owned());
    assert_eq!(lines, expected);
    assert_eq!(section_of(&Table::new(["a"])).0, ["rows ((", "  a:l0", "]"]);
    assert_eq!(section_of(&Secret::new(queues())).0, ["***"]);
    assert_eq!(section_of(&Secret::new(Table::new(["a"]))).0, ["| "]);
    // In a configuration, too.
    let lines = lines_of(&BTreeMap::from([("queues", queues())]));
    assert_eq!(lines[..3], ["default {", "  queues [", &format!("    {head}")]);
}

#[test]
fn a_table_is_a_list_of_maps_elsewhere() {
    let mut table = queues();
    table.push(["only"]);
    table.push(vec![1, 2, 3, 4]);
    let table = Table::default().rows([(table, Secret::new("shown"))]);
    let rows = json!([
        {"name": "mail", "depth": 1700, "paused": false, "column 4": null},
        {"name": "webhooks", "depth": -2, "paused": null, "column 4": null},
        {"name": "only", "depth": null, "paused": null, "column 4": null},
        {"name": 1, "depth": 2, "paused": 3, "column 4": 4},
    ]);
    assert_eq!(
        serde_json::to_value(&table).unwrap(),
        json!([{"column 1": rows, "column 2": "shown"}])
    );
    assert_eq!(format!("{table:?}"), "Table { columns: [\"column 1\", \"column 2\"], rows: 1 }");
}

#[test]
fn rows_of_any_length_and_cells_of_any_type() {
    let names = ["a", "b", "a", "a (2)"];
    let table = Table::new(names)
        .row((1.5, "x", 'c', [1, 2]))
        .row((json!({"b": [1, {}], "a": "-"}),))
        .row([0_u8; 0])
        .row([7; 5]);
    let lines = section_of(&table).0;
    assert_eq!(
        lines,
        [
            "rows ((",
            "  a:l18|b:l1|a (2):l1|a (2) (2):l6|column 5:r1",
            "  #1.5|\"x\"|\"c\"|\"(1, 2)\"",
            "  \"{a: -, b: (1, {})}\"",
            "  ",
            "  i7|i7|i7|i7|i7",
            "]",
        ]
    );
}

#[test]
fn cells_are_masked_by_column_and_text() {
    let table = Table::new(["user", "api_key", "url", "http://u:canary@h", "http://u:canary2@h"])
        .row(("u1", "canary", "a://u:canary@h", 1, 2))
        .row(("u2", 7, Secret::new("canary"), "password=canary", expose("a://u:shown@h")))
        .row(("u3", expose(8), None::<u8>, "", "token"));
    let lines = section_of(&table).0;
    assert_eq!(
        lines[1..],
        [
            "  user:l2|api_key:r3|url:l11|http://u:***@h:l12|http://u:***@h (2):l13",
            "  \"u1\"|***|\"a://u:***@h\"|i1|i2",
            "  \"u2\"|***|***|\"password=***\"|\"a://u:shown@h\"",
            "  \"u3\"|i8|None|\"\"|\"token\"",
            "]",
        ]
    );
    // Another cell of the row names what stands in `value`.
    let environment = || {
        Table::new(["variable", "Value"])
            .row(("DB_PASSWORD", "canary"))
            .row(("PATH", "/bin"))
            .row(("--token", "canary"))
            .row(("x", "password"))
    };
    let expected = [
        "  \"DB_PASSWORD\"|***",
        "  \"PATH\"|\"/bin\"",
        "  \"--token\"|***",
        "  \"x\"|\"password\"",
    ];
    assert_eq!(section_of(&environment()).0[2..6], expected);
    let exposed = section_of(&expose(environment())).0.join("\n");
    assert_eq!(exposed.matches("canary").count(), 2);
    // A group of secrets has secret cells; columns are keys.
    let lines = assert_no_canary(&BTreeMap::from([(
        "credentials",
        Table::new(["user", "used"]).row(("canary", 1)),
    )]));
    assert_eq!(lines[2..4], ["    user:l3|used:l3", "    ***|***"]);
    // So has one that is named a secret by its neighbour.
    let pair = ("Authorization", Table::new(["a"]).row(("canary",)));
    assert_no_canary(&pair);
}

#[test]
fn a_table_stays_masked_where_its_name_is_lost() {
    #[derive(Serialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Table(Table),
    }
    struct Foreign(Table);
    impl Serialize for Foreign {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serde_json::to_value(&self.0).expect("JSON").serialize(serializer)
        }
    }
    let table = || Table::new(["user", "token"]).row(("u1", "canary"));
    for lines in [
        assert_no_canary(&BTreeMap::from([("x", Tagged::Table(table()))])),
        assert_no_canary(&BTreeMap::from([("x", Foreign(table()))])),
    ] {
        assert!(lines.iter().any(|line| line.contains("token = ***")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("user = \"u1\"")), "{lines:#?}");
    }
}

#[test]
fn too_large_a_table_is_said() {
    let names: Vec<_> = (0..20).map(|n| format!("c{n}")).collect();
    let (lines, is_cut) = section_of(&Table::new(names).row([7; 20]).row([8]));
    assert!(is_cut);
    assert_eq!(lines[1].split('|').count(), 16);
    assert_eq!(lines[2], format!("  {}", ["i7"; 16].join("|")));
    assert_eq!(lines[3..], ["  i8", "  cut \"4 columns: 16 are shown\" of None", "]"]);

    let rows = (0..MAX_CONFIG_BYTES as u64).map(|n| (n, "x"));
    let (lines, is_cut) = section_of(&Table::new(["n", "x"]).rows(rows));
    assert!(is_cut);
    let last = &lines[lines.len() - 2];
    assert!(last.contains("entries: 1024 KiB"), "{last}");
    assert!(lines.len() > 10_000, "{}", lines.len());

    let mut deep = json!(0);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let (lines, is_cut) = section_of(&Table::new(["x"]).row((deep,)));
    assert!(is_cut && lines[2].contains("nested too deep"), "{lines:#?}");
    for depth in 0..20 {
        /// A table, so many lists deep.
        struct Deep(usize);
        impl Serialize for Deep {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.0 {
                    0 => queues().serialize(serializer),
                    n => [Deep(n - 1)].serialize(serializer),
                }
            }
        }
        let lines = lines_of(&BTreeMap::from([("x", Deep(depth))])).join("\n");
        assert!(lines.contains("1700") || lines.contains("nested too deep"), "{lines}");
    }
}

/// Any table, as names of columns and rows of JSON.
fn any_table() -> impl Strategy<Value = (Vec<String>, Vec<Vec<serde_json::Value>>)> {
    let name = "[a-z_:/@=\"é\n-]{0,6}|password|value|name|k|http://u:p@h";
    let rows = prop::collection::vec(prop::collection::vec(any_json(), 0..6), 0..6);
    (prop::collection::vec(name, 0..20), rows)
}

proptest! {
    #[test]
    fn any_table_is_shown(
        (columns, rows) in any_table(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (count, longest) = (rows.len(), rows.iter().map(Vec::len).max().unwrap_or(0));
        let wanted = columns.len().max(longest);
        let table = Table::new(columns).rows(rows);
        let elsewhere = serde_json::to_value(&table).unwrap();
        prop_assert_eq!(elsewhere.as_array().unwrap().len(), count);
        for row in elsewhere.as_array().unwrap() {
            prop_assert_eq!(row.as_object().unwrap().len(), wanted);
        }
        let recorded = record_section(&table, &Redaction::new()).unwrap();
        let lines = replayed_in_list(&recorded.blob);
        let note = usize::from(wanted > 16);
        prop_assert!(lines.len() == 3 + count + note, "{lines:#?}");

        let mut bytes = recorded.blob.as_bytes().to_vec();
        for (index, byte) in hits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        struct Ignores;
        impl EventSink for Ignores {
            fn emit(&mut self, _: &Event<'_>) -> Result<(), Stop> {
                Ok(())
            }
        }
        _ = Blob::from_bytes(&bytes).replay(&mut SectionWriter::new(&mut Ignores));
    }

    #[test]
    fn no_secret_leaves_a_table(value in any_json(), word in "canary[a-z0-9]{4}", at in 0_usize..4) {
        let secret = json!({"tree": value, "leaf": [word]});
        let mut columns = ["a", "b", "c", "d"];
        columns[at] = "db_passwords";
        let mut row = vec![json!(1); 4];
        row[at] = secret;
        let lines = lines_of(&BTreeMap::from([("x", Table::new(columns).row(row))]));
        prop_assert!(!lines.join("\n").contains("canary"), "{lines:#?}");
    }

    #[test]
    fn any_value_is_well_nested_and_sorted(value in any_json()) {
        let blob = encode(flatten(&value).unwrap());
        replayed(&blob);
        blob.replay(&mut SectionWriter::new(&mut SortedKeys::default())).unwrap();
    }

    #[test]
    fn every_plain_leaf_is_present(numbers in prop::collection::vec(any::<u64>(), 1..40)) {
        // Numbers spread over a tree of plain keys.
        let mut root = serde_json::Map::new();
        for (i, n) in numbers.iter().enumerate() {
            match i % 4 {
                0 => _ = root.insert(format!("top{i}"), json!(n)),
                1 => _ = root.insert(format!("group{i}"), json!({"a": {"b": n}})),
                2 => _ = root.insert(format!("list{i}"), json!([[n], {"x": n}])),
                _ => _ = root.insert("default".into(), json!({"own": n})),
            }
        }
        let lines = lines_of(&root).join("\n");
        for (i, n) in numbers.iter().enumerate() {
            // Only the last group `default` is in the map.
            if i % 4 != 3 {
                let shown = format!("u{n}");
                prop_assert!(lines.contains(&shown), "{shown} not in {lines}");
            }
        }
    }

    #[test]
    fn a_secret_never_leaves(value in any_json(), word in "canary[a-z0-9]{4}") {
        let secret = json!({"tree": value, "leaf": word});
        let lines = lines_of(&json!({"x": {"password": secret, "y": [{"token": [word]}]}}));
        prop_assert!(!lines.join("\n").contains("canary"));
    }

    #[test]
    fn damage_never_panics(
        value in any_json(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let blob = encode(flatten(&value).unwrap());
        let mut bytes = blob.as_bytes().to_vec();
        for (index, byte) in hits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        struct Nesting(usize);
        impl EventSink for Nesting {
            fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
                match event {
                    Event::BeginGroup { .. }
                    | Event::BeginList { .. }
                    | Event::BeginBlocks { .. } => self.0 += 1,
                    Event::Close => self.0 = self.0.checked_sub(1).expect("Close without Begin"),
                    _ => {}
                }
                Ok(())
            }
        }
        let mut nesting = Nesting(0);
        _ = Blob::from_bytes(&bytes).replay(&mut SectionWriter::new(&mut nesting));
        prop_assert_eq!(nesting.0, 0);
    }
}
