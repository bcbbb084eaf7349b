//! An await table that is loaded: bound to the addresses of this process.
