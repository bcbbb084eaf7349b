//! Where and how our own threads are scheduled (sched(7)).
//!
//! 1. Each of our threads calls [`ThreadChoices::apply`] first thing, so its
//!    choices hold before it does anything else.
//! 2. By default a thread that was born real-time, because the one that sets up
//!    is, becomes an ordinary one: a report must not compete with the work that
//!    the program has given priority. Nice value and the other ordinary
//!    policies stay as the operator chose them. (Going back to nice 0 takes a
//!    privilege, so a daemon with `Nice=5` could not set up at all.)
//! 3. What the kernel refuses is an error of the setup, never a silent default.
//!
//! Deliberately not here: a real-time priority of our own. Who wants reports of
//! a process whose real-time threads take every CPU has [`Scheduling::Inherit`].
//!
//! # Safety
//!
//! One system call that the C library has no wrapper for, with plain data.
#![cfg_attr(gmr_engine, expect(unsafe_code, reason = "sched_setattr(2)"))]

use std::fmt;
use std::io;

/// How the threads that write reports are scheduled; see
/// [`Setup::scheduling`](crate::Setup::scheduling).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scheduling {
    /// Never real-time: SCHED_OTHER where the thread that sets up has a
    /// real-time policy, else as that thread is.
    #[default]
    Ordinary,
    /// SCHED_OTHER with this nice value, -20 (more) to 19 (less of the CPU). A
    /// lower one than the process has takes CAP_SYS_NICE or RLIMIT_NICE.
    Nice(i32),
    /// As the thread that sets up, real-time policies included.
    Inherit,
}

/// What our threads do to themselves before anything else.
#[derive(Debug, Clone, Default)]
pub(crate) struct ThreadChoices {
    pub(crate) scheduling: Scheduling,
    /// `None`: the CPUs of the thread that sets up.
    pub(crate) cpus: Option<Vec<usize>>,
}

/// A choice that the kernel refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum SchedulingError {
    /// The policy or the nice value.
    Policy {
        /// What was chosen.
        scheduling: Scheduling,
        /// Why it was refused.
        error: io::Error,
    },
    /// The CPUs.
    Cpus {
        /// What was chosen.
        cpus: Vec<usize>,
        /// Why it was refused.
        error: io::Error,
    },
}

impl fmt::Display for SchedulingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchedulingError::Policy { scheduling, error } => write!(
                f,
                "the report threads could not be scheduled as {scheduling:?} ({error}); choose a \
                 nice value from the process's own to 19, or give it CAP_SYS_NICE"
            ),
            SchedulingError::Cpus { cpus, error } => write!(
                f,
                "the report threads could not be put on the CPUs {cpus:?} ({error}); choose from \
                 those that the process may use (Cpus_allowed_list in /proc/self/status)"
            ),
        }
    }
}

impl std::error::Error for SchedulingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SchedulingError::Policy { error, .. } | SchedulingError::Cpus { error, .. } => {
                Some(error)
            }
        }
    }
}

#[cfg(gmr_engine)]
impl ThreadChoices {
    /// Applies them to the calling thread. For a thread of ours, at its start:
    /// allocates.
    pub(crate) fn apply(&self) -> Result<(), SchedulingError> {
        schedule(self.scheduling)
            .map_err(|error| SchedulingError::Policy { scheduling: self.scheduling, error })?;
        let Some(cpus) = &self.cpus else { return Ok(()) };
        bind(cpus).map_err(|error| SchedulingError::Cpus { cpus: cpus.clone(), error })
    }
}

#[cfg(gmr_engine)]
fn schedule(scheduling: Scheduling) -> io::Result<()> {
    match scheduling {
        Scheduling::Inherit => Ok(()),
        Scheduling::Ordinary if !is_real_time()? => Ok(()),
        // Keeps the nice value, which is of no effect until now: a lower one may
        // not be allowed.
        Scheduling::Ordinary => set_ordinary(own_nice()),
        Scheduling::Nice(nice) => set_ordinary(nice),
    }
}

#[cfg(gmr_engine)]
fn is_real_time() -> io::Result<bool> {
    // SAFETY: 0 is the calling thread; no pointers.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    let policy = i32::try_from(policy).unwrap_or(-1);
    if policy < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(matches!(
        policy & !libc::SCHED_RESET_ON_FORK,
        libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
    ))
}

#[cfg(gmr_engine)]
fn own_nice() -> i32 {
    // SAFETY: 0 is the calling thread (getpriority(2)); no pointers. -1 may be an
    // answer, and for oneself there is no error.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Policy and nice value in one step. (The kernel would bring a nice value that
/// is out of range into it without a word.)
#[cfg(gmr_engine)]
fn set_ordinary(nice: i32) -> io::Result<()> {
    if !(-20..=19).contains(&nice) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: 0 is the calling thread; the kernel reads `size` bytes.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(gmr_engine)]
fn bind(cpus: &[usize]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(all(test, gmr_engine))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_and_says_what_to_do() {
        let refused = |choices: ThreadChoices| choices.apply().unwrap_err().to_string();
        for nice in [-21, 20, i32::MIN, i32::MAX] {
            let choices =
                ThreadChoices { scheduling: Scheduling::Nice(nice), ..ThreadChoices::default() };
            assert!(refused(choices).contains(&format!("Nice({nice})")));
        }
        for cpus in [vec![], vec![5000], vec![usize::MAX]] {
            let text = refused(ThreadChoices { cpus: Some(cpus), ..ThreadChoices::default() });
            assert!(text.contains("Cpus_allowed_list"), "{text}");
        }
    }
}
