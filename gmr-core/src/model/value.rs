//! Typed values, so that each view can give them their own form and unit.

/// One value of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// There is none (`None` in text as in the original, `null` in JSON).
    None,
    /// A truth value.
    Bool(bool),
    /// A count without a unit.
    U64(u64),
    /// A signed number without a unit.
    I64(i64),
    /// A number that was formatted when it was recorded, in JSON's grammar
    /// (floating point). A view that finds it is not, shows it as text.
    Number(&'a str),
    /// Text.
    Text(&'a str),
    /// Bytes that should be text: a file name, a thread name. What is not
    /// UTF-8 is shown as `\xNN`.
    Bytes(&'a [u8]),
    /// An amount of memory or data, in bytes.
    ByteCount(u64),
    /// A length of time, in nanoseconds.
    DurationNs(u64),
    /// A point in time, UTC.
    Timestamp(Timestamp),
    /// An address in this process.
    Address(u64),
    /// Raw bytes of an identifier, shown in hexadecimal (a build-id).
    Hex(&'a [u8]),
    /// A secret: the value is not here.
    Redacted,
    /// Text that was cut.
    Truncated {
        /// What is left of it.
        text: &'a [u8],
        /// How long it was, in bytes, if that is known.
        full_len_bytes: Option<u64>,
    },
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Bytes(bytes)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Value::U64(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::U64(u64::from(number))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::I64(number)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Value::I64(i64::from(number))
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<core::time::Duration> for Value<'_> {
    fn from(duration: core::time::Duration) -> Self {
        Value::DurationNs(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::None, Into::into)
    }
}

/// A point in time: seconds and nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since the epoch (negative before it).
    pub unix_seconds: i64,
    /// The rest, 0..=999,999,999. Views clamp a larger one.
    pub nanoseconds: u32,
}
