//! Reads text reports, strictly: what is at column 0 must be what the format
//! has there.

use core::iter::Peekable;
use core::str::Lines;

use super::{Frame, Outcome, Report, Section, Stream, Thread};

const RULE: &str = "========================================================================";
const BARS: &str = "||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||";
const TITLE: &str = "Guru Meditation";

#[track_caller]
pub(super) fn parse(written: &str) -> Stream {
    let mut stream = Stream::default();
    let mut lines = written.lines().peekable();
    while let Some(line) = lines.next() {
        if line == RULE {
            match report(&mut lines) {
                Ok(report) => stream.reports.push(report),
                Err(raw) => stream.broken.push(raw),
            }
        } else if !line.is_empty() {
            stream.outside.push(line.to_owned());
        }
    }
    stream
}

/// The title in a heading's middle line.
fn title_of(line: &str) -> Option<String> {
    let inner = line.strip_prefix("====")?.strip_suffix("====")?;
    let title = inner.trim();
    // Centred in 64 columns; what is wider is not cut.
    (line != RULE && (inner.chars().count() == 64 || inner == title)).then(|| title.to_owned())
}

/// Reads a report after its first line. `Err`: it has no end.
#[track_caller]
fn report(lines: &mut Peekable<Lines<'_>>) -> Result<Report, String> {
    let mut raw: Vec<&str> = vec![RULE];
    let mut last = None;
    for line in lines.by_ref() {
        raw.push(line);
        if let Some(rest) = line.strip_prefix("End of report ") {
            last = Some(rest);
            break;
        }
    }
    let Some(last) = last else { return Err(raw.join("\n")) };
    let (sequence, verdict) = last.split_once(": ").expect("an end line");
    let reasons = match verdict {
        "complete" => "",
        other => other
            .strip_prefix("incomplete (")
            .and_then(|reasons| reasons.strip_suffix(')'))
            .unwrap_or_else(|| panic!("a verdict: {other}")),
    };

    assert_eq!(title_of(raw[1]).as_deref(), Some(TITLE), "the first heading");
    assert_eq!(raw[2..6], [RULE, BARS, "", ""], "the banner");
    let body = &raw[6..raw.len() - 1];
    let mut parts = split(body);
    let is_abandoned = reasons.starts_with("abandoned in ");
    let (end, outcomes) = if is_abandoned { Default::default() } else { take_end(&mut parts) };
    let (head_lines, sections) = parts.split_first().expect("a head");
    let (head, findings) = head(&head_lines.1, is_abandoned);
    let (threads, members_left_out) = sections
        .iter()
        .find(|(title, _)| title.as_deref() == Some("Threads"))
        .map_or_else(Default::default, |(_, lines)| threads(lines, is_abandoned));
    let report = Report {
        sequence: sequence.parse().expect("a report's number"),
        is_complete: verdict == "complete",
        reasons: reasons.to_owned(),
        head,
        findings,
        sections: sections.iter().map(|(title, lines)| section(title.as_deref(), lines)).collect(),
        threads,
        members_left_out,
        end,
        outcomes,
        raw: raw.join("\n"),
    };
    if let Some(number) = report.head("report") {
        assert_eq!(number, sequence, "head and end agree");
    }
    Ok(report)
}

type Part<'l> = (Option<String>, Vec<&'l str>);

/// Head and sections.
#[track_caller]
fn split<'l>(body: &[&'l str]) -> Vec<Part<'l>> {
    let mut parts: Vec<Part<'l>> = vec![(None, Vec::new())];
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        if *line == RULE {
            let Some(middle) = lines.next() else { break };
            let title = title_of(middle).unwrap_or_else(|| panic!("a heading: {middle}"));
            assert_ne!(title, TITLE, "a report inside a report");
            if let Some(below) = lines.next() {
                assert_eq!(*below, RULE, "below {title}");
            }
            parts.push((Some(title), Vec::new()));
        } else {
            assert!(!line.starts_with(['=', '|']), "out of place: {line}");
            parts.last_mut().expect("a part").1.push(line);
        }
    }
    parts
}

/// The last lines of the last section, after an empty one.
#[track_caller]
fn take_end(parts: &mut [Part<'_>]) -> (Vec<(String, String)>, Vec<Outcome>) {
    let lines = &mut parts.last_mut().expect("a part").1;
    let at = lines.iter().rposition(|line| line.is_empty()).expect("an end block");
    let end = lines.split_off(at);
    let (mut pairs, mut outcomes) = (Vec::new(), Vec::new());
    for line in &end[1..] {
        if let Some(inner) = line.strip_prefix("  ") {
            outcomes.push(outcome(inner).unwrap_or_else(|| panic!("a section's time: {line}")));
        } else if *line != "section times = " {
            pairs.push(pair(line).unwrap_or_else(|| panic!("in the end block: {line}")));
        }
    }
    (pairs, outcomes)
}

/// `TITLE: CODE, TIME`, and `: EXPLANATION` if it is not ok. (Titles of tests
/// have no colon.)
fn outcome(line: &str) -> Option<Outcome> {
    let (title, rest) = line.split_once(": ")?;
    let (status, rest) = rest.split_once(", ")?;
    let (time, explanation) = rest.split_once(": ").unwrap_or((rest, ""));
    assert_eq!(status == "ok", explanation.is_empty(), "{line}");
    Some(Outcome {
        title: title.to_owned(),
        status: status.to_owned(),
        time: time.to_owned(),
        explanation: explanation.to_owned(),
    })
}

fn pair(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(" = ")?;
    Some((key.to_owned(), value.to_owned()))
}

#[track_caller]
fn head(lines: &[&str], is_abandoned: bool) -> (Vec<(String, String)>, Vec<String>) {
    let (mut head, mut findings) = (Vec::new(), Vec::new());
    let mut group = None;
    let mut in_findings = false;
    for line in lines {
        if line.is_empty() {
            continue;
        }
        if let Some(inner) = line.strip_prefix("  ") {
            match (&group, in_findings) {
                (_, true) => findings.push(inner.to_owned()),
                (Some(group), false) => {
                    let (key, value) = pair(inner).expect("a value of a group");
                    head.push((format!("{group}.{key}"), value));
                }
                (None, false) => panic!("in the head: {line:?}"),
            }
        } else if let Some(key) = line.strip_suffix(": ") {
            group = Some(key.to_owned());
        } else if *line == "findings = " {
            in_findings = true;
        } else if *line != "findings = none found" {
            match pair(line) {
                Some(pair) => head.push(pair),
                None => assert!(is_abandoned, "in the head: {line:?}"),
            }
        }
    }
    (head, findings)
}

fn section(title: Option<&str>, lines: &[&str]) -> Section {
    let last = lines.iter().rev().find(|line| !line.is_empty());
    let status = last
        .and_then(|line| line.strip_prefix("[section ")?.strip_suffix(']')?.split_once(": "))
        .map_or("ok", |(code, _)| code);
    Section {
        title: title.unwrap_or_default().to_owned(),
        status: status.to_owned(),
        body: lines.join("\n"),
    }
}

/// A block of the Threads section.
struct Block {
    threads: Vec<Thread>,
    /// Several threads: their lines may still come.
    is_listing: bool,
    count: u64,
    left_out: u64,
    /// How the capture of all of them ended.
    capture: Option<String>,
}

/// The threads, and how many are not listed.
#[track_caller]
fn threads(lines: &[&str], is_abandoned: bool) -> (Vec<Thread>, u64) {
    let mut blocks: Vec<Block> = Vec::new();
    for line in lines {
        if let Some(inner) = line.strip_prefix("------") {
            blocks.push(heading(inner).unwrap_or_else(|| panic!("a thread: {line}")));
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            assert!(line.is_empty() || pair(line).is_some(), "before the threads: {line}");
            continue;
        };
        if !block.line(line) {
            let is_known = line.is_empty() || line.starts_with("[section ");
            assert!(is_known || is_abandoned, "in Threads: {line}");
        }
    }
    let mut threads = Vec::new();
    let mut left_out = 0;
    for (number, block) in blocks.into_iter().enumerate() {
        let listed = block.threads.len() as u64;
        assert!(listed + block.left_out == block.count || is_abandoned, "all are counted");
        left_out += block.left_out;
        for mut thread in block.threads {
            if let Some(capture) = &block.capture {
                thread.take_fact("stack", capture);
            }
            threads.push(Thread { block: number, block_size: block.count, ..thread });
        }
    }
    (threads, left_out)
}

impl Block {
    /// Takes a line; `false`: it is none of a thread.
    #[track_caller]
    fn line(&mut self, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix('#') {
            let (number, rest) = rest.split_once(' ').expect("a frame's or thread's number");
            if self.is_listing {
                let (name, summary) = rest.split_once(": ").unwrap_or(("", rest));
                let tid = number.trim_end_matches(':').parse().expect("a thread's number");
                let mut thread = new_thread(tid, name.to_owned());
                thread.facts.push(("summary".to_owned(), summary.to_owned()));
                self.threads.push(thread);
                return true;
            }
            let rest = rest.trim_start();
            for thread in &mut self.threads {
                assert_eq!(thread.entry_frames_left_out, 0, "behind what is left out: {line}");
                assert_eq!(number, thread.frames.len().to_string(), "frames are numbered");
                match rest.strip_prefix("… ") {
                    Some(rest) => thread.entry_frames_left_out = entry_frames(rest),
                    None => thread.frames.push(frame(rest)),
                }
            }
        } else if line.starts_with('(') {
            self.threads.iter_mut().for_each(|thread| thread.is_whole = false);
        } else if let Some(fact) = line.strip_prefix("  ") {
            let (key, value) = pair(fact).expect("of a thread of several");
            let member = self.threads.last_mut().expect("a thread of several");
            assert!(self.is_listing && member.take_fact(&key, &value), "of a thread: {line}");
        } else if line.is_empty() {
            // Frames follow.
            self.is_listing &= self.threads.is_empty();
        } else if let Some((key, value)) = pair(line) {
            match &*key {
                "members left out" => self.left_out = value.parse().expect("a number"),
                "stack" if self.is_listing => self.capture = Some(value),
                _ => {
                    let thread = self.threads.last_mut().expect("a thread");
                    assert!(thread.frames.is_empty(), "before the frames: {line}");
                    assert!(thread.take_fact(&key, &value), "of a thread: {line}");
                }
            }
        } else {
            return false;
        }
        true
    }
}

impl Thread {
    /// A fact of this thread alone; `false`: there is no such.
    #[track_caller]
    fn take_fact(&mut self, key: &str, value: &str) -> bool {
        match key {
            "stack" => value.split(':').next().unwrap_or_default().clone_into(&mut self.capture),
            "role" => self.is_triggering = value.contains("triggering"),
            "state" => {}
            "doing" => {
                let (scope, age) = value.rsplit_once(" (").expect("an age");
                assert!(age.ends_with("s)") || age.matches(':').count() == 2, "{value}");
                self.scopes.push(scope.to_owned());
            }
            "syscall" | "waits for" | "cpu" | "switches" | "wchan" | "scheduling"
            | "traced by process" | "between samples" | "stack read" => {
                self.facts.push((key.to_owned(), value.to_owned()));
            }
            _ => return false,
        }
        true
    }
}

/// `8 runtime entry frames left out (to libc.so.6+0x1098ec)`
fn entry_frames(text: &str) -> u64 {
    let (count, rest) = text.split_once(" runtime entry frame").expect("runtime entry frames");
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    assert!(rest.starts_with(" left out (to ") && rest.ends_with(')'), "{text}");
    count.parse().expect("a number of frames")
}

fn new_thread(tid: u32, name: String) -> Thread {
    Thread {
        tid,
        name,
        capture: "ok".to_owned(),
        is_whole: true,
        is_triggering: false,
        scopes: Vec::new(),
        facts: Vec::new(),
        frames: Vec::new(),
        entry_frames_left_out: 0,
        block: 0,
        block_size: 1,
    }
}

/// What stands between the two rules of a block.
fn heading(inner: &str) -> Option<Block> {
    let (threads, count) = match thread_heading(inner) {
        Some((tid, name)) => (vec![new_thread(tid, name)], 1),
        None => (Vec::new(), group_heading(inner)?),
    };
    Some(Block { is_listing: threads.is_empty(), threads, count, left_out: 0, capture: None })
}

/// ` 38 threads with the same stack: api-3 #10203, … `: how many.
fn group_heading(inner: &str) -> Option<u64> {
    let inner = inner.strip_suffix("------")?.trim();
    let (count, rest) = inner.split_once(" thread")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let what =
        rest.strip_prefix(" with the same stack: ").or(rest.strip_prefix(" of the reporter: "))?;
    let (_, tid) = what.rsplit_once('#')?;
    tid.split(',').next()?.parse::<u32>().ok()?;
    count.parse().ok()
}

/// ` Thread #10181 tokio-rt-worker `, between two rules.
fn thread_heading(inner: &str) -> Option<(u32, String)> {
    let inner = inner.strip_suffix("------")?.trim();
    let rest = inner.strip_prefix("Thread #")?;
    let (tid, name) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((tid.parse().ok()?, name.to_owned()))
}

fn frame(text: &str) -> Frame {
    let text = text.strip_suffix(" (inlined)").unwrap_or(text);
    let (location, function) = match text.split_once(" in ") {
        Some((location, function)) => (location, Some(function.to_owned())),
        None => (text, None),
    };
    Frame { location: location.to_owned(), function }
}
