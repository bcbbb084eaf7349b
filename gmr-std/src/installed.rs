//! What an installation consists of, behind its [`Handle`](crate::Handle): the
//! reporter, the workers, and the sections whose closures we own.
//!
//! # Safety
//!
//! A section is a box that was let go of when it was registered. It is freed
//! once: by `unregister`, after the reporter has sworn that no report is inside
//! it; or, if a worker is, by that worker.
#![expect(unsafe_code, reason = "sections live behind 'static references until unregistered")]

use std::sync::{Mutex, PoisonError};

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
    ordinary: Mutex<Vec<(SectionId, &'static Section)>>,
}

impl Installed {
    pub(crate) fn new(reporter: &'static Reporter, lines: Option<&'static Lines>) -> &'static Self {
        let pool = Box::leak(Box::new(Pool::new(lines, crate::platform::start_worker)));
        if let Some(lines) = lines {
            lines.belong_to(pool);
        }
        Box::leak(Box::new(Installed { reporter, pool, ordinary: Mutex::new(Vec::new()) }))
    }

    pub(crate) fn register(
        &self,
        title: &'static str,
        generator: Generator,
    ) -> Result<SectionId, RegisterError> {
        panics::take_hook();
        let section: &'static Section = Box::leak(Box::new(Section::new(generator, self.pool)));
        let as_signal_safe: &'static dyn SignalSafeSection = section;
        match self.reporter.register_section(title, as_signal_safe) {
            Ok(id) => {
                self.list().push((id, section));
                Ok(id)
            }
            Err(error) => {
                free(section);
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
        let Some(index) = list.iter().position(|(other, _)| *other == id) else { return Ok(()) };
        let (_, section) = list.swap_remove(index);
        drop(list);
        if section.detach() {
            free(section);
        }
        Ok(())
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<(SectionId, &'static Section)>> {
        self.ordinary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees a section that nobody can reach.
fn free(section: &'static Section) {
    // SAFETY: of `Box::leak`; see the module's page.
    drop(unsafe { Box::from_raw(core::ptr::from_ref(section).cast_mut()) });
}
