//! How the sections of a report went: for the end block, where who looks for
//! what is missing or slow finds all of them in one place.
//!
//! Limits: [`MAX_OUTCOMES`]. More is possible only if sections are taken out
//! and others registered while the report is written; they are counted.

use crate::model::{SectionOutcome, SectionStatus};
use crate::protocol::registry::MAX_SECTIONS;

/// All that can be registered at once, and the core's own.
pub(crate) const MAX_OUTCOMES: usize = MAX_SECTIONS + 8;

/// What stands in a place that nothing was written to.
pub(crate) const NO_OUTCOME: SectionOutcome<'static> =
    SectionOutcome { title: "", status: SectionStatus::Ok, elapsed_ns: 0 };

/// The outcomes of one report, in its order.
#[derive(Debug)]
pub(crate) struct Outcomes<'a> {
    places: &'a mut [SectionOutcome<'static>],
    used: usize,
    /// Sections that there was no place for.
    pub(crate) missed: u64,
}

impl<'a> Outcomes<'a> {
    /// None yet.
    pub(crate) fn new(places: &'a mut [SectionOutcome<'static>]) -> Self {
        Outcomes { places, used: 0, missed: 0 }
    }

    pub(crate) fn add(&mut self, outcome: SectionOutcome<'static>) {
        match self.places.get_mut(self.used) {
            Some(place) => {
                *place = outcome;
                self.used = self.used.saturating_add(1);
            }
            None => self.missed = self.missed.saturating_add(1),
        }
    }

    pub(crate) fn as_slice(&self) -> &[SectionOutcome<'static>] {
        self.places.get(..self.used).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_is_counted() {
        let outcome = |title| SectionOutcome { title, ..NO_OUTCOME };
        let mut places = [NO_OUTCOME; 2];
        let mut outcomes = Outcomes::new(&mut places);
        for title in ["a", "b", "c"] {
            outcomes.add(outcome(title));
        }
        assert_eq!(outcomes.as_slice(), [outcome("a"), outcome("b")]);
        assert_eq!(outcomes.missed, 1);
    }
}
