//! Cuts the input into reports and everything else.
//!
//! 1. A text report goes from the title's line to `End of report`. One that
//!    was broken off ends where the next begins, or with the input.
//! 2. A JSON report is an object that begins a line with the member
//!    `schema_version`. One that was broken off ends where a line begins with
//!    what no report has there.
//! 3. What lies between is handed on as it is.
//!
//! Limits: of a report [`MAX_REPORT_BYTES`] are held; a longer one is handed on
//! as something else, and said.

use std::io::{self, BufRead, Read};

/// The longest report that is rewritten, in bytes. One of 4,096 threads with
/// 128 frames each has 50 MiB.
pub(crate) const MAX_REPORT_BYTES: usize = 64 << 20;

/// The title of a text report's heading.
const TITLE: &str = "Guru Meditation";

/// What a JSON report begins with, but for white space.
const FIRST_MEMBER: &[u8] = b"\"schema_version\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// A part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'p> {
    Report(Form, &'p [u8]),
    Other(&'p [u8]),
    /// The beginning of a report that is too long; the rest follows as
    /// something else.
    TooLong(&'p [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Text,
    /// A line that is nothing but `{`.
    Brace,
    Json(Brackets),
}

/// Where a JSON report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Brackets {
    depth: u64,
    in_string: bool,
    is_escaped: bool,
}

/// Hands the input on in pieces, in order and without a gap.
pub(crate) fn each_piece(
    input: &mut dyn BufRead,
    take: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut cutter = Cutter { state: State::Outside, held: Vec::new(), take };
    let mut line = Vec::new();
    let mut begins_line = true;
    loop {
        line.clear();
        let limit = MAX_REPORT_BYTES as u64;
        if (&mut *input).take(limit).read_until(b'\n', &mut line)? == 0 {
            return cutter.end();
        }
        cutter.line(&line, begins_line)?;
        begins_line = line.ends_with(b"\n");
    }
}

struct Cutter<'t> {
    state: State,
    /// What is read of a report.
    held: Vec<u8>,
    take: &'t mut dyn FnMut(Piece<'_>) -> io::Result<()>,
}

impl Cutter<'_> {
    /// Takes a line with its end, or a part of one that is very long.
    fn line(&mut self, line: &[u8], begins_line: bool) -> io::Result<()> {
        if self.held.len().saturating_add(line.len()) > MAX_REPORT_BYTES && !self.held.is_empty() {
            self.state = State::Outside;
            (self.take)(Piece::TooLong(&self.held))?;
            self.held.clear();
        }
        if begins_line && is_title(line) {
            // Also in the middle of another one, which then was broken off.
            self.give_report()?;
            self.state = State::Text;
        }
        match self.state {
            State::Text => {
                self.held.extend_from_slice(line);
                if begins_line && line.starts_with(b"End of report ") {
                    self.give_report()
                } else {
                    Ok(())
                }
            }
            State::Brace => {
                if line.trim_ascii_start().starts_with(FIRST_MEMBER) {
                    self.state = State::Json(Brackets { depth: 1, ..Brackets::default() });
                    self.json_and_behind(line)
                } else {
                    self.give_other()?;
                    self.line(line, begins_line)
                }
            }
            State::Json(brackets) => {
                // Lines inside are indented; the last one is a bracket.
                let goes_on = !brackets.in_string
                    && line.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'}');
                if goes_on || !begins_line {
                    return self.json_and_behind(line);
                }
                self.give_report()?;
                self.line(line, begins_line)
            }
            State::Outside if begins_line => self.outside(line),
            State::Outside => (self.take)(Piece::Other(line)),
        }
    }

    /// Takes a line, or what is left of one: it may hold any number of reports.
    fn outside(&mut self, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while !rest.is_empty() {
            rest = self.begin(rest)?;
        }
        Ok(())
    }

    /// Takes the beginning of a report, or all as something else; returns what
    /// is behind a report that ends in it.
    fn begin<'l>(&mut self, line: &'l [u8]) -> io::Result<&'l [u8]> {
        match line.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) {
            Some(b"") => {
                self.held.extend_from_slice(line);
                self.state = State::Brace;
                Ok(&[])
            }
            Some(rest) if rest.starts_with(FIRST_MEMBER) => {
                self.state = State::Json(Brackets::default());
                self.json(line)
            }
            _ => (self.take)(Piece::Other(line)).map(|()| Default::default()),
        }
    }

    fn json_and_behind(&mut self, line: &[u8]) -> io::Result<()> {
        // The line's end, or another report.
        let behind = self.json(line)?;
        self.outside(behind)
    }

    /// Takes more of a JSON report, up to where it ends; returns what is behind.
    fn json<'l>(&mut self, line: &'l [u8]) -> io::Result<&'l [u8]> {
        let State::Json(mut brackets) = self.state else { return Ok(&[]) };
        let end = line.iter().position(|&byte| brackets.close_with(byte));
        self.state = State::Json(brackets);
        let (inside, behind) = line.split_at(end.map_or(line.len(), |end| end + 1));
        self.held.extend_from_slice(inside);
        if end.is_some() {
            self.give_report()?;
        }
        Ok(behind)
    }

    fn give_report(&mut self) -> io::Result<()> {
        let form = match self.state {
            State::Text => Form::Text,
            State::Json(_) => Form::Json,
            State::Outside | State::Brace => return self.give_other(),
        };
        self.state = State::Outside;
        let outcome = (self.take)(Piece::Report(form, &self.held));
        self.held.clear();
        outcome
    }

    fn give_other(&mut self) -> io::Result<()> {
        self.state = State::Outside;
        let held = std::mem::take(&mut self.held);
        if held.is_empty() { Ok(()) } else { (self.take)(Piece::Other(&held)) }
    }

    fn end(&mut self) -> io::Result<()> {
        self.give_report()
    }
}

impl Brackets {
    /// Takes a byte; true if it closes the outermost bracket.
    fn close_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// The text between the marks of a heading's middle line.
pub(super) fn heading(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches(['\n', '\r']);
    let title = line.strip_prefix("====")?.strip_suffix("====")?.trim();
    (!title.is_empty() && !title.starts_with('=')).then_some(title)
}

fn is_title(line: &[u8]) -> bool {
    // Short: a line can be as long as the input.
    line.len() < 256 && heading(line) == Some(TITLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces; what follows each other of one kind is put together.
    fn pieces(input: &str) -> Vec<(Option<Form>, String)> {
        let mut pieces: Vec<(Option<Form>, String)> = Vec::new();
        each_piece(&mut input.as_bytes(), &mut |piece| {
            let (form, bytes) = match piece {
                Piece::Report(form, bytes) => (Some(form), bytes),
                Piece::Other(bytes) => (None, bytes),
                Piece::TooLong(_) => panic!("too long"),
            };
            let text = std::str::from_utf8(bytes).unwrap();
            match pieces.last_mut() {
                Some((None, last)) if form.is_none() => last.push_str(text),
                _ => pieces.push((form, text.to_owned())),
            }
            Ok(())
        })
        .unwrap();
        let whole: String = pieces.iter().map(|(_, text)| &**text).collect();
        assert_eq!(whole, input);
        pieces
    }

    fn forms(input: &str) -> Vec<Option<Form>> {
        pieces(input).into_iter().map(|(form, _)| form).collect()
    }

    const HEADING: &str = "====   Guru Meditation   ====\n";

    #[test]
    fn text_reports_between_lines_of_a_log() {
        let report = format!("{HEADING}report = 1\nEnd of report 1: complete\n");
        let input = format!("INFO x\n====\n{report}INFO y\n{report}");
        let other = |text: &str| (None, text.to_owned());
        let text = || (Some(Form::Text), report.clone());
        assert_eq!(pieces(&input), [other("INFO x\n====\n"), text(), other("INFO y\n"), text()]);
        assert_eq!(forms("INFO\n{\n"), [None]);
        assert_eq!(forms(""), []);
    }

    #[test]
    fn a_report_that_was_broken_off_ends_with_the_next() {
        let half = format!("{HEADING}report = 1\n");
        let whole = format!("{HEADING}End of report 2: complete");
        assert_eq!(
            pieces(&format!("{half}{whole}")),
            [(Some(Form::Text), half.clone()), (Some(Form::Text), whole)]
        );
        assert_eq!(pieces(&half), [(Some(Form::Text), half)]);
        let json = "{\"schema_version\": 1, \"head\": {\n  \"x\": [";
        assert_eq!(forms(&format!("{json}\nINFO\n")), [Some(Form::Json), None]);
        assert_eq!(forms(&format!("{json}\n{json}")), [Some(Form::Json), Some(Form::Json)]);
        // A string does not go on in the next line.
        assert_eq!(forms("{\"schema_version\": \"\n  }\n"), [Some(Form::Json), None]);
    }

    #[test]
    fn json_reports_one_after_the_other() {
        let line = r#"{"schema_version":1,"a":"}\"}{","b":[{}]}"#;
        let pretty = "{\n  \"schema_version\": 1,\n  \"b\": [\n    {}\n  ]\n}";
        let json = |text: &str| (Some(Form::Json), text.to_owned());
        let other = |text: &str| (None, text.to_owned());
        assert_eq!(
            pieces(&format!(
                "{{\"level\":1}}\n{line}\n{pretty}\n{line}{line}\n{{\n  \"x\": 1\n}}\n"
            )),
            [
                other("{\"level\":1}\n"),
                json(line),
                other("\n"),
                json(pretty),
                other("\n"),
                json(line),
                json(line),
                other("\n{\n  \"x\": 1\n}\n"),
            ]
        );
    }

    #[test]
    fn a_line_may_hold_any_number_of_reports() {
        const COUNT: usize = 200_000;
        let line = r#"{"schema_version"}"#.repeat(COUNT);
        let mut reports = 0;
        each_piece(&mut line.as_bytes(), &mut |piece| {
            reports += usize::from(matches!(piece, Piece::Report(Form::Json, _)));
            Ok(())
        })
        .unwrap();
        assert_eq!(reports, COUNT);
    }

    #[test]
    fn what_is_too_long_is_handed_on() {
        let mut input = HEADING.to_owned();
        while input.len() <= MAX_REPORT_BYTES {
            input.push_str(&"x".repeat(1 << 20));
            input.push('\n');
        }
        input.push_str("End of report 1: complete\n");
        input.push_str(HEADING);
        let (mut kinds, mut bytes) = (Vec::new(), 0);
        each_piece(&mut input.as_bytes(), &mut |piece| {
            let (kind, piece) = match piece {
                Piece::Report(_, piece) => ("report", piece),
                Piece::Other(piece) => ("other", piece),
                Piece::TooLong(piece) => ("too long", piece),
            };
            assert_eq!(&input.as_bytes()[bytes..bytes + piece.len()], piece);
            bytes += piece.len();
            kinds.push(kind);
            Ok(())
        })
        .unwrap();
        assert_eq!(bytes, input.len());
        kinds.dedup();
        assert_eq!(kinds, ["too long", "other", "report"]);
    }
}
