//! Tracked tasks: spawn location, name, polls, times.
