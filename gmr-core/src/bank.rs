//! A bank: all the memory that one supervisor writes a report with. Two
//! supervisors have two banks and share nothing but atomics, so one that is
//! stuck holds nothing the other needs.
//!
//! # Safety
//!
//! A bank is reached through its cell's lease: one thread at a time, by
//! compare-exchange of its TID.
#![expect(unsafe_code, reason = "the lease hands out the bank exclusively")]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::model::SectionOutcome;
use crate::options::Options;
use crate::outcomes::{MAX_OUTCOMES, NO_OUTCOME};
use crate::protocol::baton::Baton;
use crate::scope;
use crate::sections::processes;
use crate::sections::threads::Place;
use crate::sys::memory::Region;
use crate::threads::ThreadRecord;

#[cfg(feature = "stacks")]
use crate::{
    protocol::slots::Slot,
    signal::capture::{Slots, Snapshot},
    stacks::collect::{Flight, FrameRecord, Frames},
    stacks::unwind::{Registers, Walker},
};

/// What the sink collects before it writes: large for files, and enough for
/// sixteen pieces of a pipe.
const SINK_BYTES: usize = 64 * 1024;

/// A report's own stack. Demangling the deepest name rustc-demangle accepts
/// (500 levels) takes the largest part of it: up to 192 KiB, and 896 KiB
/// without optimisation ([`crate::symbols`]). A test paints it and asserts what
/// is left. Only what is used is ever backed by memory.
#[cfg(feature = "signal")]
pub(crate) const STACK_BYTES: usize = if cfg!(debug_assertions) { 2 << 20 } else { 1 << 20 };

/// For one text of a registered section in which secrets are masked: as much as
/// gmr-std keeps of a value.
const MASKED_BYTES: usize = 64 * 1024;

/// For the contents of one /proc file: a `status` with the names of all groups
/// is the longest.
const BYTES: usize = processes::SCRATCH_BYTES;

/// For getdents64: a thousand threads take few calls.
const DIRENTS_BYTES: usize = 32 * 1024;

/// The memory. See the module's page.
#[derive(Debug)]
pub(crate) struct Bank {
    pub(crate) sink: &'static mut [u8],
    pub(crate) bytes: &'static mut [u8],
    pub(crate) masked: &'static mut [u8],
    pub(crate) dirents: &'static mut [MaybeUninit<u8>],
    pub(crate) processes: &'static mut [processes::Entry],
    pub(crate) threads: &'static mut [ThreadRecord],
    pub(crate) places: &'static mut [Place],
    pub(crate) waits: crate::waits::Scratch,
    pub(crate) scopes: &'static mut [scope::Record],
    pub(crate) outcomes: &'static mut [SectionOutcome<'static>],
    #[cfg(feature = "stacks")]
    pub(crate) stacks: Stacks,
    #[cfg(feature = "stacks")]
    pub(crate) added: AddedStacks,
    #[cfg(feature = "stacks")]
    pub(crate) samples: crate::samples::Samples,
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    pub(crate) names: crate::names::Names,
}

/// Stacks that sections may add to one report.
#[cfg(feature = "stacks")]
const MAX_ADDED_STACKS: usize = 256;

/// The stacks that sections added.
#[cfg(feature = "stacks")]
pub(crate) type AddedStacks = heapless::Vec<crate::stacks::collect::AddedStack, MAX_ADDED_STACKS>;

/// The part that captures and unwinds.
#[cfg(feature = "stacks")]
#[derive(Debug)]
pub(crate) struct Stacks {
    pub(crate) slots: &'static Slots,
    pub(crate) flights: &'static mut [Flight],
    pub(crate) frames: Frames,
    pub(crate) walker: Walker,
    #[cfg(feature = "passive")]
    pub(crate) passive: crate::stacks::passive::capture::PassiveMemory,
    /// Of the thread that a report in the handler interrupted.
    pub(crate) own: Snapshot,
}

/// A bank and what others may know of it.
#[derive(Debug)]
pub(crate) struct BankCell {
    bank: UnsafeCell<Bank>,
    /// Who leases it.
    baton: Baton,
    /// The step of the report it is in (`compose::step::Step`), 0 for none.
    pub(crate) step: AtomicU32,
    /// The step it was in when its report was taken over; cleared when it
    /// comes back.
    pub(crate) stuck_in: AtomicU32,
    /// When its report began, CLOCK_MONOTONIC.
    pub(crate) began_ns: AtomicU64,
    /// Where its report goes (`compose::serve::Output`), 0 for nowhere.
    pub(crate) output: AtomicU32,
    #[cfg(feature = "signal")]
    pub(crate) stack: crate::sys::stack::StackTop,
}

// SAFETY: `bank` is only reached by the lessee; the rest is atomics and data
// that does not change.
unsafe impl Sync for BankCell {}

impl BankCell {
    /// Takes the bank for this thread. `None`: it is taken.
    pub(crate) fn lease(&self, tid: u32) -> Option<Lease<'_>> {
        // Not `then_some`: a lease that is made and dropped gives the baton of
        // its holder back.
        if self.baton.take(tid) { Some(Lease(self)) } else { None }
    }

    /// Who has it; 0: nobody.
    pub(crate) fn lessee(&self) -> u32 {
        self.baton.holder()
    }
}

/// The right to use a bank; given back on drop.
#[derive(Debug)]
pub(crate) struct Lease<'a>(&'a BankCell);

impl Lease<'_> {
    pub(crate) fn bank(&mut self) -> &mut Bank {
        // SAFETY: the lease is exclusive, and so is `&mut self`.
        unsafe { &mut *self.0.bank.get() }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.baton.give_back();
    }
}

/// Address space that one bank takes, in bytes. Most of it is never touched.
pub(crate) fn bytes_needed(options: &Options) -> usize {
    let threads = options.max_threads as usize;
    let bytes = SINK_BYTES
        .saturating_add(BYTES)
        .saturating_add(MASKED_BYTES)
        .saturating_add(DIRENTS_BYTES)
        .saturating_add(Region::bytes_for::<processes::Entry>(processes::TABLE_ENTRIES))
        .saturating_add(Region::bytes_for::<ThreadRecord>(threads))
        .saturating_add(Region::bytes_for::<Place>(threads))
        .saturating_add(Region::bytes_for::<u32>(threads).saturating_mul(2))
        .saturating_add(Region::bytes_for::<scope::Record>(scope::SLOTS))
        .saturating_add(Region::bytes_for::<SectionOutcome<'_>>(MAX_OUTCOMES))
        .saturating_add(4096);
    #[cfg(feature = "stacks")]
    let bytes = {
        let slots = options.capture_slots as usize;
        let frames = threads.saturating_mul(options.max_frames as usize);
        let window = options.window_bytes as usize;
        bytes
            .saturating_add(Region::bytes_for::<FrameRecord>(frames))
            .saturating_add(Region::bytes_for::<crate::samples::Sample>(threads))
            .saturating_add(Region::bytes_for::<Flight>(slots))
            .saturating_add(Region::bytes_for::<Slot<Snapshot>>(slots))
            .saturating_add(slots.saturating_add(1).saturating_mul(window.saturating_add(64)))
            .saturating_add(4096)
    };
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    let bytes = bytes.saturating_add(crate::names::Names::bytes_needed());
    bytes
}

/// Carves a bank out of `region`, which has [`bytes_needed`]. Allocates the
/// unwinder's caches (feature `stacks`).
pub(crate) fn build(
    region: &mut Region,
    options: &Options,
    #[cfg(feature = "signal")] stack: crate::sys::stack::StackTop,
) -> Option<BankCell> {
    let bank = Bank {
        sink: region.carve::<u8>(SINK_BYTES)?,
        bytes: region.carve::<u8>(BYTES)?,
        masked: region.carve::<u8>(MASKED_BYTES)?,
        dirents: region.carve_with(DIRENTS_BYTES, || MaybeUninit::new(0))?,
        processes: region.carve_with(processes::TABLE_ENTRIES, || processes::Entry::EMPTY)?,
        threads: region.carve::<ThreadRecord>(options.max_threads as usize)?,
        places: region.carve::<Place>(options.max_threads as usize)?,
        waits: crate::waits::Scratch {
            order: region.carve::<u32>(options.max_threads as usize)?,
            by_tid: region.carve::<u32>(options.max_threads as usize)?,
        },
        scopes: region.carve::<scope::Record>(scope::SLOTS)?,
        outcomes: region.carve_with(MAX_OUTCOMES, || NO_OUTCOME)?,
        #[cfg(feature = "stacks")]
        stacks: build_stacks(region, options)?,
        #[cfg(feature = "stacks")]
        added: AddedStacks::new(),
        #[cfg(feature = "stacks")]
        samples: crate::samples::Samples {
            places: region.carve::<crate::samples::Sample>(options.max_threads as usize)?,
            used: 0,
        },
        #[cfg(all(feature = "stacks", feature = "symbols"))]
        names: crate::names::Names::carve(region)?,
    };
    Some(BankCell {
        bank: UnsafeCell::new(bank),
        baton: Baton::new(),
        step: AtomicU32::new(0),
        stuck_in: AtomicU32::new(0),
        began_ns: AtomicU64::new(0),
        output: AtomicU32::new(0),
        #[cfg(feature = "signal")]
        stack,
    })
}

#[cfg(feature = "stacks")]
fn build_stacks(region: &mut Region, options: &Options) -> Option<Stacks> {
    let slots = options.capture_slots as usize;
    let window = options.window_bytes as usize;
    let mut windows = region.carve::<u8>(slots.saturating_add(1).saturating_mul(window))?;
    let mut snapshot = || {
        let all = core::mem::take(&mut windows);
        let (mine, rest) = all.split_at_mut_checked(window)?;
        windows = rest;
        Some(Snapshot {
            registers: Registers { pc: 0, sp: 0, fp: 0 },
            base: 0,
            used: 0,
            elapsed_ns: 0,
            window: mine,
        })
    };
    let own = snapshot()?;
    let places = region.carve_fallible(slots, || snapshot().map(Slot::new))?;
    let slots = region.place(Slots { slots: places, answers: AtomicU32::new(0) })?;
    let frames = (options.max_threads as usize).saturating_mul(options.max_frames as usize);
    Some(Stacks {
        slots,
        flights: region.carve::<Flight>(places.len())?,
        frames: Frames {
            records: region.carve::<FrameRecord>(frames)?,
            used: 0,
            max_per_thread: options.max_frames,
        },
        walker: Walker::new(),
        #[cfg(feature = "passive")]
        passive: crate::stacks::passive::capture::PassiveMemory::new(),
        own,
    })
}

#[cfg(all(test, feature = "signal"))]
mod tests {
    use super::*;

    #[test]
    fn a_bank_is_leased_once_and_a_refusal_leaves_it_with_its_holder() {
        let options = Options::new().max_threads(4).max_frames(4).in_range();
        let mut region = Region::map(bytes_needed(&options)).unwrap();
        let stack = Region::map(4096).unwrap().carve::<u8>(4096).unwrap();
        let stack = crate::sys::stack::StackTop::of(stack);
        let cell = build(&mut region, &options, stack).unwrap();
        let lease = cell.lease(7).unwrap();
        assert!(cell.lease(8).is_none());
        assert_eq!(cell.lessee(), 7);
        drop(lease);
        assert_eq!(cell.lessee(), 0);
        assert!(cell.lease(8).is_some());
    }
}
