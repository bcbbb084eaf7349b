//! Tables: each cell is judged by the name of its column.
//!
//! 1. A cell is secret under a secret column, in a container that hides
//!    everything, behind an option that takes a secret (`--token`), where a
//!    private key goes on, and in the column `value` if another text of the row
//!    names a secret;
//! 2. of all others, and of the names of columns, the secret parts are masked.
//!
//! # Limits
//!
//! A row is put together anew: no more than [`MAX_COLUMNS`] columns pass, the
//! last of which then says that there were more. The scratch is shared by the
//! cells of a row: what has to be copied is cut at a share of it.

use super::{CUT_KEY, Hides, Judge, hidden, masked_key, masked_value, text_of};
use crate::model::{Column, Event, MAX_COLUMNS, Value};
use crate::redact::{self, Redaction};
use crate::section::Stop;

impl Judge<'_, '_> {
    pub(super) fn table_head(&mut self, columns: &[Column<'_>]) -> Result<(), Stop> {
        let Judge { out, policy, scratch, .. } = self;
        let judged = judged_columns(policy, columns, &mut Shares::of(scratch));
        out.event(&Event::TableHead { columns: judged.get(..columns.len()).unwrap_or(&judged) })
    }

    pub(super) fn row(&mut self, columns: &[Column<'_>], values: &[Value<'_>]) -> Result<(), Stop> {
        let hides = self.hidden_cells(columns, values);
        let Judge { out, policy, scratch, .. } = self;
        let mut shares = Shares::of(scratch);
        let judged_columns = judged_columns(policy, columns, &mut shares);
        let mut judged = [Value::None; MAX_COLUMNS];
        for ((judged, value), is_hidden) in judged.iter_mut().zip(values).zip(hides) {
            *judged = if is_hidden {
                hidden(*value)
            } else {
                masked_value(policy, *value, shares.next())
            };
        }
        if values.len() > MAX_COLUMNS
            && let Some(last) = judged.last_mut()
        {
            *last = Value::Truncated { text: b"", full_len_bytes: None };
        }
        out.event(&Event::Row {
            columns: judged_columns.get(..columns.len()).unwrap_or(&judged_columns),
            values: judged.get(..values.len()).unwrap_or(&judged),
        })
    }

    /// Which cells of a row are secret as a whole.
    fn hidden_cells(
        &mut self,
        columns: &[Column<'_>],
        values: &[Value<'_>],
    ) -> [bool; MAX_COLUMNS] {
        let hides_all = self.innermost().hides == Hides::Everything;
        let names_secret = names_a_secret(self.policy, columns, values);
        let mut columns = columns.iter();
        let mut after_option = false;
        let mut hides = [false; MAX_COLUMNS];
        for (hides, value) in hides.iter_mut().zip(values) {
            let text = text_of(value).unwrap_or_default();
            let by_column = columns.next().is_some_and(|column| {
                self.policy.is_secret_key(column.name) || (names_secret && is_value_column(column))
            });
            let by_option = after_option && redact::is_value(text);
            let is_of_key = self.is_of_key(text);
            *hides = hides_all || by_column || by_option || is_of_key;
            after_option = self.policy.takes_secret(text);
        }
        hides
    }
}

fn judged_columns<'s>(
    policy: &Redaction,
    columns: &[Column<'s>],
    shares: &mut Shares<'s>,
) -> [Column<'s>; MAX_COLUMNS] {
    let mut judged = [Column::text("", 0); MAX_COLUMNS];
    for (judged, column) in judged.iter_mut().zip(columns) {
        *judged = Column { name: masked_key(policy, column.name, shares.next()), ..*column };
    }
    if columns.len() > MAX_COLUMNS
        && let Some(last) = judged.last_mut()
    {
        last.name = CUT_KEY;
    }
    judged
}

/// Whether a text of the row, but for those in the column `value`, is the name
/// of a secret.
fn names_a_secret(policy: &Redaction, columns: &[Column<'_>], values: &[Value<'_>]) -> bool {
    columns.iter().zip(values).any(|(column, value)| {
        !is_value_column(column)
            && text_of(value)
                .and_then(|text| core::str::from_utf8(text).ok())
                .is_some_and(|text| policy.is_secret_key(text))
    })
}

fn is_value_column(column: &Column<'_>) -> bool {
    column.name.eq_ignore_ascii_case("value")
}

/// The scratch, a share for each name and each cell of a row.
struct Shares<'s> {
    rest: &'s mut [u8],
    share_bytes: usize,
}

impl<'s> Shares<'s> {
    fn of(scratch: &'s mut [u8]) -> Self {
        let share_bytes = (scratch.len() / 2) / MAX_COLUMNS;
        Shares { rest: scratch, share_bytes }
    }

    fn next(&mut self) -> &'s mut [u8] {
        let rest = core::mem::take(&mut self.rest);
        let Some((share, rest)) = rest.split_at_mut_checked(self.share_bytes) else {
            return &mut [];
        };
        self.rest = rest;
        share
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use super::super::tests::words_in;
    use super::*;
    use crate::section::SectionResult;
    use crate::section::SectionWriter;

    fn judged(body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult) -> Vec<String> {
        words_in(&mut [0; 8192], body)
    }

    #[test]
    fn cells_are_judged_by_column_and_text() {
        let words = judged(|out| {
            let columns = [
                Column::text("url", 1),
                Column::text("password", 1),
                Column::number("card_pin", 1),
                Column::text("a://u:x@h", 1),
            ];
            out.table("rows", &columns, |table| {
                table.row(&["a://u:x@h".into(), "x".into(), 1_u64.into(), "me".into()])?;
                table.row(&["a://h".into(), "".into(), Value::None, "b://u:x@h".into()])?;
                // Without a column a text is judged by itself.
                let more = ["".into(), Value::None, Value::None, "me".into(), "token=x".into()];
                table.row(&more)?;
                Ok(())
            })
        });
        let head = "url|password|card_pin|a://u:***@h";
        assert_eq!(
            words,
            [
                "rows((",
                head,
                &format!("{head} / a://u:***@h|REDACTED|REDACTED|me"),
                &format!("{head} / a://h||none|b://u:***@h"),
                &format!("{head} / |none|none|me|token=***"),
                "}",
            ]
        );
    }

    #[test]
    fn a_row_may_name_its_secret() {
        let words = judged(|out| {
            let columns = [Column::text("variable", 1), Column::text("Value", 1)];
            out.table("env", &columns, |table| {
                table.row(&["DB_PASSWORD".into(), "x".into()])?;
                table.row(&["PATH".into(), "me".into()])?;
                table.row(&["me".into(), "password".into()])?;
                table.row(&["--token".into(), "x".into()])?;
                table.row(&["-----BEGIN PRIVATE KEY-----".into(), "x".into()])?;
                table.row(&["x".into(), "x-----END PRIVATE KEY-----".into()])?;
                table.row(&["me".into(), "me".into()])?;
                Ok(())
            })?;
            let columns = [Column::text("token", 1)];
            out.table("credentials", &columns, |table| Ok(table.row(&[1_u64.into()])?))?;
            out.exposed().table("shown", &columns, |table| Ok(table.row(&[1_u64.into()])?))
        });
        let rows: Vec<_> = words.iter().filter_map(|word| word.split_once(" / ")).collect();
        let cells: Vec<_> = rows.iter().map(|(_, cells)| *cells).collect();
        assert_eq!(
            cells,
            [
                "DB_PASSWORD|REDACTED",
                "PATH|me",
                "me|password",
                "--token|REDACTED",
                "-----BEGIN PRIVATE KEY-----|REDACTED",
                "REDACTED|REDACTED",
                "me|me",
                "REDACTED",
                "1",
            ]
        );
    }

    #[test]
    fn too_many_columns_and_too_little_room_are_said() {
        let columns = [Column::text("c", 1); MAX_COLUMNS + 2];
        let values = [Value::U64(7); MAX_COLUMNS + 2];
        let words = judged(|out| out.table("rows", &columns, |table| Ok(table.row(&values)?)));
        let of = |cell, last| format!("{}{last}", format!("{cell}|").repeat(MAX_COLUMNS - 1));
        let head = of("c", "…");
        assert_eq!(words[1], head);
        assert_eq!(words[2], format!("{head} / {}", of("7", "cut:/None")));

        let long = format!("password=x {}", "y".repeat(4096));
        let columns = [Column::text("a://u:x@h", 1)];
        for room in [0, 2 * MAX_COLUMNS, 32 * MAX_COLUMNS] {
            let mut scratch = std::vec![0; room];
            let words = words_in(&mut scratch, |out| {
                out.table("rows", &columns, |table| Ok(table.row(&[(&*long).into()])?))
            });
            let row = &words[2];
            assert!(row.contains("cut:") && row.ends_with("/Some(4107)"), "{row}");
            assert!(!row.contains('x'), "{row}");
        }
    }
}
