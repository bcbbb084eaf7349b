//! Tables: the columns that rows of values stand under.

/// How many columns a registered section's table may have.
///
/// What masks secrets holds one row at a time. Of a wider table the last of
/// these columns says that there is more.
pub const MAX_COLUMNS: usize = 16;

/// The widest column that the text view makes room for, in characters. A wider
/// cell is not cut: it moves what follows in its own line.
pub const MAX_COLUMN_WIDTH: u16 = 60;

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name: the head in text, the key of its values in JSON.
    pub name: &'a str,
    /// How many characters the text view keeps for it: no fewer than the name
    /// has, no more than [`MAX_COLUMN_WIDTH`]. For a stream of unknown length a
    /// good guess is enough.
    pub width: u16,
    /// Numbers stand right, everything else left.
    pub is_right_aligned: bool,
}

impl<'a> Column<'a> {
    /// A column of texts, `width` characters wide.
    #[must_use]
    pub const fn text(name: &'a str, width: u16) -> Self {
        Column { name, width, is_right_aligned: false }
    }

    /// A column of numbers, `width` characters wide.
    #[must_use]
    pub const fn number(name: &'a str, width: u16) -> Self {
        Column { name, width, is_right_aligned: true }
    }
}
