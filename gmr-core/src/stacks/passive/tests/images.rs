//! Functions written by hand.
