//! Escaping: what a program, a file or another process named must not be able
//! to speak to the reader's terminal, nor look like a part of the report.
//!
//! Escaped are: C0 controls and DEL, C1 controls, line and paragraph
//! separators, marks that change the direction of writing, and characters
//! without width that could stand before a forged heading. In text they become
//! `\n`, `\t`, `\r`, `\xNN` or `\u{NNNN}`; in JSON the escapes that JSON has,
//! so that a parser gives the original back. A byte that is not UTF-8 becomes
//! `\xNN` in text and the same four characters (`"\\xNN"`) in JSON: JSON has no
//! bytes, and this is the defined form of a lossy value.
//!
//! A backslash that was there before stays a single one in text. So the text
//! form cannot be turned back into the value without doubt (`\n` may be two
//! characters of the value); paths and patterns stay readable instead, and
//! JSON is there for machines.
//!
//! Joiners (U+200C, U+200D) are escaped too, though some scripts and emoji need
//! them: the report is read by people who look for a fault, not for typography.

use core::convert::Infallible;

use ufmt::uWrite;

use super::Output;
use super::format::{hex_padded, put};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// One line of text.
    Line,
    /// One line of a paragraph: tabs stay.
    Paragraph,
    /// The inside of a JSON string.
    Json,
}

/// Writes bytes as a part of one line of text.
pub(super) fn line(out: &mut Output<'_>, bytes: &[u8]) {
    escape(out, bytes, Style::Line);
}

/// Writes bytes as one line of a paragraph: tabs stay.
pub(super) fn paragraph_line(out: &mut Output<'_>, bytes: &[u8]) {
    escape(out, bytes, Style::Paragraph);
}

/// Writes bytes as the inside of a JSON string.
pub(super) fn json(out: &mut Output<'_>, bytes: &[u8]) {
    escape(out, bytes, Style::Json);
}

/// How many characters [`line()`] writes.
pub(super) fn line_width(bytes: &[u8]) -> usize {
    let mut counter = CharCounter(0);
    line(&mut counter, bytes);
    counter.0
}

/// Whether a line that starts so, at column 0, could be taken for a part of the
/// report that the view itself writes.
pub(super) fn forges_heading(line: &[u8]) -> bool {
    // Without the space that follows in both: behind a key, the view writes it.
    const RESERVED: [&[u8]; 5] = [b"=", b"-", b"|", b"[section", b"End of report"];
    RESERVED.into_iter().any(|reserved| line.starts_with(reserved))
}

fn escape(out: &mut Output<'_>, bytes: &[u8], style: Style) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        // Runs that need nothing are written at once.
        let mut run_start = 0usize;
        for (at, character) in valid.char_indices() {
            if style.keeps(character) {
                continue;
            }
            put(out, valid.get(run_start..at).unwrap_or_default());
            style.replace(out, character);
            run_start = at.saturating_add(character.len_utf8());
        }
        put(out, valid.get(run_start..).unwrap_or_default());
        for &byte in chunk.invalid() {
            put(out, if style == Style::Json { r"\\x" } else { r"\x" });
            hex_padded(out, u64::from(byte), 2);
        }
    }
}

impl Style {
    fn keeps(self, character: char) -> bool {
        match character {
            '\t' => self == Style::Paragraph,
            '"' | '\\' => self != Style::Json,
            ' '..='~' => true,
            _ => !is_hostile(character),
        }
    }

    fn replace(self, out: &mut Output<'_>, character: char) {
        let code = u64::from(u32::from(character));
        match character {
            '\n' => put(out, r"\n"),
            '\t' => put(out, r"\t"),
            '\r' => put(out, r"\r"),
            // Only JSON replaces these two.
            '"' => put(out, "\\\""),
            '\\' => put(out, r"\\"),
            _ if self == Style::Json => {
                // All that `is_hostile` names lies in the basic plane.
                put(out, r"\u");
                hex_padded(out, code, 4);
            }
            '\0'..='\x7f' => {
                put(out, r"\x");
                hex_padded(out, code, 2);
            }
            _ => {
                put(out, r"\u{");
                hex_padded(out, code, 1);
                put(out, "}");
            }
        }
    }
}

fn is_hostile(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen; Arabic letter mark.
        | '\u{ad}' | '\u{61c}'
        // Without width, directional marks; separators, embeddings, overrides;
        // joiner, invisible operators, isolates, deprecated format characters.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Byte order mark; interlinear annotation.
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

/// Counts the characters written into it.
pub(super) struct CharCounter(pub(super) usize);

impl uWrite for CharCounter {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        self.0 = self.0.saturating_add(text.chars().count());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::view::testing::written;

    fn as_line(bytes: &[u8]) -> String {
        written(|out| line(out, bytes))
    }

    #[test]
    fn text_escapes() {
        assert_eq!(as_line(b"plain h\xc3\xa9llo \\ \""), "plain héllo \\ \"");
        assert_eq!(as_line(b"a\n\t\r\x1b[31m\x7f\0"), r"a\n\t\r\x1b[31m\x7f\x00");
        assert_eq!(
            as_line("\u{85}\u{202e}\u{2028}\u{feff}".as_bytes()),
            r"\u{85}\u{202e}\u{2028}\u{feff}"
        );
        assert_eq!(as_line(b"\xff\xfeok\xc3"), r"\xff\xfeok\xc3");
        assert_eq!(written(|out| paragraph_line(out, b"a\tb\x1b")), "a\tb\\x1b");
        assert_eq!(line_width("é\n".as_bytes()), 3);
    }

    #[test]
    fn json_escapes() {
        assert_eq!(
            written(|out| json(out, b"a\"b\\c\n\x01\x7f\xff")),
            r#"a\"b\\c\n\u0001\u007f\\xff"#
        );
        assert_eq!(written(|out| json(out, "\u{2028}\u{202e}é".as_bytes())), r"\u2028\u202eé");
    }

    #[test]
    fn forged_headings() {
        for forged in
            ["====", "-", "||", "[section failed: x]", "[section", "End of report 3: complete"]
        {
            assert!(forges_heading(forged.as_bytes()), "{forged}");
        }
        for harmless in ["", " =", "a", "[sect", "end of report", "[dict]"] {
            assert!(!forges_heading(harmless.as_bytes()), "{harmless}");
        }
    }

    proptest! {
        #[test]
        fn json_gives_valid_text_back(text in any::<String>()) {
            let escaped = written(|out| json(out, text.as_bytes()));
            let parsed: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            prop_assert_eq!(parsed, text);
        }

        #[test]
        fn no_control_byte_passes(bytes in any::<Vec<u8>>()) {
            let text = as_line(&bytes);
            prop_assert!(!text.chars().any(|c| c.is_control() || is_hostile(c)));
            prop_assert_eq!(line_width(&bytes), text.chars().count());
            let inside = written(|out| json(out, &bytes));
            prop_assert!(!inside.chars().any(char::is_control));
        }
    }
}
