//! The signal that would be sent.

use std::fmt;
use std::str::FromStr;

/// A signal that a process can have a handler for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trigger(i32);

/// What the kernel does with a signal that nobody handles (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    End,
    Stop,
    Nothing,
}

const NAMES: [(&str, i32); 2] = [("USR1", 10), ("USR2", 12)];
const KILL: i32 = 9;
const STOP: i32 = 19;

impl Trigger {
    /// `set` is a line such as SigCgt: bit N-1 is signal N.
    pub(crate) fn is_in(self, set: u64) -> bool {
        set & (1 << (self.0 - 1)) != 0
    }

    /// The signals of a set that a program may have chosen as its trigger: not
    /// those that nobody can block (KILL, STOP), that a fault of the thread
    /// itself raises (ILL, TRAP, BUS, FPE, SEGV, SYS), or that the C library
    /// keeps to itself (32, 33).
    pub(crate) fn choosable_in(set: u64) -> impl Iterator<Item = Trigger> {
        (1..=64)
            .filter(|number| !matches!(*number, 4 | 5 | 7 | 8 | KILL | 11 | STOP | 31..=33))
            .map(Trigger)
            .filter(move |trigger| trigger.is_in(set))
    }

    /// As `--signal` and `kill` take it.
    pub(crate) fn argument(self) -> String {
        let named = NAMES.iter().find(|(_, number)| *number == self.0);
        named.map_or_else(|| self.0.to_string(), |(name, _)| name.to_ascii_lowercase())
    }

    pub(crate) fn default_action(self) -> DefaultAction {
        match self.0 {
            // CHLD, CONT, URG, WINCH.
            17 | 18 | 23 | 28 => DefaultAction::Nothing,
            // TSTP, TTIN, TTOU.
            20..=22 => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        match named.or_else(|| text.parse().ok()) {
            Some(KILL | STOP) => Err("no process can handle this signal".to_owned()),
            Some(number @ 1..=64) => Ok(Trigger(number)),
            _ => Err("expected usr1, usr2, or a number from 1 to 64".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals_and_nothing_else_is() {
        for text in ["usr2", "USR2", "SIGUSR2", "sigusr2", "12"] {
            assert_eq!(text.parse(), Ok(Trigger(12)), "{text}");
        }
        assert_eq!("usr1".parse(), Ok(Trigger(10)));
        assert_eq!("64".parse(), Ok(Trigger(64)));
        for text in ["", "0", "65", "-12", "9", "19", "usr3", "12.0", "SIG"] {
            assert!(text.parse::<Trigger>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_are_read_from_the_lowest_bit() {
        assert!(Trigger(12).is_in(0x800));
        assert!(!Trigger(12).is_in(!0x800));
        assert!(Trigger(64).is_in(1 << 63));
        // What a supervisor of gmr-std was seen to leave open.
        let open = !0xffff_fffe_3ffb_f227;
        let found: Vec<_> = Trigger::choosable_in(open).map(Trigger::argument).collect();
        assert_eq!(found, ["usr2"]);
    }
}
