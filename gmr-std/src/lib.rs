//! Guru Meditation Reports for std daemons.
