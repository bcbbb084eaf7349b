//! User names, from /etc/passwd alone, remembered one at a time: the
//! descendants of a daemon mostly run as one user.

use rustix::fd::AsFd;
use rustix::fs::CWD;

use super::facts::Facts;
use crate::procfs::{passwd, read};

/// The name of `uid`; `None` if it has none or the file cannot be read.
pub(super) fn look_up(uid: u32, buffer: &mut [u8]) -> Option<passwd::Name> {
    let file = read::open_following(CWD, c"/etc/passwd").ok()?;
    passwd::find_user(|into| read::some(file.as_fd(), into), buffer, uid).ok()?
}

/// The user that was looked up last.
#[derive(Debug)]
pub(super) struct Users {
    last: Option<(u32, Option<passwd::Name>)>,
}

impl Users {
    /// Begins with the user that was known at setup: after a chroot its name
    /// may be out of reach.
    pub(super) fn new(facts: &Facts) -> Self {
        Users { last: facts.user().map(|(uid, name)| (*uid, Some(name.clone()))) }
    }

    /// The name of `uid`.
    pub(super) fn name(&mut self, uid: u32, buffer: &mut [u8]) -> Option<&[u8]> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != uid) {
            self.last = Some((uid, look_up(uid, buffer)));
        }
        self.last.as_ref().and_then(|(_, name)| name.as_deref())
    }
}
