//! What an installation consists of, behind its [`Handle`](crate::Handle): the
//! reporter, the workers, and the sections whose closures we own.
//!
//! # Safety
//!
//! A section is a box that was let go of when it was registered. It is freed
//! once: by `unregister`, after the reporter has sworn that no report is inside
//! it; or, if a worker is, by that worker.
#![expect(unsafe_code, reason = "sections live behind 'static references until unregistered")]

use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gmr_core::{RegisterError, Reporter, SectionId, SignalSafeSection, UnregisterError};

use crate::section::Generator;
use crate::source_lines::Lines;
use crate::workers::panics;
use crate::workers::pool::{Pool, is_worker};
use crate::workers::section::Section;

/// See the module's page. Never freed: threads and handlers refer to it.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) reporter: &'static Reporter,
    pub(crate) pool: &'static Pool,
    ordinary: Mutex<Vec<Owned>>,
}

/// A section that was let go of.
#[derive(Debug)]
struct Owned {
    id: SectionId,
    section: NonNull<Section>,
}

// SAFETY: the pointer owns a section, which is `Send` and `Sync`.
unsafe impl Send for Owned {}

impl Installed {
    pub(crate) fn new(reporter: &'static Reporter, lines: Option<&'static Lines>) -> &'static Self {
        let pool = Box::leak(Box::new(Pool::new(lines, crate::platform::start_worker)));
        if let Some(lines) = lines {
            lines.belong_to(pool);
            // Whatever a file holds, a search must not end the program, which
            // some hooks do.
            panics::take_hook();
        }
        Box::leak(Box::new(Installed { reporter, pool, ordinary: Mutex::new(Vec::new()) }))
    }

    pub(crate) fn register(
        &self,
        title: &'static str,
        generator: Generator,
    ) -> Result<SectionId, RegisterError> {
        panics::take_hook();
        let section = Section::let_go(generator, self.pool);
        // SAFETY: a box that lives until it is freed, see the module's page.
        let as_signal_safe: &'static dyn SignalSafeSection = unsafe { section.as_ref() };
        match self.reporter.register_section(title, as_signal_safe) {
            Ok(id) => {
                self.list().push(Owned { id, section });
                Ok(id)
            }
            Err(error) => {
                // SAFETY: refused, so nobody else has it.
                unsafe { Section::free(section) };
                Err(error)
            }
        }
    }

    pub(crate) fn unregister(&self, id: SectionId) -> Result<(), UnregisterError> {
        // A section that unregisters itself would wait for itself.
        if is_worker() {
            return Err(UnregisterError::Busy);
        }
        self.reporter.unregister_section(id)?;
        let mut list = self.list();
        let Some(index) = list.iter().position(|owned| owned.id == id) else { return Ok(()) };
        let Owned { section, .. } = list.swap_remove(index);
        drop(list);
        // SAFETY: no report is in it, and none will be.
        unsafe { Section::detach(section) };
        Ok(())
    }

    /// The setup has failed: gives the closures back. Nobody runs them.
    pub(crate) fn abandon(&self) {
        let ids: Vec<_> = self.list().iter().map(|owned| owned.id).collect();
        for id in ids {
            let _ = self.unregister(id);
        }
    }

    pub(crate) fn in_background(&self, job: Box<dyn FnOnce() + Send>) {
        panics::take_hook();
        self.pool.in_background(job);
    }

    fn list(&self) -> MutexGuard<'_, Vec<Owned>> {
        self.ordinary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
