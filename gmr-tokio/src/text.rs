//! Short texts without a heap: findings, places in files.

/// A text of at most `BYTES`; what does not fit is cut, and said by an ellipsis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text<const BYTES: usize> {
    bytes: heapless::String<BYTES>,
    is_cut: bool,
}

const ELLIPSIS: &str = "…";

impl<const BYTES: usize> Text<BYTES> {
    pub(crate) const fn new() -> Self {
        Text { bytes: heapless::String::new(), is_cut: false }
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.as_str()
    }

    /// Appends `text`, up to where it fits.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            let left = BYTES.saturating_sub(self.bytes.len());
            if self.is_cut || character.len_utf8().saturating_add(ELLIPSIS.len()) > left {
                if !self.is_cut {
                    let _ = self.bytes.push_str(ELLIPSIS);
                }
                self.is_cut = true;
                break;
            }
            let _ = self.bytes.push(character);
        }
        self
    }

    /// Appends bytes that should be text.
    pub(crate) fn lossy(&mut self, bytes: &[u8]) -> &mut Self {
        for chunk in bytes.utf8_chunks() {
            self.text(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.text("?");
            }
        }
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let (mut at, mut left) = (digits.len(), number);
        loop {
            at = at.saturating_sub(1);
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0'.saturating_add((left % 10) as u8);
            }
            left /= 10;
            if left == 0 {
                break;
            }
        }
        let digits = digits.get(at..).unwrap_or_default();
        self.text(core::str::from_utf8(digits).unwrap_or_default())
    }

    /// Appends a length of time: `51.2 ms`.
    pub(crate) fn duration(&mut self, ns: u64) -> &mut Self {
        let (unit_ns, unit) = match ns {
            0..1_000 => return self.number(ns).text(" ns"),
            1_000..1_000_000 => (1_000, " us"),
            1_000_000..1_000_000_000 => (1_000_000, " ms"),
            _ => (1_000_000_000, " s"),
        };
        self.number(ns / unit_ns).text(".");
        self.number(ns % unit_ns / (unit_ns / 10)).text(unit)
    }

    /// Appends the name of a type or function, without long generic arguments: as the
    /// report's trees have it.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        let mut short = [0_u8; gmr_core::symbols::MAX_NAME_BYTES];
        let cut = gmr_core::symbols::shorten_into(name, &mut short);
        self.lossy(short.get(..cut.len).unwrap_or_default());
        if cut.truncated { self.text(ELLIPSIS) } else { self }
    }

    /// Appends `file:line`.
    pub(crate) fn place(&mut self, file: &str, line: u32) -> &mut Self {
        self.text(file).text(":").number(u64::from(line))
    }
}

impl<const BYTES: usize> core::fmt::Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.text(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(build: impl FnOnce(&mut Text<25>)) -> String {
        let mut text = Text::new();
        build(&mut text);
        text.as_str().to_owned()
    }

    #[test]
    fn numbers_and_times_have_their_units() {
        assert_eq!(
            text(|text| {
                text.number(0).text(" ").number(u64::MAX);
            }),
            "0 18446744073709551615"
        );
        let times =
            [(999, "999 ns"), (1_250, "1.2 us"), (51_290_000, "51.2 ms"), (3_000_000_000, "3.0 s")];
        for (ns, expected) in times {
            assert_eq!(
                text(|text| {
                    text.duration(ns);
                }),
                expected
            );
        }
        assert_eq!(
            text(|text| {
                text.place("src/a.rs", 7);
            }),
            "src/a.rs:7"
        );
    }

    #[test]
    fn long_generic_arguments_are_left_out() {
        let mut text = Text::<384>::new();
        text.name(&format!("serve<{}>", "argument, ".repeat(20))).text(" and ").name("f<u8>");
        assert_eq!(text.as_str(), "serve<…> and f<u8>");
    }

    #[test]
    fn what_does_not_fit_is_cut_with_a_mark() {
        let long = text(|text| {
            text.text("0123456789").text("äöüäöüäöüäöü").text("more");
        });
        assert_eq!(long, "0123456789äöüäöü…");
        assert_eq!(
            text(|text| {
                text.lossy(b"a\xffb");
            }),
            "a?b"
        );
    }
}
