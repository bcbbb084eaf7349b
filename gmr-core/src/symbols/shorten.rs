//! Long generic arguments left out of a function's name, so that its path can be
//! read: `<hyper::server::conn::Http<…>>::serve_connection`.
//!
//! A demangled name is taken piece by piece, as the demangler prints it:
//!
//! 1. A `<` behind an identifier or `::` opens a list of arguments. Any other
//!    opens a qualified path, `<Type as Trait>` or `<impl Trait for Type>`, which
//!    is what one wants to read: only lists within it are shortened.
//! 2. When the outermost open list grows beyond [`MAX_ARGUMENTS_BYTES`], all of it
//!    becomes `…`, and what comes is passed over up to the `>` that closes it.
//! 3. Legacy mangling's `{{closure}}` becomes `{closure}`, in the form of v0's
//!    `{closure#0}`.
//!
//! What is in quotes is text (strings and characters of const generics; a
//! lifetime's `'` begins no quote), the `>` of `->` closes nothing, nor do C++
//! operators open or close anything (`operator<<`).
//!
//! A name that is shortened stays as it is when it is shortened again, no name
//! becomes longer, and one without a long list changes only in step 3. Brackets
//! that match still do.
//!
//! # Limits
//!
//! [`MAX_NAME_BYTES`] are kept, [`MAX_READ_BYTES`] are read; a name that has more
//! is marked as cut. No allocation, no recursion, a few dozen bytes of state.

use core::fmt::{self, Write};

use super::demangle::{Cut, MAX_NAME_BYTES};

/// The longest list of generic arguments that is kept, in bytes: a type or two
/// with their paths. All beyond that is rarely what tells two frames apart.
pub const MAX_ARGUMENTS_BYTES: usize = 48;

/// How much of a name is read, in bytes. A short mangled name can describe
/// gigabytes, and what is passed over does not fill the room that ends the
/// demangler otherwise. Real names of 4 KiB are rare.
pub const MAX_READ_BYTES: usize = 8 * 1024;

/// Stands for the arguments that are left out.
const LEFT_OUT: &[u8] = "…".as_bytes();

/// What a C++ operator's name begins with.
const OPERATOR: &[u8] = b"operator";

/// Writes `name` with its long generic arguments left out to `out`: at most
/// [`MAX_NAME_BYTES`], at most `out.len()`, cut at a character boundary.
///
/// Never panics, whatever the input.
///
/// # Signal safety
///
/// Safe.
pub fn shorten_into(name: &str, out: &mut [u8]) -> Cut {
    let mut writer = NameWriter::new(out, true);
    // The error is the cut, which is in the result.
    let _ = writer.write_str(name);
    writer.finish()
}

/// Takes a demangled name until it is full, then refuses all that follows.
pub(super) struct NameWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    read: usize,
    truncated: bool,
    /// Whether long lists are left out; else only step 3 applies.
    shortens: bool,
    /// The byte before, written or passed over.
    previous: u8,
    quote: Quote,
    /// How many `<` are open.
    depth: usize,
    /// The outermost open list of arguments.
    list: Option<List>,
    /// It is left out: what comes is passed over.
    is_passing: bool,
}

#[derive(Debug, Clone, Copy)]
struct List {
    /// How many `<` were open with its own.
    depth: usize,
    /// Where its content begins.
    start: usize,
}

/// Where in a quote we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Outside,
    /// In `"…"`, and behind a backslash there.
    Text,
    TextEscape,
    /// Behind a `'`: a character or a lifetime.
    Tick,
    /// Behind a `'` and a byte that means something outside of quotes.
    TickHeld(u8),
    /// Behind a `'` and (the beginning of) another character.
    TickOne,
    /// In `'\…'`.
    Escape,
}

impl<'a> NameWriter<'a> {
    pub(super) fn new(out: &'a mut [u8], shortens: bool) -> Self {
        let room = out.len().min(MAX_NAME_BYTES);
        NameWriter {
            out: out.get_mut(..room).unwrap_or_default(),
            len: 0,
            read: 0,
            truncated: false,
            shortens,
            previous: 0,
            quote: Quote::Outside,
            depth: 0,
            list: None,
            is_passing: false,
        }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Cut {
        if let Quote::TickHeld(held) = self.quote {
            self.quote = Quote::Outside;
            self.outside(held);
        }
        // A character may have been parted.
        let written = self.out.get(..self.len).unwrap_or_default();
        let len = core::str::from_utf8(written).map_or_else(|error| error.valid_up_to(), str::len);
        Cut { len, truncated: self.truncated }
    }

    fn byte(&mut self, byte: u8) {
        match self.quote {
            Quote::Outside => self.outside(byte),
            Quote::Text => self.inside_text(byte),
            Quote::TextEscape => {
                self.put(byte);
                self.quote = Quote::Text;
            }
            Quote::Tick => match byte {
                b'<' | b'>' | b'"' => self.quote = Quote::TickHeld(byte),
                b'\\' => {
                    self.put(byte);
                    self.quote = Quote::Escape;
                }
                b'\'' => {
                    self.put(byte);
                    self.quote = Quote::Outside;
                }
                _ => {
                    self.put(byte);
                    self.quote = Quote::TickOne;
                }
            },
            Quote::TickHeld(held) => {
                self.quote = Quote::Outside;
                if byte == b'\'' {
                    self.put(held);
                    self.put(byte);
                } else {
                    self.outside(held);
                    self.byte_again(byte);
                }
            }
            Quote::TickOne => match byte {
                // The rest of the character.
                0x80..0xc0 => self.put(byte),
                b'\'' => {
                    self.put(byte);
                    self.quote = Quote::Outside;
                }
                _ => {
                    self.quote = Quote::Outside;
                    self.outside(byte);
                }
            },
            Quote::Escape => {
                self.put(byte);
                if byte == b'\'' {
                    self.quote = Quote::Outside;
                }
            }
        }
    }

    /// A byte of a `"…"`.
    fn inside_text(&mut self, byte: u8) {
        self.put(byte);
        match byte {
            b'"' => self.quote = Quote::Outside,
            b'\\' => self.quote = Quote::TextEscape,
            _ => {}
        }
    }

    /// A byte behind one that was held: that one may have begun a text.
    fn byte_again(&mut self, byte: u8) {
        match self.quote {
            Quote::Text => self.inside_text(byte),
            _ => self.outside(byte),
        }
    }

    /// A byte outside of quotes.
    fn outside(&mut self, byte: u8) {
        match byte {
            b'<' if !self.is_in_operator() => self.open(),
            b'>' if self.previous != b'-' && !self.is_in_operator() => self.close(),
            b'"' => {
                self.put(byte);
                self.quote = Quote::Text;
            }
            b'\'' => {
                self.put(byte);
                self.quote = Quote::Tick;
            }
            b'}' => self.brace(),
            _ => self.put(byte),
        }
    }

    fn open(&mut self) {
        let before = self.previous;
        self.put(b'<');
        self.depth = self.depth.saturating_add(1);
        let is_list = before.is_ascii_alphanumeric()
            || matches!(before, b'_' | b':' | b'}' | b')' | 0x80..=0xff);
        if self.shortens && is_list && self.list.is_none() {
            self.list = Some(List { depth: self.depth, start: self.len });
        }
    }

    fn close(&mut self) {
        if self.list.is_some_and(|list| list.depth == self.depth) {
            self.list = None;
            self.is_passing = false;
        }
        self.put(b'>');
        self.depth = self.depth.saturating_sub(1);
    }

    /// Behind `{{word}` a `}` is left out, with one of the two `{`.
    fn brace(&mut self) {
        let written = self.out.get(..self.len).unwrap_or_default();
        let word = written.strip_suffix(b"}").unwrap_or_default();
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.#".contains(byte);
        let begin = word.iter().rposition(|byte| !is_of_word(byte)).unwrap_or(0);
        let is_doubled = !self.is_passing
            && begin.checked_add(1).is_some_and(|next| next < word.len())
            && begin.checked_sub(1).is_some_and(|first| word.get(first..=begin) == Some(b"{{"));
        if is_doubled && self.list.is_none_or(|list| list.start < begin) {
            self.out.copy_within(begin..self.len, begin.saturating_sub(1));
            self.len = self.len.saturating_sub(1);
            self.previous = b'}';
        } else {
            self.put(b'}');
        }
    }

    /// Writes a byte, or passes it over.
    fn put(&mut self, byte: u8) {
        self.previous = byte;
        if self.is_passing {
            return;
        }
        self.write(byte);
        let Some(list) = self.list else { return };
        let content = self.out.get(list.start..self.len).unwrap_or_default();
        if content == b"impl " {
            // `path::<impl Trait for Type>::function`
            self.list = None;
        } else if content.len() > MAX_ARGUMENTS_BYTES {
            self.len = list.start;
            LEFT_OUT.iter().for_each(|byte| self.write(*byte));
            self.is_passing = true;
        }
    }

    fn write(&mut self, byte: u8) {
        match self.out.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len = self.len.saturating_add(1);
            }
            None => self.truncated = true,
        }
    }

    /// Whether an operator's signs go on: `operator<<`, `operator->`.
    fn is_in_operator(&self) -> bool {
        let written = self.out.get(..self.len).unwrap_or_default();
        let signs = written.iter().rev().take_while(|byte| b"<>=-*".contains(byte)).count();
        let rest = written.get(..self.len.saturating_sub(signs)).unwrap_or_default();
        let Some(before) = rest.strip_suffix(OPERATOR) else { return false };
        !self.is_passing
            && signs < 3
            && before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
    }
}

impl Write for NameWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.read >= MAX_READ_BYTES {
                self.truncated = true;
            }
            if self.truncated {
                return Err(fmt::Error);
            }
            self.read = self.read.saturating_add(1);
            self.byte(byte);
        }
        if self.truncated { Err(fmt::Error) } else { Ok(()) }
    }
}
