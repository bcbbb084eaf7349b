//! The verdict, and what it rests on.
//!
//! The order of the questions is the order in which an answer makes the rest
//! pointless:
//!
//! 1. Is it alive, and may we signal it at all?
//! 2. Is there a handler? Without one the default action ends the process.
//! 3. Is the handler that of reports? /proc cannot say. But gmr-std's
//!    supervisors are known by their names, and each leaves exactly one signal
//!    open that is no fault of its own: the trigger.
//! 4. Does any thread take the signal now?

use std::fmt;

use crate::facts::{Facts, Thread, Unknown};
use crate::signal::{DefaultAction, Trigger};

/// gmr-std's composing threads are called this and a number.
const SUPERVISOR: &str = "gmr-supervisor";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    Unknown,
}

/// What is printed about one process.
#[derive(Debug)]
pub(crate) struct Answer {
    subject: String,
    pub(crate) verdict: Verdict,
    /// After the verdict's word, in the same line.
    pub(crate) because: String,
    /// One sentence each.
    pub(crate) notes: Vec<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Yes => "yes",
            Verdict::No => "no",
            Verdict::Unknown => "unknown",
        };
        writeln!(f, "{}: {word}: {}", self.subject, self.because)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

impl Answer {
    pub(crate) fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Yes => 0,
            Verdict::No => 1,
            Verdict::Unknown => 2,
        }
    }

    pub(crate) fn unknown(pid: i32, unknown: Unknown) -> Self {
        let because = match unknown {
            Unknown::NoSuchProcess => "there is no such process.".to_owned(),
            Unknown::IsThreadOf(group) => {
                format!("this is a thread of process {group}; check that one.")
            }
            Unknown::Hidden => "it exists, but /proc hides it (mount option hidepid); \
                                ask as its user or as root."
                .to_owned(),
            Unknown::NotReadable(error) => {
                format!("/proc does not tell ({error}); ask as its user or as root.")
            }
            Unknown::ForeignProc => "/proc belongs to another pid namespace: its numbers are \
                                     not those that kill takes here."
                .to_owned(),
        };
        Answer { subject: pid.to_string(), verdict: Verdict::Unknown, because, notes: Vec::new() }
    }
}

/// May `trigger` be sent to this process?
pub(crate) fn judge(facts: &Facts, trigger: Trigger) -> Answer {
    let (verdict, because) = verdict(facts, trigger);
    Answer {
        // Names come from others: no control characters to the terminal.
        subject: format!("{} ({})", facts.pid, facts.name.escape_debug()),
        verdict,
        because,
        notes: notes(facts, trigger),
    }
}

fn verdict(facts: &Facts, trigger: Trigger) -> (Verdict, String) {
    let no = |because: String| (Verdict::No, because);
    if !facts.threads.iter().any(|thread| !thread.is_dead()) {
        return no(format!(
            "it has ended (zombie) and waits for process {} to collect it.",
            facts.parent_pid
        ));
    }
    if !facts.is_ours_to_signal {
        return no("this user may not send it signals; ask as its user or as root.".to_owned());
    }
    if trigger.is_in(facts.ignored) {
        return no(format!("it ignores {trigger}: harmless, but no report comes."));
    }
    if !trigger.is_in(facts.caught) {
        return no(match trigger.default_action() {
            _ if facts.inner_pid == Some(1) || facts.pid == 1 => format!(
                "it has no handler for {trigger}; as pid 1 of its namespace the kernel shields \
                 it: harmless, but no report comes."
            ),
            DefaultAction::End => {
                format!(
                    "it has no handler for {trigger}: do not send it, it would END the process."
                )
            }
            DefaultAction::Stop => {
                format!(
                    "it has no handler for {trigger}: do not send it, it would STOP the process."
                )
            }
            DefaultAction::Nothing => {
                format!("it has no handler for {trigger}: harmless, but no report comes.")
            }
        });
    }
    if let Some(other) = other_trigger(facts, trigger) {
        return no(format!(
            "its reports are asked for by {other}, not by {trigger}, which some other code of \
             it handles; gmr check --signal {}",
            other.argument()
        ));
    }
    if living(facts).all(|thread| trigger.is_in(thread.blocked)) {
        return no(format!(
            "all its threads block {trigger}: the signal stays pending until one does not."
        ));
    }
    if living(facts).all(Thread::is_stopped) {
        return no(
            "it is stopped: the report comes when it goes on (kill -CONT, or the debugger)."
                .to_owned(),
        );
    }
    (Verdict::Yes, format!("it has a handler for {trigger}, and a thread that takes it."))
}

fn notes(facts: &Facts, trigger: Trigger) -> Vec<String> {
    let mut notes = Vec::new();
    if living(facts).next().is_none() {
        return notes;
    }
    if trigger.is_in(facts.caught) {
        let (open, all) = (takers(facts, trigger), living(facts).count());
        notes.push(match all - open {
            0 => format!("All its threads ({all}) take {trigger}."),
            _ => format!("{open} of {all} threads take {trigger}, the others block it."),
        });
        notes.push(match report_threads(facts) {
            0 => "Whose handler it is /proc does not say: no thread here has a name of gmr-std's \
                  (gmr-core alone has none)."
                .to_owned(),
            count => format!(
                "{count} of its threads are called {SUPERVISOR}…, as those of gmr-std that write \
                 reports."
            ),
        });
        if let Some(stderr) = &facts.stderr {
            notes.push(format!(
                "Its standard error, where reports go unless the program says otherwise: {}",
                stderr.escape_debug()
            ));
        }
    }
    if !trigger.is_in(facts.caught) {
        let with_handler = facts.children.iter().filter(|child| trigger.is_in(child.caught));
        notes.extend(with_handler.map(|child| {
            let name = child.name.escape_debug();
            format!("Its child {} ({name}) has a handler: check that one.", child.pid)
        }));
    }
    if facts.tracer_pid != 0 {
        notes.push(format!(
            "Process {} traces it and sees signals first; a debugger may stop it at {trigger}.",
            facts.tracer_pid
        ));
    }
    if let Some(inner) = facts.inner_pid {
        notes.push(format!(
            "It is pid {inner} in a pid namespace of its own, and so its reports call it."
        ));
    }
    notes
}

fn living(facts: &Facts) -> impl Iterator<Item = &Thread> {
    facts.threads.iter().filter(|thread| !thread.is_dead())
}

fn takers(facts: &Facts, trigger: Trigger) -> usize {
    living(facts).filter(|thread| !trigger.is_in(thread.blocked)).count()
}

fn supervisors(facts: &Facts) -> impl Iterator<Item = &Thread> {
    living(facts).filter(|thread| thread.name.starts_with(SUPERVISOR))
}

fn report_threads(facts: &Facts) -> usize {
    supervisors(facts).count()
}

/// The signal that gmr-std's supervisors wait for, if that is another.
fn other_trigger(facts: &Facts, trigger: Trigger) -> Option<Trigger> {
    let open: Vec<_> = supervisors(facts)
        .map(|supervisor| {
            let mut open = Trigger::choosable_in(!supervisor.blocked);
            (open.next(), open.next())
        })
        .collect();
    match open[..] {
        // Each leaves the same one open, and nothing else.
        [(Some(first), None), ref rest @ ..]
            if first != trigger && rest.iter().all(|other| *other == (Some(first), None)) =>
        {
            Some(first)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USR1: u64 = 1 << 9;
    const USR2: u64 = 1 << 11;
    /// A supervisor's mask, but for the trigger.
    const SUPERVISOR_MASK: u64 = 0xffff_fffe_3ffb_fa27;

    fn trigger() -> Trigger {
        "usr2".parse().unwrap()
    }

    fn thread(name: &str, blocked: u64) -> Thread {
        Thread { name: name.to_owned(), state: 'S', blocked }
    }

    fn facts(threads: Vec<Thread>) -> Facts {
        Facts {
            pid: 4711,
            name: "daemon".to_owned(),
            caught: USR2,
            ignored: 0,
            parent_pid: 1,
            tracer_pid: 0,
            inner_pid: None,
            is_ours_to_signal: true,
            stderr: None,
            threads,
            children: Vec::new(),
        }
    }

    #[track_caller]
    fn assert_answer(facts: &Facts, verdict: Verdict, part: &str) {
        let answer = judge(facts, trigger());
        assert_eq!(answer.verdict, verdict, "{answer}");
        assert!(answer.to_string().contains(part), "{answer}");
    }

    #[test]
    fn pid_1_of_a_namespace_is_shielded_and_others_are_not() {
        let mut facts = facts(vec![thread("daemon", 0)]);
        facts.caught = 0;
        assert_answer(&facts, Verdict::No, "END");
        facts.inner_pid = Some(7);
        assert_answer(&facts, Verdict::No, "END");
        facts.inner_pid = Some(1);
        assert_answer(&facts, Verdict::No, "shields");
    }

    #[test]
    fn a_process_of_somebody_else_is_not_asked() {
        let mut facts = facts(vec![thread("daemon", 0)]);
        facts.is_ours_to_signal = false;
        assert_answer(&facts, Verdict::No, "may not send");
    }

    #[test]
    fn a_dead_main_thread_among_living_ones_is_no_zombie() {
        let mut facts = facts(vec![thread("daemon", 0), thread("worker", 0)]);
        facts.threads[0].state = 'Z';
        assert_answer(&facts, Verdict::Yes, "All its threads (1) take");
        facts.threads[1].state = 'X';
        assert_answer(&facts, Verdict::No, "zombie");
    }

    #[test]
    fn supervisors_tell_which_signal_is_the_trigger() {
        let with = |open: u64| {
            let mask = SUPERVISOR_MASK & !open;
            let mut facts = facts(vec![
                thread("daemon", 0),
                thread("gmr-supervisor0", mask),
                thread("gmr-supervisor1", mask),
            ]);
            facts.caught |= USR1;
            facts
        };
        assert_answer(&with(USR2), Verdict::Yes, "2 of its threads are called gmr-supervisor");
        assert_answer(&with(USR1), Verdict::No, "gmr check --signal usr1");
        // Not what gmr-std does: no conclusion.
        assert_answer(&with(USR1 | USR2), Verdict::Yes, "All its threads (3) take");
        assert_answer(&with(0), Verdict::Yes, "1 of 3 threads take");
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        let mut facts = facts(vec![thread("daemon", 0)]);
        facts.name = "\x1b[2Jforged\n4712 (x): yes".to_owned();
        let text = judge(&facts, trigger()).to_string();
        assert!(!text.contains('\x1b'));
        assert!(!text.contains("\n4712"));
    }
}
