//! Reads JSON reports.

use serde_json::Value;

use super::{Frame, Outcome, Report, Section, Stream, Thread};

/// Every report begins with `{` at column 0; nothing inside does.
#[track_caller]
pub(super) fn parse(written: &str) -> Stream {
    let mut stream = Stream::default();
    let mut pieces: Vec<String> = Vec::new();
    for line in written.lines() {
        if line.starts_with('{') || pieces.is_empty() {
            pieces.push(String::new());
        }
        let piece = pieces.last_mut().expect("at least one");
        piece.push_str(line);
        piece.push('\n');
    }
    for piece in pieces {
        match serde_json::from_str::<Value>(&piece) {
            Ok(value) => stream.reports.push(report(&value, piece)),
            Err(_) => stream.broken.push(piece),
        }
    }
    stream
}

#[track_caller]
fn report(value: &Value, raw: String) -> Report {
    let members: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
    for member in ["schema_version", "head", "findings", "sections", "end"] {
        assert!(members.iter().any(|found| found == member), "no {member}: {members:?}");
    }
    assert_eq!(members.len(), 5, "other members: {members:?}");
    assert_eq!(value["schema_version"], 1);

    let end = &value["end"];
    let sections = array(&value["sections"]);
    for (index, section) in sections.iter().enumerate() {
        assert_eq!(section["id"], index + 1, "sections are numbered");
    }
    let threads =
        sections.iter().find(|section| section["title"] == "Threads").map_or(&[][..], |section| {
            section["data"]["threads"].as_array().map_or(&[], Vec::as_slice)
        });
    let reasons: Vec<_> = array(&end["incomplete"]).iter().map(text).collect();
    let report = Report {
        sequence: end["sequence"].as_u64().expect("a number"),
        is_complete: end["complete"].as_bool().expect("a truth value"),
        reasons: reasons.join(", "),
        head: pairs(&value["head"], ""),
        findings: array(&value["findings"]).iter().map(finding).collect(),
        sections: sections.iter().map(section).collect(),
        threads: threads
            .iter()
            .enumerate()
            .flat_map(|(block, value)| block_of(block, value))
            .collect(),
        members_left_out: threads.iter().filter_map(|it| it["members left out"].as_u64()).sum(),
        end: pairs(end, ""),
        outcomes: array(&end["section times"]).iter().map(outcome).collect(),
        raw,
    };
    assert_eq!(report.is_complete, report.reasons.is_empty(), "{}", report.reasons);
    assert_eq!(report.head("report"), Some(&*report.sequence.to_string()));
    report
}

fn section(value: &Value) -> Section {
    Section {
        title: text(&value["title"]),
        status: text(&value["status"]),
        body: serde_json::to_string_pretty(&value["data"]).expect("JSON"),
    }
}

#[track_caller]
fn outcome(value: &Value) -> Outcome {
    Outcome {
        title: text(&value["title"]),
        status: text(&value["status"]),
        time: value["elapsed_ns"].as_u64().expect("nanoseconds").to_string(),
        explanation: value["explanation"].as_str().unwrap_or_default().to_owned(),
    }
}

/// As the text has it: `WORDS OF THE CODE: TEXT`.
#[track_caller]
fn finding(value: &Value) -> String {
    assert!(array(&value["threads"]).iter().all(Value::is_u64), "{value}");
    format!("{}: {}", text(&value["code"]).replace('_', " "), text(&value["text"]))
}

#[track_caller]
fn scope(value: &Value) -> String {
    assert!(value["age_ns"].is_u64(), "{value}");
    let label = text(&value["label"]);
    match &value["detail"] {
        Value::Null => label,
        Value::String(detail) => format!("{label}: {detail}"),
        cut => {
            assert_eq!(cut["truncated"], true, "{cut}");
            format!("{label}: {}{{...cut from {} B}}", text(&cut["text"]), cut["full_len_bytes"])
        }
    }
}

/// The threads of a block: one, or several with one stack.
#[track_caller]
fn block_of(block: usize, value: &Value) -> Vec<Thread> {
    let Some(members) = value["members"].as_array() else {
        assert!(value["count"].is_null(), "{value}");
        return vec![thread(block, value)];
    };
    let count = value["count"].as_u64().expect("a number");
    let left_out = value["members left out"].as_u64().unwrap_or_default();
    assert_eq!(members.len() as u64 + left_out, count);
    assert!(value["tid"].is_null(), "{value}");
    let together = |member: &Value| {
        let mut whole = value.clone();
        for (key, fact) in member.as_object().expect("an object") {
            whole[key] = fact.clone();
        }
        Thread { block_size: count, ..thread(block, &whole) }
    };
    members.iter().map(together).collect()
}

#[track_caller]
fn thread(block: usize, value: &Value) -> Thread {
    let frames = value["frames"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame["index"], index, "frames are numbered");
    }
    Thread {
        tid: u32::try_from(value["tid"].as_u64().expect("a number")).expect("a thread's number"),
        name: text(&value["name"]),
        capture: text(&value["capture"]),
        is_whole: value["stack_end"] == "complete",
        is_triggering: value["is_triggering"] == true,
        scopes: value["scopes"].as_array().into_iter().flatten().map(scope).collect(),
        facts: ["syscall", "waits for", "cpu", "switches", "wchan", "scheduling"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), text(value.get(key)?))))
            .collect(),
        frames: frames.iter().map(frame).collect(),
        entry_frames_left_out: value["entry_frames_left_out"].as_u64().unwrap_or_default(),
        block,
        block_size: 1,
    }
}

fn frame(value: &Value) -> Frame {
    let location = match (&value["module"], &value["module_offset"]) {
        (Value::String(module), Value::String(offset)) => format!("{module}+{offset}"),
        _ => text(&value["pc"]),
    };
    Frame { location, function: value["function"].as_str().map(str::to_owned) }
}

#[track_caller]
fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no array: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pairs(value: &Value, prefix: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in value.as_object().expect("an object") {
        if value.is_object() {
            pairs.extend(self::pairs(value, &format!("{prefix}{key}.")));
        } else {
            pairs.push((format!("{prefix}{key}"), text(value)));
        }
    }
    pairs
}
