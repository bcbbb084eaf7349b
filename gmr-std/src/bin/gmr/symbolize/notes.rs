//! What is said beside the report: one line for each module that is left, and
//! for each limit that was met, once for the whole input.
//!
//! Names come from reports: nothing in them speaks to the terminal.
//! Limits: [`MAX_NAMES`] and [`MAX_NOTES`].

use std::collections::HashSet;

use super::Answer;
use super::find::{self, Places};
use super::modules::{MAX_MODULES, Module, Unknown};

/// Modules of one report that are said to be unknown.
pub(super) const MAX_NAMES: usize = 64;

/// Lines in all: as many modules as a report has.
const MAX_NOTES: usize = MAX_MODULES;

pub(super) struct Notes<'s> {
    say: &'s mut dyn FnMut(&str),
    said: HashSet<String>,
    /// The number of the report in the input, from 1.
    pub(super) report: usize,
}

impl<'s> Notes<'s> {
    pub(super) fn new(say: &'s mut dyn FnMut(&str)) -> Self {
        Notes { say, said: HashSet::new(), report: 0 }
    }

    fn note(&mut self, text: &str) {
        let text = harmless(text);
        if self.said.len() < MAX_NOTES && !self.said.contains(&text) {
            (self.say)(&text);
            self.said.insert(text);
        }
    }

    fn of_report(&mut self, text: &str) {
        self.note(&format!("report {} of the input: {text}", self.report));
    }

    pub(super) fn too_long(&mut self, report: usize) {
        self.report = report;
        let mebibytes = super::input::MAX_REPORT_BYTES >> 20;
        self.of_report(&format!("longer than {mebibytes} MiB; left as it is"));
    }

    pub(super) fn no_section(&mut self) {
        self.of_report("it has no section Modules, which says what its offsets refer to");
    }

    pub(super) fn modules_left_out(&mut self, count: usize) {
        self.of_report(&format!("{count} modules are over the limit of {MAX_MODULES}"));
    }

    pub(super) fn addresses_left_out(&mut self, count: usize) {
        let limit = super::MAX_ADDRESSES;
        self.of_report(&format!("{count} frames are over the limit of {limit} addresses"));
    }

    pub(super) fn unknown_module(&mut self, name: &str, why: Unknown) {
        self.note(&match why {
            Unknown::NotListed => {
                format!("{name}: not in the report's section Modules; its frames are left")
            }
            Unknown::Ambiguous => format!(
                "{name}: several modules have this name; their frames are left (a report in \
                 JSON tells them apart)"
            ),
        });
    }

    pub(super) fn module(&mut self, module: &Module, answer: &Answer, places: &Places) {
        let name = module.name();
        if answer.files.is_empty() {
            if find::is_file(module) {
                self.note(&format!("{name}: {}", places.explain(module, &answer.files)));
            }
            return;
        }
        if answer.files.lines().is_none() {
            self.note(&format!(
                "{name}: names only: no debug information in {}; give --debug-dir for a file with \
                 it",
                answer.files.names()
            ));
        }
        if answer.nameless > 0 {
            self.note(&format!(
                "{name}: {} of {} frames are not known to {}",
                answer.nameless,
                answer.asked,
                answer.files.names()
            ));
        }
        if let Some(summary) = answer.found.summary() {
            self.note(&format!("{name}: {summary}"));
        }
    }
}

/// Without what a terminal would act on, or show as something else.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => harmless.push(character),
            _ => harmless.extend(character.escape_debug()),
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_and_harms_nobody() {
        let mut said = Vec::new();
        let mut say = |text: &str| said.push(text.to_owned());
        let mut notes = Notes::new(&mut say);
        for _ in 0..2 {
            notes.unknown_module("a\x1b[2J\u{202e}\nb\\", Unknown::NotListed);
        }
        (0..2 * MAX_NOTES)
            .for_each(|number| notes.unknown_module(&number.to_string(), Unknown::Ambiguous));
        assert_eq!(said.len(), MAX_NOTES);
        assert!(said[0].starts_with(r"a\u{1b}[2J\u{202e}\nb\: not in"), "{}", said[0]);
    }
}
