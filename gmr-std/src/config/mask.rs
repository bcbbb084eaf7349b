//! Which values of a configuration are secrets.
//!
//! The judgement of keys and texts is the core's ([`gmr_core::redact`]). Here
//! it is said what a key means for what stands below it:
//!
//! - a secret key masks its value, also each item of a list and what stands in
//!   an enum's newtype variant, whatever the type;
//! - if the value is a map, it is masked as a whole only under a key that says
//!   so of a group (`secrets`, `db_credentials`:
//!   [`Redaction::is_secret_group`]).
//!   A map under `keystone_authtoken` is a component's settings: inside it each
//!   key is judged by itself.

use std::borrow::Cow;

use gmr_core::redact::Redaction;

pub(super) use gmr_core::redact::MASK;

/// What of a value is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mask {
    /// What the texts themselves show.
    Texts,
    /// The value, and the items of a list; maps in it are judged anew.
    Value,
    /// Everything.
    All,
}

impl Mask {
    /// Of the value under `key`.
    pub(super) fn under(policy: &Redaction, key: &str) -> Self {
        if policy.is_secret_group(key) {
            Mask::All
        } else if policy.is_secret_key(key) {
            Mask::Value
        } else {
            Mask::Texts
        }
    }

    /// Of the values in a map that this is said of.
    pub(super) fn within_map(self) -> Self {
        if self == Mask::All { self } else { Mask::Texts }
    }

    /// Whether a value that is no container is masked.
    pub(super) fn hides_leaf(self) -> bool {
        self != Mask::Texts
    }
}

/// `text` with the secrets in it masked; borrowed if there are none.
pub(super) fn mask_text<'t>(policy: &Redaction, text: &'t str) -> Cow<'t, str> {
    let mut masked = String::new();
    let mut done = 0;
    policy.secret_ranges(text.as_bytes(), &mut |range| {
        masked.push_str(text.get(done..range.start).unwrap_or_default());
        masked.push_str(MASK);
        done = range.end;
    });
    if done == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(masked)
}

/// The largest character boundary at or before `index`. (std's own is newer
/// than our oldest compiler.)
pub(super) fn char_boundary(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    (0..=index).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use gmr_core::redact::Redaction;

    use super::{Mask, mask_text};

    static POLICY: Redaction = Redaction::new().secret_keys(&["*_pin"]).public_keys(&["token"]);

    #[test]
    fn keys() {
        assert_eq!(Mask::under(&POLICY, "port"), Mask::Texts);
        assert_eq!(Mask::under(&POLICY, "username"), Mask::Texts);
        assert_eq!(Mask::under(&POLICY, "token_ttl"), Mask::Texts);
        assert_eq!(Mask::under(&POLICY, "keystone_authtoken"), Mask::Value);
        assert_eq!(Mask::under(&POLICY, "keystone_authtoken").within_map(), Mask::Texts);
        assert_eq!(Mask::under(&POLICY, "api_keys").within_map(), Mask::All);
        assert_eq!(Mask::under(&POLICY, "cardPin").within_map(), Mask::All);
        assert_eq!(Mask::under(&POLICY, "token"), Mask::Texts);
    }

    #[test]
    fn texts() {
        assert!(matches!(mask_text(&POLICY, "http://host:80/"), Cow::Borrowed(_)));
        assert_eq!(mask_text(&POLICY, "é://u:p@h b://v:q@é"), "é://u:***@h b://v:***@é");
        assert_eq!(mask_text(&POLICY, "a://u:***@h"), "a://u:***@h");
    }
}
