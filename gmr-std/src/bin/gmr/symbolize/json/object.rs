//! The objects of a JSON report that are frames, or stand for them.

use std::ops::Range;

use gmr_core::ViewKind;
use gmr_core::model::Certainty;

use super::super::modules::parse_address;
use super::super::scan::{Scanner, decode};

/// A frame as it stands in the report.
#[derive(Debug)]
pub(super) struct FrameObject {
    pub(super) index: u64,
    pub(super) index_range: Range<usize>,
    pub(super) pc: u64,
    /// Name and offset.
    pub(super) module: Option<(String, u64)>,
    pub(super) function: Option<String>,
    pub(super) function_truncated: bool,
    pub(super) has_file: bool,
    /// Has a file, or is of a kind that is not known here.
    pub(super) is_settled: bool,
    pub(super) is_inlined: bool,
    pub(super) is_signal_frame: bool,
    pub(super) certainty: Certainty,
    pub(super) style: ViewKind,
    /// Members that are not known here, with their keys.
    pub(super) others: Vec<Range<usize>>,
}

impl FrameObject {
    pub(super) fn parse(report: &[u8], at: usize) -> Option<Self> {
        let (mut index, mut pc, mut module, mut offset) = (None, None, None, None);
        let mut frame = FrameObject {
            index: 0,
            index_range: 0..0,
            pc: 0,
            module: None,
            function: None,
            function_truncated: false,
            has_file: false,
            is_settled: false,
            is_inlined: false,
            is_signal_frame: false,
            certainty: Certainty::Exact,
            style: ViewKind::Json,
            others: Vec::new(),
        };
        Scanner::new(report, at).members_with_keys(|_, key, value| {
            let bytes = report.get(value.clone()).unwrap_or_default();
            let is_true = bytes == b"true";
            match report.get(key.start + 1..key.end - 1).unwrap_or_default() {
                b"index" => index = Some(value),
                b"pc" => pc = decode(bytes),
                b"module" => module = decode(bytes),
                b"module_offset" => offset = decode(bytes),
                b"function" => frame.function = decode(bytes),
                b"function_truncated" => frame.function_truncated = is_true,
                b"file" => (frame.has_file, frame.is_settled) = (true, true),
                b"line" => {}
                b"inlined" => frame.is_inlined = is_true,
                b"signal_frame" => frame.is_signal_frame = is_true,
                b"certainty" => {
                    let all = [Certainty::Exact, Certainty::FramePointer, Certainty::Inferred];
                    let code = decode(bytes).unwrap_or_default();
                    match all.into_iter().find(|certainty| certainty.code() == code) {
                        Some(certainty) => frame.certainty = certainty,
                        None => {
                            (frame.certainty, frame.is_settled) = (Certainty::Inferred, true);
                        }
                    }
                }
                _ => frame.others.push(key.start..value.end),
            }
        })?;
        frame.index_range = index?;
        let digits = report.get(frame.index_range.clone())?;
        frame.index = std::str::from_utf8(digits).ok()?.parse().ok()?;
        frame.pc = parse_address(&pc?)?;
        frame.module = module.zip(offset.as_deref().and_then(parse_address));
        if frame.index_range.start.checked_sub(1).and_then(|at| report.get(at)) == Some(&b':') {
            frame.style = ViewKind::JsonLine;
        }
        Some(frame)
    }
}

/// `"entry_frames_left_out": 8, "last_entry_frame": {…}`
#[derive(Debug)]
pub(super) struct EntryMembers {
    pub(super) count: u64,
    pub(super) count_range: Range<usize>,
    pub(super) last: FrameObject,
    /// Behind them.
    pub(super) end: usize,
}

impl EntryMembers {
    /// Reads them behind an array of frames.
    pub(super) fn parse(report: &[u8], at: usize) -> Option<Self> {
        let mut scanner = Scanner::new(report, at);
        let mut value_of = |name: &[u8]| {
            let is_it = scanner.take(b',') && scanner.string_ahead() == Some(name);
            is_it.then(|| scanner.value())??;
            scanner.take(b':').then(|| scanner.value())?
        };
        let count_range = value_of(b"\"entry_frames_left_out\"")?;
        let last = value_of(b"\"last_entry_frame\"")?;
        let digits = report.get(count_range.clone())?;
        let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let end = last.end;
        Some(EntryMembers {
            count,
            count_range,
            last: FrameObject::parse(report, last.start)?,
            end,
        })
    }
}
