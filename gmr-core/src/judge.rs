//! Masks secrets in what sections write: in the program's own, in names of
//! threads and in what is read of processes.
//!
//! The judge stands between the section and the report. It
//!
//! 1. keeps in mind, of the containers that are open, what their keys say of
//!    what is in them;
//! 2. makes the value under a secret key [`Value::Redacted`], unless there is
//!    none, or an empty one;
//! 3. looks for secrets in every other text ([`crate::redact`]). Where there
//!    is none, which is the rule, the event passes as it is; else the text is
//!    copied with its secrets masked.
//!
//! What the section exposes passes unseen, but for its containers.
//!
//! # Limits
//!
//! Containers deeper than [`MAX_OPEN`] are judged as one. What has to be copied
//! is cut at the scratch's size, visibly; what is cut is never shown unmasked.
//! A private key may go on in the texts and items that follow, to the end of
//! the section; of other secrets each event must hold the whole.

use crate::model::{
    ActiveScope, Await, Event, Process, Task, Thread, ThreadGroup, ThreadMember, Value,
};
use crate::redact::{self, MASK, Redaction};
use crate::section::{EventSink, SectionResult, SectionWriter, Stop};

mod table;

/// Containers that are told apart; a report nests no deeper
/// ([`crate::model::MAX_DEPTH`]).
const MAX_OPEN: usize = 32;
const DEEPEST: usize = MAX_OPEN - 1;

/// How much of a key is kept if it has to be copied.
const KEY_BYTES: usize = 256;

/// What a key ends in that was cut.
const CUT_KEY: &str = "…";

/// Lets `body` write to `out`, with secrets masked in `scratch`.
pub(crate) fn judged(
    policy: &Redaction,
    scratch: &mut [u8],
    out: &mut SectionWriter<'_>,
    body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
) -> SectionResult {
    let mut judge = Judge::new(policy, scratch, out);
    body(&mut SectionWriter::new(&mut judge))
}

struct Judge<'a, 'w> {
    out: &'a mut SectionWriter<'w>,
    policy: &'a Redaction,
    key_scratch: &'a mut [u8],
    scratch: &'a mut [u8],
    open: [Open; MAX_OPEN],
    depth: usize,
    /// A private key began in a text and has not ended.
    is_in_key: bool,
}

/// What is known of an open container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Open {
    /// What of its content is secret.
    hides: Hides,
    /// The item before was an option that takes a secret: `--token`.
    after_option: bool,
    /// A `name` in it named a secret: its `value` is one.
    is_named: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Hides {
    #[default]
    Nothing,
    /// Its items; not what is in a group among them.
    Items,
    Everything,
}

impl<'a, 'w> Judge<'a, 'w> {
    fn new(policy: &'a Redaction, scratch: &'a mut [u8], out: &'a mut SectionWriter<'w>) -> Self {
        let keys = scratch.len().min(KEY_BYTES);
        let (key_scratch, scratch) = scratch.split_at_mut(keys);
        Judge {
            out,
            policy,
            key_scratch,
            scratch,
            open: [Open::default(); MAX_OPEN],
            depth: 0,
            is_in_key: false,
        }
    }

    /// The innermost container that is told apart.
    fn innermost(&self) -> Open {
        self.open.get(self.depth.min(DEEPEST)).copied().unwrap_or_default()
    }

    fn set_innermost(&mut self, open: Open) {
        if let Some(place) = self.open.get_mut(self.depth.min(DEEPEST)) {
            *place = open;
        }
    }

    fn begin(&mut self, key: Option<&str>, is_list: bool) {
        let outer = self.innermost();
        let around = outer.hides;
        let is_named_value = outer.is_named && key.is_some_and(is_value);
        if outer.after_option {
            self.set_innermost(Open { after_option: false, ..outer });
        }
        let by_key = match key {
            _ if outer.after_option || is_named_value => Hides::Everything,
            Some(key) if self.policy.is_secret_group(key) => Hides::Everything,
            Some(key) if is_list && self.policy.is_secret_key(key) => Hides::Items,
            _ => Hides::Nothing,
        };
        let hides = match around.max(by_key) {
            Hides::Items if !is_list => Hides::Nothing,
            hides => hides,
        };
        self.depth = self.depth.saturating_add(1);
        if self.depth <= DEEPEST {
            self.set_innermost(Open { hides, ..Open::default() });
        } else if hides != Hides::Nothing {
            // It stands for all that is deeper: once secret, it stays so.
            self.set_innermost(Open { hides: Hides::Everything, ..Open::default() });
        }
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn value(&mut self, key: &str, value: Value<'_>) -> Result<(), Stop> {
        let mut open = self.innermost();
        let is_secret = open.hides == Hides::Everything
            || (open.is_named && is_value(key))
            || self.policy.is_secret_key(key);
        if is_name(key)
            && let Value::Text(name) = value
        {
            open.is_named = self.policy.is_secret_key(name);
            self.set_innermost(open);
        }
        let Judge { out, policy, key_scratch, scratch, .. } = self;
        let key = masked_key(policy, key, key_scratch);
        let value = if is_secret { hidden(value) } else { masked_value(policy, value, scratch) };
        out.event(&Event::Value { key, value })
    }

    fn item(&mut self, value: Value<'_>) -> Result<(), Stop> {
        let mut open = self.innermost();
        let is_secret = open.hides != Hides::Nothing;
        let text = text_of(&value).unwrap_or_default();
        let follows_option = open.after_option && redact::is_value(text);
        let takes_secret = self.policy.takes_secret(text);
        if takes_secret != open.after_option {
            open.after_option = takes_secret;
            self.set_innermost(open);
        }
        let is_of_key = self.is_of_key(text);
        let Judge { out, policy, scratch, .. } = self;
        let value = if is_secret || follows_option || is_of_key {
            hidden(value)
        } else {
            masked_item(policy, value, scratch)
        };
        out.event(&Event::Item { value })
    }

    /// Whether a text without a key goes on with a private key that began before.
    fn is_of_key(&mut self, text: &[u8]) -> bool {
        let is_of_key = self.is_in_key && !text.is_empty();
        if is_of_key {
            self.is_in_key = redact::private_key_end(text).is_none();
        } else if redact::ends_in_private_key(text) {
            self.is_in_key = true;
        }
        is_of_key
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Stop> {
        if self.innermost().hides != Hides::Nothing && !text.is_empty() {
            return self.out.event(&Event::Text(MASK.as_bytes()));
        }
        let mut fill = Fill::new(self.scratch);
        let mut rest = text;
        if self.is_in_key && !text.is_empty() {
            fill.push(MASK.as_bytes());
            let end = redact::private_key_end(text);
            self.is_in_key = end.is_none();
            rest = end.and_then(|end| text.get(end..)).unwrap_or_default();
        }
        self.is_in_key |= redact::ends_in_private_key(rest);
        let found = fill.push_masked(self.policy, rest);
        if !found {
            if rest.len() == text.len() {
                return self.out.event(&Event::Text(text));
            }
            fill.push(rest);
        }
        self.out.event(&Event::Text(fill.bytes()))?;
        if fill.is_cut {
            let full_len_bytes = u64::try_from(text.len()).ok();
            let value = Value::Truncated { text: b"", full_len_bytes };
            self.out.event(&Event::Item { value })?;
        }
        Ok(())
    }
}

impl EventSink for Judge<'_, '_> {
    fn deadline_ns(&self) -> u64 {
        self.out.deadline_ns()
    }

    fn check(&self) -> Result<(), Stop> {
        self.out.check()
    }

    fn sequence(&self) -> u64 {
        self.out.sequence()
    }

    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        let is_hidden = self.innermost().hides == Hides::Everything;
        match *event {
            Event::Value { key, value } => return self.value(key, value),
            Event::Item { value } => return self.item(value),
            Event::Text(text) => return self.text(text),
            Event::TableHead { columns } => return self.table_head(columns),
            Event::Row { columns, values } => return self.row(columns, values),
            _ => self.follow(event),
        }
        // Of the container that this event has opened, if it has.
        let is_secret = self.innermost().hides == Hides::Everything;
        let Judge { out, policy, key_scratch, scratch, .. } = self;
        out.event(&match *event {
            Event::BeginGroup { key: Some(key) } => {
                Event::BeginGroup { key: Some(masked_key(policy, key, key_scratch)) }
            }
            Event::BeginSummary { key, text } => {
                let text = if is_secret { MASK } else { masked_text(policy, text, scratch) };
                Event::BeginSummary { key: masked_key(policy, key, key_scratch), text }
            }
            Event::BeginList { key: Some(key) } => {
                Event::BeginList { key: Some(masked_key(policy, key, key_scratch)) }
            }
            Event::BeginBlocks { key } => {
                Event::BeginBlocks { key: masked_key(policy, key, key_scratch) }
            }
            Event::BeginThread(thread) => {
                let name = if is_hidden { MASK.as_bytes() } else { thread.name };
                Event::BeginThread(Thread { name: masked_bytes(policy, name, scratch), ..thread })
            }
            Event::BeginThreadGroup(group) => {
                let name = if is_hidden { MASK.as_bytes() } else { group.first_name };
                Event::BeginThreadGroup(ThreadGroup {
                    first_name: masked_bytes(policy, name, scratch),
                    ..group
                })
            }
            Event::BeginMember(member) => {
                let name = if is_hidden { MASK.as_bytes() } else { member.name };
                let summary = if is_hidden { "" } else { member.summary };
                Event::BeginMember(ThreadMember {
                    name: masked_bytes(policy, name, key_scratch),
                    // It names the owner of a lock.
                    summary: masked_text(policy, summary, scratch),
                    ..member
                })
            }
            Event::Scope(scope) => {
                let detail = match is_hidden {
                    true => hidden(scope.detail),
                    false => masked_value(policy, scope.detail, scratch),
                };
                Event::Scope(ActiveScope { detail, ..scope })
            }
            Event::BeginProcess(process) => {
                let name = if is_hidden { MASK.as_bytes() } else { process.name };
                Event::BeginProcess(Process {
                    name: masked_bytes(policy, name, scratch),
                    ..process
                })
            }
            Event::BeginTask(task) => {
                let name = task.name.map(|name| if is_hidden { MASK } else { name });
                Event::BeginTask(Task {
                    name: name.map(|name| masked_text(policy, name, key_scratch)),
                    future: task.future.map(|future| masked_text(policy, future, scratch)),
                    ..task
                })
            }
            // The note may quote the program; where the code is, is public.
            Event::Await(level) => {
                let note = if is_hidden && !level.note.is_empty() { MASK } else { level.note };
                Event::Await(Await {
                    function: masked_text(policy, level.function, scratch),
                    note: masked_text(policy, note, key_scratch),
                    ..level
                })
            }
            other => other,
        })
    }

    fn emit_exposed(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        self.follow(event);
        self.out.event(event)
    }
}

impl Judge<'_, '_> {
    /// Keeps count of containers.
    fn follow(&mut self, event: &Event<'_>) {
        match *event {
            Event::BeginGroup { key } => self.begin(key, false),
            Event::BeginSummary { key, .. } => self.begin(Some(key), false),
            Event::BeginList { key } => self.begin(key, true),
            Event::BeginBlocks { key } => self.begin(Some(key), false),
            Event::BeginThread(_)
            | Event::BeginThreadGroup(_)
            | Event::BeginMember(_)
            | Event::BeginTask(_)
            | Event::BeginProcess(_) => self.begin(None, false),
            Event::Close => self.close(),
            _ => {}
        }
    }
}

fn is_name(key: &str) -> bool {
    ["name", "key", "header"].iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// What is named by what [`is_name`].
fn is_value(key: &str) -> bool {
    key.eq_ignore_ascii_case("value")
}

/// What text a value shows.
fn text_of<'t>(value: &Value<'t>) -> Option<&'t [u8]> {
    match *value {
        Value::Text(text) | Value::Number(text) => Some(text.as_bytes()),
        Value::Bytes(text) | Value::Truncated { text, .. } => Some(text),
        _ => None,
    }
}

/// The value under a secret key: that it is unset or empty may be seen.
fn hidden(value: Value<'_>) -> Value<'_> {
    match value {
        Value::None | Value::Text("") | Value::Bytes(b"") => value,
        _ => Value::Redacted,
    }
}

fn masked_value<'s>(policy: &Redaction, value: Value<'s>, scratch: &'s mut [u8]) -> Value<'s> {
    let Some(text) = text_of(&value) else { return value };
    if let Value::Truncated { full_len_bytes, .. } = value {
        return Value::Truncated { text: masked_cut(policy, text, scratch), full_len_bytes };
    }
    let mut fill = Fill::new(scratch);
    if !fill.push_masked(policy, text) {
        return value;
    }
    let is_cut = fill.is_cut;
    let masked = fill.into_bytes();
    match value {
        _ if is_cut => {
            Value::Truncated { text: masked, full_len_bytes: u64::try_from(text.len()).ok() }
        }
        // Ranges of text begin and end between characters.
        Value::Text(_) | Value::Number(_) => {
            core::str::from_utf8(masked).map_or(Value::Bytes(masked), Value::Text)
        }
        _ => Value::Bytes(masked),
    }
}

/// An item may be an argument, which is one value to its end.
fn masked_item<'s>(policy: &Redaction, value: Value<'s>, scratch: &'s mut [u8]) -> Value<'s> {
    let Value::Text(text) = value else { return masked_value(policy, value, scratch) };
    let Some(shown) = policy.shown_of_argument(text.as_bytes()) else {
        return masked_value(policy, value, scratch);
    };
    let mut fill = Fill::new(scratch);
    fill.push(shown);
    fill.push(MASK.as_bytes());
    let is_cut = fill.is_cut;
    match core::str::from_utf8(fill.into_bytes()) {
        Ok(masked) if !is_cut => Value::Text(masked),
        _ => Value::Redacted,
    }
}

/// What was cut is judged with what could follow: see [`redact::AFTER_CUT`].
fn masked_cut<'s>(policy: &Redaction, text: &[u8], scratch: &'s mut [u8]) -> &'s [u8] {
    let (whole, masked) = scratch.split_at_mut(scratch.len() >> 1);
    let room = whole.len().saturating_sub(redact::AFTER_CUT.len());
    let text = text.get(..text.len().min(room)).unwrap_or_default();
    let mut whole = Fill::new(whole);
    whole.push(text);
    whole.push(redact::AFTER_CUT);
    let mut fill = Fill::new(masked);
    let mut done = 0usize;
    policy.secret_ranges(whole.bytes(), &mut |range| {
        if range.start < text.len() {
            fill.push(text.get(done..range.start).unwrap_or_default());
            fill.push(MASK.as_bytes());
            done = range.end.min(text.len());
        }
    });
    fill.push(text.get(done..).unwrap_or_default());
    fill.into_bytes()
}

fn masked_bytes<'s>(policy: &Redaction, text: &'s [u8], scratch: &'s mut [u8]) -> &'s [u8] {
    let mut fill = Fill::new(scratch);
    if fill.push_masked(policy, text) { fill.into_bytes() } else { text }
}

/// The same for text; what cannot be cut between characters is hidden.
pub(crate) fn masked_text<'s>(policy: &Redaction, text: &'s str, scratch: &'s mut [u8]) -> &'s str {
    core::str::from_utf8(masked_bytes(policy, text.as_bytes(), scratch)).unwrap_or(MASK)
}

fn masked_key<'s>(policy: &Redaction, key: &'s str, scratch: &'s mut [u8]) -> &'s str {
    let room = scratch.len().saturating_sub(CUT_KEY.len());
    let mut fill = Fill::new(scratch.get_mut(..room).unwrap_or_default());
    if !fill.push_masked(policy, key.as_bytes()) {
        return key;
    }
    let (len, is_cut) = (fill.len, fill.is_cut);
    let mut fill = Fill { len, ..Fill::new(scratch) };
    if is_cut {
        // It may have parted a character.
        fill.len =
            core::str::from_utf8(fill.bytes()).err().map_or(len, |error| error.valid_up_to());
        fill.push(CUT_KEY.as_bytes());
    }
    core::str::from_utf8(fill.into_bytes()).unwrap_or(MASK)
}

/// Fills the scratch; what does not fit is left out, and said.
struct Fill<'s> {
    room: &'s mut [u8],
    len: usize,
    is_cut: bool,
}

impl<'s> Fill<'s> {
    fn new(room: &'s mut [u8]) -> Self {
        Fill { room, len: 0, is_cut: false }
    }

    fn push(&mut self, piece: &[u8]) {
        let left = self.room.get_mut(self.len..).unwrap_or_default();
        let fits = piece.len().min(left.len());
        if let (Some(to), Some(from)) = (left.get_mut(..fits), piece.get(..fits)) {
            to.copy_from_slice(from);
            self.len = self.len.saturating_add(fits);
        }
        self.is_cut |= fits < piece.len();
    }

    /// Pushes `text` with its secrets masked, or nothing if it has none.
    fn push_masked(&mut self, policy: &Redaction, text: &[u8]) -> bool {
        let mut done = 0usize;
        policy.secret_ranges(text, &mut |range| {
            self.push(text.get(done..range.start).unwrap_or_default());
            self.push(MASK.as_bytes());
            done = range.end;
        });
        if done > 0 {
            self.push(text.get(done..).unwrap_or_default());
        }
        done > 0
    }

    fn bytes(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }

    fn into_bytes(self) -> &'s [u8] {
        let Fill { room, len, .. } = self;
        room.get(..len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Column;
    use crate::redact::Pattern;

    /// One word for each event.
    #[derive(Default)]
    struct Words(Vec<String>);

    fn lossy(text: &[u8]) -> String {
        String::from_utf8_lossy(text).into_owned()
    }

    fn show(value: &Value<'_>) -> String {
        match value {
            Value::Redacted => "REDACTED".to_owned(),
            Value::None => "none".to_owned(),
            Value::U64(number) => number.to_string(),
            Value::Text(text) | Value::Number(text) => (*text).to_owned(),
            Value::Bytes(text) => format!("b:{}", lossy(text)),
            Value::Truncated { text, full_len_bytes } => {
                format!("cut:{}/{full_len_bytes:?}", lossy(text))
            }
            other => format!("{other:?}"),
        }
    }

    fn names(columns: &[Column<'_>]) -> String {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        names.join("|")
    }

    impl EventSink for Words {
        fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
            self.0.push(match event {
                Event::Value { key, value } => format!("{key}={}", show(value)),
                Event::Item { value } => format!("- {}", show(value)),
                Event::BeginGroup { key } => format!("{}{{", key.unwrap_or_default()),
                Event::BeginList { key } => format!("{}[", key.unwrap_or_default()),
                Event::BeginBlocks { key } => format!("{key}(("),
                Event::BeginThread(thread) => format!("{}(", lossy(thread.name)),
                Event::BeginMember(member) => {
                    format!("{}: {}(", lossy(member.name), member.summary)
                }
                Event::BeginProcess(process) => format!("{}(", lossy(process.name)),
                Event::BeginTask(task) => {
                    format!("{} {}(", task.name.unwrap_or("none"), task.future.unwrap_or("none"))
                }
                Event::Await(level) => format!("{} ({})", level.function, level.note),
                Event::Scope(scope) => format!("{}: {}", scope.label, show(&scope.detail)),
                Event::Close => "}".to_owned(),
                Event::Text(text) => format!("| {}", lossy(text)),
                Event::TableHead { columns } => names(columns),
                Event::Row { columns, values } => {
                    let cells: Vec<_> = values.iter().map(show).collect();
                    format!("{} / {}", names(columns), cells.join("|"))
                }
                other => format!("{other:?}"),
            });
            Ok(())
        }
    }

    pub(super) fn words_in(
        scratch: &mut [u8],
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> Vec<String> {
        static POLICY: Redaction = Redaction::new()
            .secret_keys(&["*_pin"])
            .public_keys(&["token_name"])
            .patterns(&[Pattern::prefixed("acme_", 8)]);
        let mut words = Words::default();
        judged(&POLICY, scratch, &mut SectionWriter::new(&mut words), body).unwrap();
        words.0
    }

    fn words(body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult) -> Vec<String> {
        words_in(&mut [0; 4096], body)
    }

    #[test]
    fn values_are_judged_by_key_and_text() {
        let shown = words(|out| {
            out.value("workers", 4_u64)?;
            out.value("password", 4_u64)?;
            out.value("db_password", "x")?;
            out.value("token", "")?;
            out.value("secret", Value::None)?;
            out.value("url", "a://u:x@h")?;
            out.value("raw", &b"\xff password=x"[..])?;
            out.value("ä", "ä=ä, token: x")?;
            out.value("card_pin", 1_u64)?;
            out.value("token_name", "X-Token")?;
            out.value("use", "acme_012345678")?;
            out.value("a://u:x@h", 1_u64)?;
            out.value("cut", Value::Truncated { text: b"token=x", full_len_bytes: Some(9) })?;
            out.item("Bearer x")?;
            out.text("one\ntwo password=x\n")?;
            Ok(())
        });
        assert_eq!(
            shown,
            [
                "workers=4",
                "password=REDACTED",
                "db_password=REDACTED",
                "token=",
                "secret=none",
                "url=a://u:***@h",
                "raw=b:\u{fffd} password=***",
                "ä=ä=ä, token: ***",
                "card_pin=REDACTED",
                "token_name=X-Token",
                "use=acme_***",
                "a://u:***@h=1",
                "cut=cut:token=***/Some(9)",
                "- Bearer ***",
                "| one\ntwo password=***\n",
            ]
        );
    }

    #[test]
    fn tasks_are_judged_like_threads() {
        const TASK: Task<'_> = Task {
            count: 1,
            ids: &[7],
            name: None,
            state: crate::model::TaskState::Suspended,
            tid: None,
            for_ns: None,
            future: None,
        };
        const LEVEL: Await<'_> = Await {
            depth: 0,
            kind: crate::model::AwaitKind::Suspended,
            function: "heat::api::handle",
            file: Some("src/api.rs"),
            line: Some(57),
            waits_for: None,
            note: "",
        };
        let named = Task { name: Some("GET a://u:x@h"), future: Some("F<password=x>"), ..TASK };
        let shown = words(|out| {
            out.task(&named, |out| {
                out.value("db_password", "x")?;
                out.await_level(&LEVEL)?;
                out.await_level(&Await { function: "f token=x", note: "Bearer x", ..LEVEL })?;
                Ok(())
            })?;
            out.value("user", "me")?;
            out.group("credentials", |out| {
                out.task(&named, |out| {
                    out.value("polls", 3_u64)?;
                    out.await_level(&LEVEL)?;
                    Ok(out.await_level(&Await { note: "x", ..LEVEL })?)
                })?;
                out.task(&TASK, |_| Ok(()))
            })
        });
        assert_eq!(
            shown,
            [
                "GET a://u:***@h F<password=***(",
                "db_password=REDACTED",
                "heat::api::handle ()",
                "f token=*** (Bearer ***)",
                "}",
                "user=me",
                "credentials{",
                "*** F<password=***(",
                "polls=REDACTED",
                "heat::api::handle ()",
                "heat::api::handle (***)",
                "}",
                "none none(",
                "}",
                "}",
            ]
        );
    }

    #[test]
    fn containers_hide_what_is_in_them() {
        let shown = words(|out| {
            out.group("credentials", |out| {
                out.value("user", "x")?;
                out.group("inner", |out| Ok(out.value("a", "x")?))?;
                out.text("x")?;
                Ok(())
            })?;
            out.value("user", "me")?;
            out.list("auth", |out| {
                out.item("x")?;
                out.event(&Event::BeginGroup { key: None })?;
                out.value("user", "me")?;
                out.event(&Event::Close)?;
                out.event(&Event::BeginList { key: None })?;
                out.item(1_u64)?;
                out.event(&Event::Close)?;
                out.item("x")?;
                Ok(())
            })?;
            out.list("args", |out| {
                for arg in ["--token", "x", "--token", "--verbose", "me", "--password=x x"] {
                    out.item(arg)?;
                }
                out.item("--token")?;
                out.event(&Event::BeginGroup { key: None })?;
                out.value("user", "x")?;
                out.event(&Event::Close)?;
                out.item("me")?;
                Ok(())
            })?;
            out.group("env", |out| {
                out.value("header", "Authorization")?;
                out.list("value", |out| Ok(out.item("x")?))?;
                out.group("value", |out| Ok(out.value("a", "x")?))?;
                out.group("other", |out| Ok(out.value("a", "me")?))
            })?;
            out.group("env", |out| {
                out.value("name", "DB_PASSWORD")?;
                Ok(out.value("value", "x")?)
            })?;
            out.group("env", |out| {
                out.value("name", "PATH")?;
                Ok(out.value("value", "me")?)
            })
        });
        let expected = [
            "credentials{",
            "user=REDACTED",
            "inner{",
            "a=REDACTED",
            "}",
            "| ***",
            "}",
            "user=me",
            "auth[",
            "- REDACTED",
            "{",
            "user=me",
            "}",
            "[",
            "- REDACTED",
            "}",
            "- REDACTED",
            "}",
            "args[",
            "- --token",
            "- REDACTED",
            "- --token",
            "- --verbose",
            "- me",
            "- --password=***",
            "- --token",
            "{",
            "user=REDACTED",
            "}",
            "- me",
            "}",
            "env{",
            "header=Authorization",
            "value[",
            "- REDACTED",
            "}",
            "value{",
            "a=REDACTED",
            "}",
            "other{",
            "a=me",
            "}",
            "}",
            "env{",
            "name=DB_PASSWORD",
            "value=REDACTED",
            "}",
            "env{",
            "name=PATH",
            "value=me",
            "}",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn names_of_threads_and_processes_are_texts() {
        let thread = Thread {
            tid: 1,
            name: b"token=x",
            state: b'S',
            capture: crate::model::Capture::Ok,
            stack_end: crate::model::StackEnd::Complete,
            is_main: false,
            is_triggering: false,
        };
        let process = Process {
            pid: 1,
            parent_pid: 0,
            name: b"a://u:x@h",
            uid: None,
            user: None,
            state: b'S',
        };
        let summary = "sleeping, pthread mutex owned by #7 a://u:x@h";
        let member = ThreadMember { tid: 1, name: b"token=x", state: b'S', summary };
        let shown = words(|out| {
            out.thread(&thread, |_| Ok(()))?;
            out.thread_member(&member, |_| Ok(()))?;
            out.process(&process, |_| Ok(()))?;
            out.blocks("secrets", |out| {
                out.thread(&Thread { name: b"x", ..thread }, |_| Ok(()))?;
                out.thread_member(&member, |_| Ok(()))
            })
        });
        let member = "token=***: sleeping, pthread mutex owned by #7 a://u:***@h(";
        assert_eq!(shown[..6], ["token=***(", "}", member, "}", "a://u:***@h(", "}"]);
        assert_eq!(shown[6..], ["secrets((", "***(", "}", "***: (", "}", "}"]);
    }

    #[test]
    fn what_was_cut_is_judged_with_what_may_follow() {
        let cut = |text: &str| {
            let shown = words(|out| {
                let value = Value::Truncated { text: text.as_bytes(), full_len_bytes: None };
                out.value("k", value)?;
                let detail = value;
                out.event(&Event::Scope(ActiveScope { label: "l", detail, age_ns: 1 }))?;
                Ok(())
            });
            let [value, scope] = shown.as_slice() else { panic!("{shown:?}") };
            let value = value.strip_prefix("k=cut:").unwrap().strip_suffix("/None").unwrap();
            assert_eq!(*scope, format!("l: cut:{value}/None"));
            value.to_owned()
        };
        for (text, expected) in [
            ("amqp://u:cana", "amqp://u:***"),
            ("x ghp_canary", "x ghp_***"),
            ("x acme_c", "x acme_***"),
            ("x eyJcanaryca", "x ***"),
            ("x eyJcanarycanary.canary", "x ***"),
            ("-----BEGIN PRIVATE KEY-----ca", "-----BEGIN PRIVATE KEY-----***"),
            ("token=canary", "token=***"),
            ("a b", "a b"),
            ("/usr/lib/x", "/usr/lib/x"),
            ("a://u:canary@h/x é", "a://u:***@h/x é"),
            ("", ""),
        ] {
            assert_eq!(cut(text), expected);
        }
    }

    #[test]
    fn what_is_exposed_passes() {
        let shown = words(|out| {
            let mut exposed = out.exposed();
            exposed.value("password", "shown")?;
            exposed.group("credentials", |out| {
                out.value("token", "shown")?;
                out.list("tokens", |out| Ok(out.item("a://u:shown@h")?))
            })?;
            exposed.text("password=shown")?;
            out.value("password", "x")?;
            out.group("credentials", |out| {
                out.exposed().value("user", "shown")?;
                out.value("user", "x")?;
                Ok(())
            })
        });
        let expected = [
            "password=shown",
            "credentials{",
            "token=shown",
            "tokens[",
            "- a://u:shown@h",
            "}",
            "}",
            "| password=shown",
            "password=REDACTED",
            "credentials{",
            "user=shown",
            "user=REDACTED",
            "}",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_private_key_may_be_spread_over_texts_and_items() {
        let lines = [
            "begin",
            "-----BEGIN RSA PRIVATE KEY-----",
            "x",
            "x\nx",
            "x-----END RSA PRIVATE KEY-----end",
        ];
        let shown = words(|out| {
            for line in lines {
                out.text(line)?;
            }
            out.text("me")?;
            out.list("pem", |out| lines.iter().try_for_each(|line| Ok(out.item(*line)?)))?;
            out.item("me")?;
            Ok(())
        });
        let expected = [
            "| begin",
            "| -----BEGIN RSA PRIVATE KEY-----",
            "| ***",
            "| ***",
            "| ***-----END RSA PRIVATE KEY-----end",
            "| me",
            "pem[",
            "- begin",
            "- -----BEGIN RSA PRIVATE KEY-----",
            "- REDACTED",
            "- REDACTED",
            "- REDACTED",
            "}",
            "- me",
        ];
        assert_eq!(shown, expected);
        let shown = words(|out| {
            out.text("-----BEGIN PRIVATE KEY-----\nx\nx")?;
            out.text("x -----END PRIVATE KEY----- -----BEGIN PRIVATE KEY-----x")?;
            out.text("x")?;
            Ok(())
        });
        assert_eq!(
            shown,
            [
                "| -----BEGIN PRIVATE KEY-----***",
                "| *** -----END PRIVATE KEY----- -----BEGIN PRIVATE KEY-----***",
                "| ***"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_the_scratch_is_cut_and_masked() {
        let long = format!("password=x {}", "é".repeat(4096));
        let long_key = format!("a://u:x@h {}", "é".repeat(4096));
        let shown = words_in(&mut [0; KEY_BYTES + 20], |out| {
            out.value("long", &*long)?;
            out.text(&long)?;
            out.value(&long_key, 1_u64)?;
            // Without a secret nothing has to fit.
            out.value("plain", &*"é".repeat(100))?;
            Ok(())
        });
        let len = long.len();
        assert_eq!(
            shown[0],
            format!("long=cut:password=*** {}\u{fffd}/Some({len})", "é".repeat(3))
        );
        assert_eq!(shown[1], format!("| password=*** {}\u{fffd}", "é".repeat(3)));
        assert_eq!(shown[2], format!("- cut:/Some({len})"));
        let key = shown[3].strip_suffix("é…=1").unwrap();
        assert!(key.starts_with("a://u:***@h é") && key.len() <= KEY_BYTES, "{key}");
        assert_eq!(shown[4], format!("plain={}", "é".repeat(100)));
        // Not even room for the mask.
        let shown = words_in(&mut [], |out| Ok(out.value("long", &*long)?));
        assert_eq!(shown, [format!("long=cut:/Some({len})")]);
    }

    #[test]
    fn containers_that_are_too_deep_are_judged_as_one() {
        let shown = words(|out| {
            for _ in 0..MAX_OPEN + 5 {
                out.event(&Event::BeginGroup { key: Some("x") })?;
            }
            out.event(&Event::BeginGroup { key: Some("secrets") })?;
            out.value("user", "x")?;
            out.event(&Event::Close)?;
            for _ in 0..MAX_OPEN + 5 {
                out.event(&Event::Close)?;
            }
            out.event(&Event::Close)?;
            out.value("user", "me")?;
            Ok(())
        });
        assert!(shown.contains(&"user=REDACTED".to_owned()));
        assert_eq!(shown.last().unwrap(), "user=me");
    }

    proptest! {
        #[test]
        fn canaries_never_sing(
            depth in 0..40_usize,
            way in 0..8_usize,
            filler in "[ -~]{0,20}",
        ) {
            const CANARY: &str = "cAnArY123";
            let shown = words(|out| {
                for _ in 0..depth {
                    out.event(&Event::BeginList { key: Some("list") })?;
                }
                match way {
                    0 => out.value("db_password", CANARY)?,
                    1 => out.item(&*format!("amqp://u:{CANARY}@h"))?,
                    2 => out.text(&format!("{filler}\npassword={CANARY}\n{filler}"))?,
                    3 => out.list("api_tokens", |out| Ok(out.item(CANARY)?)).unwrap(),
                    4 => out.value(&format!("amqp://u:{CANARY}@h"), 1_u64)?,
                    5 => out
                        .table("rows", &[Column::text("db_password", 3)], |table| {
                            Ok(table.row(&[CANARY.into()])?)
                        })
                        .unwrap(),
                    6 => out
                        .table("rows", &[Column::text(&filler, 3)], |table| {
                            Ok(table.row(&[(&*format!("amqp://u:{CANARY}@h")).into()])?)
                        })
                        .unwrap(),
                    _ => out.group("secrets", |out| Ok(out.value("x", CANARY)?)).unwrap(),
                }
                Ok(())
            });
            prop_assert!(!shown.concat().contains(CANARY), "{:?}", shown);
        }
    }
}
