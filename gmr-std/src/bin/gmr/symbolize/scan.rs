//! JSON as stretches of bytes: what is not understood is stepped over, and
//! nothing is copied.
//!
//! Nothing here calls itself, so no nest is too deep. Text is not checked
//! beyond what finding the way takes.

use std::ops::Range;

/// A place in a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'d> {
    pub(super) document: &'d [u8],
    pub(super) at: usize,
}

impl<'d> Scanner<'d> {
    pub(super) fn new(document: &'d [u8], at: usize) -> Self {
        Scanner { document, at }
    }

    /// The next byte behind white space, not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.document.get(self.at)?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes a byte, if it is the next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The string that comes next, with its quotes, not taken.
    pub(super) fn string_ahead(mut self) -> Option<&'d [u8]> {
        let range = (self.peek()? == b'"').then(|| self.string())??;
        self.document.get(range)
    }

    /// Takes a string; where it lies, with its quotes.
    pub(super) fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let mut at = start + 1;
        loop {
            match self.document.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(start..self.at)
    }

    /// Takes a string, a bracket, a mark, or what else stands until one of
    /// those. Never empty.
    pub(super) fn token(&mut self) -> Option<Range<usize>> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {
                self.at += 1;
                Some(self.at - 1..self.at)
            }
            _ => {
                let start = self.at;
                let is_mark = |byte: &u8| b"{}[],:\"".contains(byte) || byte.is_ascii_whitespace();
                let rest = self.document.get(start..)?;
                self.at += rest.iter().position(is_mark).unwrap_or(rest.len());
                Some(start..self.at)
            }
        }
    }

    /// Takes a value; where it lies.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        let mut depth = 0_u64;
        loop {
            let token = self.token()?;
            match self.document.get(token.start)? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b',' | b':' if depth == 0 => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }

    /// Takes an object, and calls `each` with its keys and where their values
    /// lie. `None` if it is none, or not whole.
    pub(super) fn members(&mut self, mut each: impl FnMut(&'d [u8], Range<usize>)) -> Option<()> {
        self.members_with_keys(|document, key, value| {
            each(document.get(key.start + 1..key.end - 1).unwrap_or_default(), value);
        })
    }

    /// The same, with where the keys lie, with their quotes.
    pub(super) fn members_with_keys(
        &mut self,
        mut each: impl FnMut(&'d [u8], Range<usize>, Range<usize>),
    ) -> Option<()> {
        if !self.take(b'{') {
            return None;
        }
        if self.take(b'}') {
            return Some(());
        }
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let key = self.string()?;
            if !self.take(b':') {
                return None;
            }
            let value = self.value()?;
            each(self.document, key, value);
            if self.take(b'}') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Takes an array, and calls `each` with its elements.
    pub(super) fn elements(&mut self, mut each: impl FnMut(Range<usize>)) -> Option<()> {
        if !self.take(b'[') {
            return None;
        }
        if self.take(b']') {
            return Some(());
        }
        loop {
            each(self.value()?);
            if self.take(b']') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }
}

/// What a string says. `None` if this is none.
pub(super) fn decode(value: &[u8]) -> Option<String> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut rest = std::str::from_utf8(inner).ok()?;
    let mut text = String::with_capacity(rest.len());
    while let Some((before, behind)) = rest.split_once('\\') {
        text.push_str(before);
        let mut behind = behind.chars();
        match behind.next()? {
            'u' => {
                let (character, digits) = unicode(behind.as_str())?;
                text.push(character);
                behind = behind.as_str().get(digits..)?.chars();
            }
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            itself @ ('"' | '\\' | '/') => text.push(itself),
            _ => return None,
        }
        rest = behind.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// The character whose code follows `\u`, and how much it takes.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |text: &str| {
        let digits = text.get(..4).filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(text)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, 4));
    }
    let second = unit(text.get(4..)?.strip_prefix("\\u")?)?;
    let pair = char::decode_utf16([first, second]).next()?.ok()?;
    Some((pair, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(document: &str) -> Option<&str> {
        Scanner::new(document.as_bytes(), 0).value().map(|range| &document[range])
    }

    #[test]
    fn values() {
        for whole in ["1", "-1.5e3", "null", "\"\"", "\"a\\\"]\"", "{}", "[[{}], {\"a\": [1]}]"] {
            assert_eq!(value(whole), Some(whole));
            assert_eq!(value(&format!(" {whole} , 2")), Some(whole));
        }
        for broken in ["", " ", "\"", "\"\\\"", "\"\\", "[", "{\"a\":", "]", ",", ":"] {
            assert_eq!(value(broken), None, "{broken}");
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(value(&deep), None);
    }

    #[test]
    fn members_and_elements() {
        let document = r#" {"a": 1, "b": [2, {}], "a":"x"} rest"#;
        let mut found = Vec::new();
        let mut scanner = Scanner::new(document.as_bytes(), 0);
        let outcome = scanner.members(|key, value| found.push((key, &document[value])));
        assert_eq!(outcome, Some(()));
        assert_eq!(found, [(&b"a"[..], "1"), (b"b", "[2, {}]"), (b"a", "\"x\"")]);
        assert_eq!(&document[scanner.at..], " rest");
        let mut count = 0;
        assert_eq!(Scanner::new(b"[1, [2], 3]", 0).elements(|_| count += 1), Some(()));
        assert_eq!(count, 3);
        for broken in ["", "1", "{", "{1:2}", "{\"a\" 1}", "{\"a\":1", "{\"a\":1,}", "{\"a\":1 2}"]
        {
            assert_eq!(Scanner::new(broken.as_bytes(), 0).members(|_, _| {}), None, "{broken}");
        }
        for broken in ["{}", "[", "[1", "[1 2]", "[1,]"] {
            assert_eq!(Scanner::new(broken.as_bytes(), 0).elements(|_| {}), None, "{broken}");
        }
    }

    #[test]
    fn strings() {
        let decoded = |text: &str| decode(format!("\"{text}\"").as_bytes());
        assert_eq!(decoded(r#"a\"\\\/\n\u00e9\ud83d\ude00é"#).unwrap(), "a\"\\/\né😀é");
        assert_eq!(decoded(r"\\xff").unwrap(), r"\xff");
        for broken in
            [r"\", r"\x", r"\u12", r"\u+123", r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\udc00"]
        {
            assert_eq!(decoded(broken), None, "{broken}");
        }
        for none in ["", "\"", "1", "a"] {
            assert_eq!(decode(none.as_bytes()), None, "{none}");
        }
        assert_eq!(decode(b"\"\xff\""), None);
    }
}
