//! [`Table`]: rows of values under named columns.
//!
//! 1. The program adds rows; each cell keeps its own `Serialize`.
//! 2. To any serializer a table is a list of maps, column to value.
//! 3. While a configuration or a section is flattened, it is a newtype of a
//!    reserved name around the columns, which a map's keys have lost the order
//!    of, and the same list. Our serializer masks that like any list of maps,
//!    each value by its key, and makes it a [`Node::Table`] again ([`arranged`]).
//!    One that drops the name (see [`Secret`](super::Secret)) leaves it a list of
//!    maps, masked alike.
//!
//! Limit: [`MAX_COLUMNS`] columns are shown in a report.

use core::fmt;
use core::mem::{replace, take};

use gmr_core::model::MAX_COLUMNS;
use gmr_core::redact::Redaction;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::exposed::expose;
use super::node::Node;
use super::secret::is_flattening;
use super::tidy::{mask_arguments, shown_key};

/// The newtype name that our serializer takes for "a table".
pub(super) const TABLE_NAME: &str = "$gmr_std::private::Table";

const COLUMNS_FIELD: &str = "columns";
const ROWS_FIELD: &str = "rows";

/// A table: in text one aligned line for each row, in JSON an array of objects.
///
/// Return it from a section's closure, or as a part of what it returns:
///
/// ```
/// use gmr_std::Table;
///
/// fn queues() -> Table {
///     Table::new(["name", "depth", "paused"])
///         .row(("mail", 1700, false))
///         .row(("webhooks", 2, true))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let setup = gmr_std::setup_autorun(gmr_std::package!()).register_section("Queues", queues);
/// // Any other serializer writes a list of maps.
/// let json = serde_json::to_value(queues())?;
/// assert_eq!(json[1], serde_json::json!({"name": "webhooks", "depth": 2, "paused": true}));
/// # drop(setup);
/// # Ok(())
/// # }
/// ```
///
/// ```text
/// name      depth  paused
/// --------  -----  ------
/// mail       1700  False
/// webhooks      2  True
/// ```
///
/// A column of numbers stands right, any other left. A cell is whatever
/// serializes: a list or a map in one is shown as text. A row that is too short
/// is left blank at its end (`null` in JSON); one that is too long gets columns
/// of its own: `column 4`.
///
/// # Secrets
///
/// A cell is masked as a value under its column's name would be: whole, if that
/// names a secret, else what its text shows. In a column `value` it is masked
/// also if another text of its row names a secret. [`Secret`](crate::Secret) and
/// [`expose`](crate::expose) hold for a cell, and for the table as a whole.
///
/// # Limitations
///
/// - 16 columns are shown in a report; how many more there are is said, and the
///   section counts as cut.
/// - A column is at most 60 characters wide. A longer cell is not cut; the rest
///   of its line stands further right.
/// - Characters are counted, not their width: one that takes two places on the
///   screen moves the rest of its line.
#[derive(Default)]
pub struct Table {
    /// No two are equal, and no row is longer.
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

type Cell = Box<dyn erased_serde::Serialize + Send>;

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the cells: they may hold secrets.
        f.debug_struct("Table")
            .field("columns", &self.columns)
            .field("rows", &self.rows.len())
            .finish()
    }
}

impl Table {
    /// A table with these columns and no rows. The second of two equal names
    /// becomes `name (2)`.
    pub fn new<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        let mut table = Table::default();
        for column in columns {
            table.add_column(column.into());
        }
        table
    }

    /// With one more row: a tuple, an array or a `Vec` of cells.
    #[must_use]
    pub fn row(mut self, cells: impl TableRow) -> Self {
        self.push(cells);
        self
    }

    /// With more rows.
    ///
    /// ```
    /// # let queues = [("mail".to_owned(), 1700)];
    /// let table = gmr_std::Table::new(["name", "depth"]).rows(queues);
    /// ```
    #[must_use]
    pub fn rows<R: TableRow>(mut self, rows: impl IntoIterator<Item = R>) -> Self {
        for row in rows {
            self.push(row);
        }
        self
    }

    /// Adds a row.
    pub fn push(&mut self, cells: impl TableRow) {
        let cells = cells.into_cells().0;
        while self.columns.len() < cells.len() {
            self.add_column(format!("column {}", self.columns.len() + 1));
        }
        self.rows.push(cells);
    }

    fn add_column(&mut self, name: String) {
        let name = unique(&self.columns, name);
        self.columns.push(name);
    }
}

/// What can be a row of a [`Table`]: tuples of up to 16 values of any types that
/// serialize, arrays and `Vec`s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row of a table",
    note = "a row is a tuple (of one cell: `(cell,)`), an array or a `Vec`, and its cells are \
            `serde::Serialize + Send + 'static`"
)]
pub trait TableRow {
    #[doc(hidden)]
    fn into_cells(self) -> private::Cells;
}

mod private {
    /// The cells of a row: nobody else can make them.
    #[allow(missing_debug_implementations, reason = "cannot be named")]
    pub struct Cells(pub(super) Vec<super::Cell>);
}

use private::Cells;

fn cell<T: Serialize + Send + 'static>(value: T) -> Cell {
    Box::new(value)
}

impl<T: Serialize + Send + 'static> TableRow for Vec<T> {
    fn into_cells(self) -> Cells {
        Cells(self.into_iter().map(cell).collect())
    }
}

impl<T: Serialize + Send + 'static, const N: usize> TableRow for [T; N] {
    fn into_cells(self) -> Cells {
        Cells(self.into_iter().map(cell).collect())
    }
}

/// Implements [`TableRow`] for a tuple, and for each shorter one.
macro_rules! tuples {
    () => {};
    ($first:ident $($rest:ident)*) => {
        impl<$first, $($rest),*> TableRow for ($first, $($rest,)*)
        where
            $first: Serialize + Send + 'static,
            $($rest: Serialize + Send + 'static,)*
        {
            fn into_cells(self) -> Cells {
                #[allow(non_snake_case, reason = "named as their types")]
                let ($first, $($rest,)*) = self;
                Cells(vec![cell($first), $(cell($rest)),*])
            }
        }
        tuples!($($rest)*);
    };
}

tuples!(A B C D E F G H I J K L M N O P);

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if is_flattening() {
            serializer.serialize_newtype_struct(TABLE_NAME, &Parts(self))
        } else {
            Rows(self).serialize(serializer)
        }
    }
}

/// A table as it is flattened.
struct Parts<'t>(&'t Table);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_struct("Table", 2)?;
        // Keys are public, also of what is secret as a whole.
        parts.serialize_field(COLUMNS_FIELD, &expose(&self.0.columns))?;
        parts.serialize_field(ROWS_FIELD, &Rows(self.0))?;
        parts.end()
    }
}

/// The rows as a list of maps.
struct Rows<'t>(&'t Table);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = &self.0.columns;
        serializer.collect_seq(self.0.rows.iter().map(|cells| Row { columns, cells }))
    }
}

struct Row<'t> {
    columns: &'t [String],
    cells: &'t [Cell],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The report knows how to show that there is none.
        let shown = if is_flattening() { self.cells.len() } else { self.columns.len() };
        let mut map = serializer.serialize_map(Some(shown))?;
        for (at, column) in self.columns.iter().take(shown).enumerate() {
            map.serialize_entry(column, &self.cells.get(at))?;
        }
        map.end()
    }
}

/// Makes what [`Parts`] became a table again. What a limit has cut too short for
/// that stays as it is.
pub(super) fn arranged(policy: &Redaction, is_exposed: bool, mut node: Node) -> Node {
    let Some((column_nodes, row_nodes, mut left_out)) = parts(&mut node) else {
        return node;
    };
    // As the keys of the rows were, so that they are found.
    let mut columns = Vec::with_capacity(column_nodes.len());
    for column in column_nodes {
        let name = unique(&columns, shown_key(policy, &column.into_key()).0);
        columns.push(name);
    }
    let rows = row_nodes
        .into_iter()
        .map(|row| {
            let mut cells = cells_of(&columns, row, &mut left_out);
            if !is_exposed {
                mask_named(policy, &columns, &mut cells);
                mask_arguments(policy, &mut cells);
            }
            cells.into_iter().map(Node::into_cell).collect()
        })
        .collect();
    let columns_left_out = columns.len().saturating_sub(MAX_COLUMNS);
    columns.truncate(MAX_COLUMNS);
    Node::Table { columns, rows, left_out, columns_left_out }
}

/// Columns, rows, and how many rows are missing.
fn parts(node: &mut Node) -> Option<(Vec<Node>, Vec<Node>, u64)> {
    let Node::Map { entries, left_out: 0 } = node else { return None };
    let [(_, Node::Exposed(columns)), (_, Node::List { items: rows, left_out })] = &mut **entries
    else {
        return None;
    };
    let Node::List { items: columns, left_out: 0 } = &mut **columns else { return None };
    Some((take(columns), take(rows), *left_out))
}

/// A row's cells in the order of the columns, as many as there are.
fn cells_of(columns: &[String], row: Node, left_out: &mut u64) -> Vec<Node> {
    let Node::Map { mut entries, left_out: cells_left_out } = row else {
        return vec![row];
    };
    let (shown, not_shown) = columns.split_at(columns.len().min(MAX_COLUMNS));
    let mut cells = Vec::with_capacity(shown.len());
    let mut len = 0;
    for column in shown {
        let found = entries.iter().position(|(key, _)| key == column);
        cells.push(found.map_or(Node::None, |at| entries.swap_remove(at).1));
        if found.is_some() {
            len = cells.len();
        }
    }
    cells.truncate(len);
    let lost = entries.iter().filter(|(key, _)| !not_shown.contains(key)).count();
    *left_out = left_out.saturating_add(cells_left_out).saturating_add(lost as u64);
    cells
}

/// Masks the column `value` if another text of the row names a secret.
fn mask_named(policy: &Redaction, columns: &[String], cells: &mut [Node]) {
    let is_value = |column: &String| column.eq_ignore_ascii_case("value");
    let names_secret = columns.iter().zip(&*cells).any(|(column, cell)| {
        !is_value(column) && matches!(cell, Node::Text(text) if policy.is_secret_key(text))
    });
    if names_secret {
        for (_, cell) in columns.iter().zip(cells).filter(|(column, _)| is_value(column)) {
            *cell = replace(cell, Node::None).masked_leaves();
        }
    }
}

/// `name`, or with a number behind it if it is taken.
fn unique(taken: &[String], name: String) -> String {
    if !taken.contains(&name) {
        return name;
    }
    (2_u64..)
        .map(|number| format!("{name} ({number})"))
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or(name)
}
