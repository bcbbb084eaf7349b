//! Signals: actions, masks, directed signals (sigaction(2), rt_sigqueueinfo(2),
//! sigprocmask(2)).
//!
//! # Safety
//!
//! Installing a handler is the one truly global act here; the callers in
//! `crate::signal` argue for what they install. The rest passes plain data.
#![expect(unsafe_code, reason = "libc's signal calls")]

use core::mem::MaybeUninit;

/// The C type of a handler with siginfo and ucontext.
pub(crate) type Handler =
    unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// A disposition as sigaction(2) returned it.
#[derive(Clone, Copy)]
pub(crate) struct Action(libc::sigaction);

impl core::fmt::Debug for Action {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Action").field("handler", &self.0.sa_sigaction).finish_non_exhaustive()
    }
}

fn last_errno() -> i32 {
    // SAFETY: no preconditions.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own.
    unsafe { location.read() }
}

/// The current disposition of `signal`.
pub(crate) fn current(signal: i32) -> Result<Action, i32> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks.
    let result = unsafe { libc::sigaction(signal, core::ptr::null(), old.as_mut_ptr()) };
    if result != 0 {
        return Err(last_errno());
    }
    // SAFETY: the call filled it.
    Ok(Action(unsafe { old.assume_init() }))
}

/// Installs `handler`; `mask` is blocked while it runs. Returns what was there.
///
/// # Safety
///
/// `handler` must be async-signal-safe and live for ever.
pub(crate) unsafe fn install(
    signal: i32,
    handler: Handler,
    flags: i32,
    mask: &Mask,
) -> Result<Action, i32> {
    // SAFETY: all bytes zero is a valid sigaction.
    let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = handler as *const () as usize;
    new.sa_flags = flags | libc::SA_SIGINFO;
    new.sa_mask = mask.0;
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both point to valid actions; the handler is the caller's promise.
    let result = unsafe { libc::sigaction(signal, &raw const new, old.as_mut_ptr()) };
    if result != 0 {
        return Err(last_errno());
    }
    // SAFETY: the call filled it.
    Ok(Action(unsafe { old.assume_init() }))
}

impl Action {
    /// Whether this is `handler`.
    pub(crate) fn is(&self, handler: Handler) -> bool {
        self.0.sa_sigaction == handler as *const () as usize
    }

    /// SIG_DFL: nobody has asked for this signal.
    pub(crate) fn is_default(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_DFL
    }

    /// SIG_IGN.
    pub(crate) fn is_ignored(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_IGN
    }

    /// Puts it back. For a setup that failed halfway.
    pub(crate) fn restore(&self, signal: i32) {
        // SAFETY: an action that was in force before.
        let _ = unsafe { libc::sigaction(signal, &raw const self.0, core::ptr::null_mut()) };
    }

    /// Calls it as the kernel would, unless it is SIG_DFL or SIG_IGN.
    ///
    /// # Safety
    ///
    /// From a handler of the same signal, with that handler's arguments.
    pub(crate) unsafe fn call(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        let address = self.0.sa_sigaction;
        if address == libc::SIG_DFL || address == libc::SIG_IGN || address == 0 {
            return;
        }
        if self.0.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: with SA_SIGINFO the address is such a function.
            let handler: Handler = unsafe { core::mem::transmute(address) };
            // SAFETY: the caller's promise.
            unsafe { handler(signal, info, context) };
        } else {
            // SAFETY: without SA_SIGINFO it takes the number only.
            let handler: extern "C" fn(libc::c_int) = unsafe { core::mem::transmute(address) };
            handler(signal);
        }
    }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl core::fmt::Debug for Mask {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// No signal.
    pub(crate) fn empty() -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: initialises the set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: just initialised.
        Mask(unsafe { set.assume_init() })
    }

    /// All signals but the synchronous faults: those must never be blocked (a
    /// blocked fault kills at once, past every crash handler).
    pub(crate) fn all_asynchronous() -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: initialises the set.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: just initialised.
        let mut mask = Mask(unsafe { set.assume_init() });
        for fault in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS]
        {
            mask = mask.without(fault);
        }
        mask
    }

    /// This set and `signal`.
    pub(crate) fn with(mut self, signal: i32) -> Self {
        // SAFETY: a valid set; a bad number is refused without effect.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
        self
    }

    /// This set but `signal`.
    pub(crate) fn without(mut self, signal: i32) -> Self {
        // SAFETY: a valid set; a bad number is refused without effect.
        unsafe { libc::sigdelset(&raw mut self.0, signal) };
        self
    }

    /// Whether `signal` is in it.
    pub(crate) fn contains(&self, signal: i32) -> bool {
        // SAFETY: a valid set.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }

    /// Makes it this thread's mask; returns the old one.
    pub(crate) fn apply(&self) -> Self {
        let mut old = Mask::empty();
        // SAFETY: two valid sets; affects this thread only.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, &raw mut old.0) };
        old
    }

    /// This thread's mask.
    pub(crate) fn of_this_thread() -> Self {
        let mut now = Mask::empty();
        // SAFETY: a null new set only asks.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, core::ptr::null(), &raw mut now.0) };
        now
    }
}

/// What a handler was told (the first fields of siginfo_t).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) code: i32,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) value: u64,
}

impl Info {
    /// Reads what the kernel passed.
    ///
    /// # Safety
    ///
    /// `info` is null or the pointer a handler got.
    pub(crate) unsafe fn read(info: *const libc::siginfo_t) -> Self {
        if info.is_null() {
            return Info { code: 0, pid: 0, uid: 0, value: 0 };
        }
        // SAFETY: not null, so valid for the handler's duration.
        let info = unsafe { &*info };
        // SAFETY: for the codes we act on (SI_USER, SI_QUEUE, SI_TKILL) the
        // kernel sets these fields; for others they are plain bytes.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let uid = unsafe { info.si_uid() };
        // SAFETY: as above.
        let value = unsafe { info.si_value() };
        Info { code: info.si_code, pid: pid.cast_unsigned(), uid, value: value.sival_ptr as u64 }
    }
}

/// The kernel's siginfo_t for a queued signal: 128 bytes.
#[repr(C, align(8))]
struct QueuedInfo {
    signal: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<QueuedInfo>() == 128, "the kernel reads 128 bytes");

/// Sends `signal` with `value` to one thread of this process.
pub(crate) fn queue_to_thread(tid: u32, signal: i32, value: u64) -> Result<(), i32> {
    let pid = super::getpid().cast_signed();
    let info = QueuedInfo {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        pad: 0,
        pid,
        uid: rustix::process::getuid().as_raw(),
        value,
        rest: [0; 12],
    };
    // SAFETY: plain data; the kernel copies 128 bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            libc::c_long::from(pid),
            libc::c_long::from(tid.cast_signed()),
            libc::c_long::from(signal),
            &raw const info,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Whether `signal` is pending for this thread or the process.
pub(crate) fn is_pending(signal: i32) -> bool {
    let mut pending = Mask::empty();
    // SAFETY: a valid set to fill.
    unsafe { libc::sigpending(&raw mut pending.0) };
    pending.contains(signal)
}

/// Takes a pending `signal` away, if this thread blocks it. Does not wait.
pub(crate) fn consume_pending(signal: i32) {
    let set = Mask::empty().with(signal);
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: valid set and timeout; no siginfo wanted.
    unsafe { libc::sigtimedwait(&raw const set.0, core::ptr::null_mut(), &raw const none) };
}

/// The signal frame the kernel pushes, at most, in bytes (AT_MINSIGSTKSZ;
/// larger with AVX-512 and AMX). getauxval(3) reads a table, no more.
pub(crate) fn min_signal_stack_bytes() -> usize {
    // SAFETY: no preconditions; 0 if the kernel is too old to say.
    let size = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) };
    usize::try_from(size).unwrap_or(0).max(libc::MINSIGSTKSZ)
}

/// Highest real-time signal, and the lowest that libc leaves to programs.
#[cfg(feature = "stacks")]
pub(crate) fn real_time_range() -> core::ops::RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}
