//! What became of the addresses, and the line about it.

use super::budget::{Failure, Limits};

/// What has become of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Found,
    /// For good: the files have no answer.
    Lost,
    /// With more time or memory there may be an answer.
    LostForNow,
}

/// Why addresses, or units, or objects, were not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    OverBudget,
    Late,
    Damaged,
    Panicked,
    OtherFile,
    NoDebugInfo,
    SplitMissing,
    NotCovered,
    SystemLibrary,
}

impl Reason {
    const ALL: [(Reason, &'static str); 9] = [
        (Reason::OverBudget, "over the memory budget"),
        (Reason::Late, "not in time"),
        (Reason::Damaged, "debug information damaged or not readable"),
        (Reason::Panicked, "panicked"),
        (Reason::OtherFile, "the file is not what is mapped, or not there"),
        (Reason::NoDebugInfo, "without debug information"),
        (Reason::SplitMissing, "split-off debug information not found"),
        (Reason::NotCovered, "in code without debug information (start-up code, assembler)"),
        (Reason::SystemLibrary, "in system libraries"),
    ];

    /// What becomes of an address that is lost for this reason.
    pub(crate) fn fate(self) -> Fate {
        match self {
            Reason::OverBudget | Reason::Late => Fate::LostForNow,
            _ => Fate::Lost,
        }
    }

    /// Nothing went wrong: only addresses are counted.
    fn is_ordinary(self) -> bool {
        matches!(self, Reason::NotCovered | Reason::SystemLibrary)
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::OverBudget => Reason::OverBudget,
            Failure::Stopped => Reason::Late,
            Failure::Damaged(_) => Reason::Damaged,
        }
    }
}

/// What the summary is made of.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) addresses: usize,
    pub(crate) found: usize,
    pub(crate) lost: [Lost; Reason::ALL.len()],
    /// Sections that were left out for want of memory.
    pub(crate) sections: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lost {
    pub(crate) objects: usize,
    pub(crate) units: usize,
    pub(crate) addresses: usize,
}

impl Tally {
    pub(crate) fn lose_unit(&mut self, reason: Reason, addresses: usize) {
        let lost = &mut self.lost[reason as usize];
        lost.units += 1;
        lost.addresses += addresses;
    }

    pub(crate) fn lose_object(&mut self, reason: Reason, addresses: usize) {
        let lost = &mut self.lost[reason as usize];
        lost.objects += 1;
        lost.addresses += addresses;
    }

    /// Notes a section that was left out. Each unit may have one of that name.
    pub(crate) fn lose_section(&mut self, name: &str) {
        if !self.sections.iter().any(|there| there == name) {
            self.sections.push(name.to_owned());
        }
    }

    pub(crate) fn was_cut(&self) -> bool {
        let lost = |reason: Reason| {
            let lost = self.lost[reason as usize];
            lost.objects + lost.units > 0
        };
        lost(Reason::OverBudget) || lost(Reason::Late) || !self.sections.is_empty()
    }

    pub(crate) fn summary(&self, limits: &Limits<'_>) -> String {
        let mut parts = vec![format!("{} of {}", self.found, counted(self.addresses, "address"))];
        for (lost, (reason, text)) in self.lost.iter().zip(Reason::ALL) {
            if reason.is_ordinary() {
                if lost.addresses > 0 {
                    parts.push(format!("{} {text}", lost.addresses));
                }
                continue;
            }
            let mut what = Vec::new();
            if lost.objects > 0 {
                what.push(counted(lost.objects, "object"));
            }
            if lost.units > 0 {
                what.push(counted(lost.units, "unit"));
            }
            if reason == Reason::OverBudget && !self.sections.is_empty() {
                what.extend(self.sections.iter().cloned());
            }
            if !what.is_empty() {
                let size = match reason {
                    Reason::OverBudget => format!(" of {}", size(limits.memory_bytes)),
                    _ => String::new(),
                };
                let addresses = match lost.addresses {
                    0 => String::new(),
                    count => format!(" ({})", counted(count, "address")),
                };
                parts.push(format!("{text}{size}: {}{addresses}", what.join(", ")));
            }
        }
        parts.join("; ")
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = match noun {
        _ if count == 1 => "",
        "address" => "es",
        _ => "s",
    };
    format!("{count} {noun}{plural}")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_an_operator() {
        let limits = Limits {
            memory_bytes: 8 << 20,
            deadline: std::time::Instant::now(),
            is_wanted: &|| true,
            debug_dirs: &[],
            system_libraries: false,
            full_names: false,
        };
        let mut tally = Tally { addresses: 75, found: 57, ..Tally::default() };
        tally.lose_object(Reason::NotCovered, 3);
        tally.lose_object(Reason::SystemLibrary, 11);
        tally.lose_object(Reason::SystemLibrary, 1);
        assert!(!tally.was_cut());
        assert_eq!(
            tally.summary(&limits),
            "57 of 75 addresses; \
             3 in code without debug information (start-up code, assembler); \
             12 in system libraries"
        );
        tally.lose_unit(Reason::OverBudget, 2);
        tally.lose_section(".debug_str.dwo");
        tally.lose_section(".debug_str.dwo");
        assert!(tally.was_cut());
        assert!(tally.summary(&limits).starts_with(
            "57 of 75 addresses; \
             over the memory budget of 8 MiB: 1 unit, .debug_str.dwo (2 addresses); 3 in code"
        ));
    }
}
