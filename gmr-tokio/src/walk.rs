//! The walk through a suspended future, by an await table.
