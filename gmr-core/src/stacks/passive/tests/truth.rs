//! The passive stack of each kind of parked thread is the one that the thread
//! gives of itself in a signal handler.

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::vec::Vec;

use super::{Observer, is_alone, kinds};
use crate::model::{Certainty, StackEnd};
use crate::procfs::syscall::SyscallState;
use crate::stacks::unwind::{Found, Registers, Walker};
use crate::stacks::window::Window;
use crate::sys::vm;

/// A frame of 60 kB and a recursion fit.
const WINDOW_BYTES: usize = 256 * 1024;

static WINDOW: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static REGISTERS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static USED: AtomicUsize = AtomicUsize::new(0);
static IS_DONE: AtomicBool = AtomicBool::new(false);

fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 7
}

extern "C" fn copy_stack(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let _errno = crate::sys::errno::Saved::now();
    // SAFETY: the kernel's.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = |which: libc::c_int| context.uc_mcontext.gregs[which as usize] as u64;
    REGISTERS[0].store(register(libc::REG_RIP), Ordering::Relaxed);
    REGISTERS[1].store(register(libc::REG_RSP), Ordering::Relaxed);
    REGISTERS[2].store(register(libc::REG_RBP), Ordering::Relaxed);
    let window = WINDOW.load(Ordering::Acquire);
    // SAFETY: one handler runs at a time, and the test waits for it.
    let window = unsafe { core::slice::from_raw_parts_mut(window, WINDOW_BYTES) };
    USED.store(vm::read(register(libc::REG_RSP), window), Ordering::Relaxed);
    IS_DONE.store(true, Ordering::Release);
}

/// The thread's own word for its stack. Where that leaves the window (an
/// alternate stack), the memory of the process is read: the thread is parked.
fn by_signal(observer: &Observer, walker: &mut Walker, tid: u32) -> (Vec<Found>, StackEnd) {
    IS_DONE.store(false, Ordering::Relaxed);
    // SAFETY: a signal to a thread of this process.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, crate::sys::getpid(), tid, signal()) };
    assert_eq!(sent, 0);
    while !IS_DONE.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let [pc, sp, fp] = [0, 1, 2].map(|index: usize| REGISTERS[index].load(Ordering::Relaxed));
    let used = USED.load(Ordering::Relaxed);
    // SAFETY: filled by the handler, which is done.
    let bytes =
        unsafe { core::slice::from_raw_parts(WINDOW.load(Ordering::Relaxed).cast_const(), used) };
    let mut live = super::super::super::live::LiveStack::new();
    let mut memory =
        super::super::super::live::Joined { window: Window { base: sp, bytes }, live: &mut live };
    let mut frames = Vec::new();
    let end = walker.walk(&observer.table, Registers { pc, sp, fp }, &mut memory, |found| {
        frames.push(found);
        frames.len() < 1000
    });
    (frames, end)
}

/// A restarted call is interrupted at its instruction, not behind it.
fn is_same(index: usize, passive: &Found, truth: &Found) -> bool {
    let is_pc = passive.pc == truth.pc || (index == 0 && passive.pc == truth.pc + 2);
    is_pc && passive.is_signal_frame == truth.is_signal_frame
}

#[test]
fn parked_threads_have_the_stacks_that_they_say() {
    if !is_alone("truth::parked_threads_have_the_stacks_that_they_say") {
        return;
    }
    let window = std::vec![0_u8; WINDOW_BYTES].leak();
    WINDOW.store(window.as_mut_ptr(), Ordering::Release);
    // SAFETY: all bytes zero is a valid structure.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = copy_stack as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler is written for it.
    unsafe { libc::sigaction(signal(), &raw const action, core::ptr::null_mut()) };

    let threads = kinds::start();
    let mut observer = Observer::new();
    // Parked means: nothing changes from one round to the next.
    let mut settled: Vec<Vec<u64>> = Vec::new();
    loop {
        let now: Vec<Vec<u64>> = threads
            .iter()
            .map(|(tid, _)| {
                observer.wait(*tid);
                observer.pcs()
            })
            .collect();
        if now == settled {
            break;
        }
        settled = now;
        std::thread::yield_now();
    }

    let mut walker = Walker::new();
    let (mut complete, mut frames, mut wrong) = (0, 0, 0);
    for (tid, name) in &threads {
        let parked = observer.wait(*tid);
        let found = core::mem::take(&mut observer.frames.found);
        let (truth, truth_end) = by_signal(&observer, &mut walker, *tid);
        assert!(matches!(parked.state, SyscallState::InCall { .. }), "{name}");
        assert_eq!(truth_end, StackEnd::Complete, "{name}");
        let same = found
            .iter()
            .zip(&truth)
            .enumerate()
            .take_while(|(index, (one, other))| is_same(*index, one, other))
            .count();
        assert!(found.iter().all(|frame| frame.certainty == Certainty::Exact), "{name}");
        frames += found.len();
        let is_wrong =
            same != found.len() || (parked.end == StackEnd::Complete && found.len() != truth.len());
        if is_wrong {
            wrong += 1;
            std::println!("WRONG {name}: {:?} {found:x?}\n{truth:x?}", parked.end);
        } else if parked.end == StackEnd::Complete {
            complete += 1;
        } else {
            let last = found.last().unwrap().pc;
            let module = observer.table.find(last).map(|(_, module)| module);
            let place = module.map(|module| (module.file_name().escape_ascii(), module.bias));
            std::println!(
                "{name}: {:?} after {} of {} frames, at {:x?}",
                parked.end,
                found.len(),
                truth.len(),
                place.map(|(file, bias)| std::format!("{file}+{:x}", last - bias)),
            );
        }
    }
    std::println!("{complete} of {} complete, {frames} frames, {wrong} wrong", threads.len());
    assert_eq!(wrong, 0);
    assert!(threads.len() >= 50);
    assert_eq!(complete, threads.len());
}
