//! Where reports go: an open descriptor of the program, handled by its type so
//! that it never blocks us and is never changed under its other users.
//!
//! | it is | we write through |
//! |---|---|
//! | pipe, FIFO, tty, other character device | an own O_NONBLOCK description of it, opened through /proc/self/fd |
//! | socket | sendto(2) with MSG_DONTWAIT and MSG_NOSIGNAL |
//! | regular file | a duplicate (shares the offset with the program's log) |
//! | a pipe or tty that may not be reopened | pwritev2(2) with RWF_NOWAIT, or, where the kernel refuses that too, poll(2) and write(2) |
//!
//! The last way can block: on a pipe if another writer fills it between the two
//! calls, on a terminal (written byte by byte there) if it has no room for the
//! two bytes of a line end. Everything else cannot. poll(2) and small writes alone are not used
//! where anything better exists, for that reason.
//!
//! Each bank writes through a descriptor number of its own, its line: a
//! takeover points the abandoned one at /dev/null ([`Destination::fence`]).
//!
//! A destination may be dropped while the program goes on: its descriptors are
//! closed, but for numbers that the program has made its own meanwhile.

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Channel, Refusal};
use crate::protocol::ownership::MAX_BANKS;
use crate::sys::{clock, signal};

/// Descriptors of ours start here: programs close and reuse the low ones.
const LOWEST_DESCRIPTOR: RawFd = 100;

/// The device number of /dev/ptmx (major 5, minor 2).
const PTY_MASTER: u64 = (5 << 8) | 2;

/// What a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
const PIPE_PIECE_BYTES: usize = 4096;

/// For everything else: large enough to make few calls.
const FILE_PIECE_BYTES: usize = 64 * 1024;

/// How bytes get into the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An open file description of our own, non-blocking.
    Reopened,
    /// A socket.
    Socket,
    /// A regular file, or a block device.
    File,
    /// pwritev2(2) with RWF_NOWAIT.
    NoWait,
}

impl Kind {
    /// As the report's end block says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Reopened => "own non-blocking description",
            Kind::Socket => "socket",
            Kind::File => "file",
            Kind::NoWait => "shared description, no-wait writes",
        }
    }
}

/// What the descriptor was when it was opened (fstat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    special_device: u64,
    mode: u32,
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            special_device: stat.st_rdev,
            // The type only: chmod does not make it another file.
            mode: FileType::from_raw_mode(stat.st_mode).as_raw_mode(),
        })
    }
}

/// A destination as it was opened: the master that lines are made of, and the
/// lines.
#[derive(Debug)]
pub(crate) struct Destination {
    master: RawFd,
    lines: heapless::Vec<RawFd, MAX_BANKS>,
    kind: Kind,
    identity: Identity,
}

impl Destination {
    /// Opens the destination behind the program's descriptor `fd`, with a line
    /// for each of `banks` banks.
    pub(crate) fn open(fd: RawFd, banks: usize) -> Result<Self, Errno> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        let theirs = borrow(fd);
        // Reopening would write to a pipe that the program only reads, and a
        // duplicate would lose every report.
        if !is_writable(rustix::fs::fcntl_getfl(theirs)?) {
            return Err(Errno::BADF);
        }
        let identity = Identity::of(theirs)?;
        let file_type = FileType::from_raw_mode(identity.mode);
        let reopened = match file_type {
            // Opened again, a pty's master would be another pty's.
            FileType::CharacterDevice if identity.special_device == PTY_MASTER => None,
            FileType::Fifo | FileType::CharacterDevice => reopen(fd),
            _ => None,
        };
        let (master, kind) = match (reopened, file_type) {
            (Some(own), _) => (own, Kind::Reopened),
            (None, FileType::Socket) => (duplicate(theirs)?, Kind::Socket),
            (None, FileType::Fifo | FileType::CharacterDevice) => {
                (duplicate(theirs)?, Kind::NoWait)
            }
            (None, _) => (duplicate(theirs)?, Kind::File),
        };
        let mut destination = Destination {
            master: master.into_raw_fd(),
            lines: heapless::Vec::new(),
            kind,
            identity,
        };
        for _ in 0..banks.min(MAX_BANKS) {
            let line = duplicate(borrow(destination.master))?;
            let _ = destination.lines.push(line.into_raw_fd());
        }
        Ok(destination)
    }

    /// The line of `bank`, mended if it must be, for one report. `None`: it
    /// leads elsewhere.
    pub(crate) fn open_line<'a>(
        &self,
        bank: usize,
        null: BorrowedFd<'_>,
        deadline_ns: u64,
        is_current: &'a dyn Fn() -> bool,
    ) -> Option<OpenLine<'a>> {
        let number = *self.lines.get(bank)?;
        if !self.is_intact(number) {
            // Fenced by a takeover, or closed by the program.
            self.mend(bank, null);
            if !self.is_intact(number) {
                return None;
            }
        }
        let file_type = FileType::from_raw_mode(self.identity.mode);
        Some(OpenLine {
            number,
            kind: self.kind,
            is_device: file_type == FileType::CharacterDevice,
            deadline_ns,
            is_current,
        })
    }

    /// Whether a descriptor of ours still leads to what it was opened for: the
    /// program may have closed it, and the number may now be a client's socket.
    fn is_intact(&self, number: RawFd) -> bool {
        Identity::of(borrow(number)).is_ok_and(|now| now == self.identity)
    }

    /// Makes a line usable again that was fenced, or closed by the program. A
    /// number that leads anywhere else is the program's now: it stays.
    pub(crate) fn mend(&self, bank: usize, null: BorrowedFd<'_>) {
        let Some(number) = self.lines.get(bank) else { return };
        let is_ours = match Identity::of(borrow(*number)) {
            Ok(now) => Identity::of(null).is_ok_and(|null| null == now),
            Err(error) => error == Errno::BADF,
        };
        if is_ours && self.is_intact(self.master) {
            redirect(borrow(self.master), *number);
        }
    }

    /// Points the line of `bank` at /dev/null, so that only a write that is
    /// already in the kernel can still land. `null` is opened at setup.
    pub(crate) fn fence(&self, bank: usize, null: BorrowedFd<'_>) {
        if let Some(number) = self.lines.get(bank)
            && self.is_intact(*number)
            && is_null(null)
        {
            redirect(null, *number);
        }
    }
}

/// For whoever drops it, nobody writes to it any more.
impl Drop for Destination {
    #[expect(unsafe_code, reason = "gives descriptors back to their owner type")]
    fn drop(&mut self) {
        for number in self.lines.iter().chain([&self.master]) {
            // (A line may have been fenced.)
            let is_fenced = *number != self.master && is_null(borrow(*number));
            if self.is_intact(*number) || is_fenced {
                // SAFETY: made by `into_raw_fd` in `open`, owned by us.
                drop(unsafe { OwnedFd::from_raw_fd(*number) });
            }
        }
    }
}

/// Whether a descriptor is /dev/null (major 1, minor 3): the program may have
/// closed ours and reused its number.
fn is_null(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == (1 << 8) | 3
    })
}

/// Whether a number is an open descriptor.
pub(crate) fn is_open(fd: RawFd) -> bool {
    fd >= 0 && rustix::io::fcntl_getfd(borrow(fd)).is_ok()
}

/// Opens /dev/null for [`Destination::fence`].
pub(crate) fn open_null() -> Result<OwnedFd, Errno> {
    open_high(c"/dev/null", OFlags::WRONLY)
}

/// Opens a file that is kept, out of the way of the program's own descriptors.
pub(crate) fn open_high(path: &core::ffi::CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let fd = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
    duplicate(borrow(fd.as_raw_fd()))
}

#[expect(unsafe_code, reason = "descriptors that live in atomics and C")]
fn borrow<'fd>(fd: RawFd) -> BorrowedFd<'fd> {
    // SAFETY: not -1 (checked when it was opened). Whether it is (still) open is what
    // the calls on it find out: EBADF is an answer, and `is_intact` refuses a
    // number that leads elsewhere.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // With a low RLIMIT_NOFILE there is no high number: then any will do.
    rustix::io::fcntl_dupfd_cloexec(fd, LOWEST_DESCRIPTOR)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(fd, 3))
        // What fcntl(2) says of a limit that is even lower.
        .map_err(|error| if error == Errno::INVAL { Errno::MFILE } else { error })
}

fn redirect(from: BorrowedFd<'_>, number: RawFd) {
    #[expect(unsafe_code, reason = "dup3 wants an owner of the target")]
    // SAFETY: `number` is a line's descriptor; the owner is forgotten below,
    // so it is not closed.
    let mut target = unsafe { OwnedFd::from_raw_fd(number) };
    let _ = rustix::io::dup3(from, &mut target, rustix::io::DupFlags::CLOEXEC);
    let _ = target.into_raw_fd();
}

fn is_writable(flags: OFlags) -> bool {
    let mode = flags & OFlags::RWMODE;
    !flags.contains(OFlags::PATH) && (mode == OFlags::WRONLY || mode == OFlags::RDWR)
}

/// An own description, moved to a high number.
fn reopen(fd: RawFd) -> Option<OwnedFd> {
    let mut path = heapless::String::<32>::new();
    ufmt::uwrite!(&mut path, "/proc/self/fd/{}\0", fd).ok()?;
    let path = core::ffi::CStr::from_bytes_with_nul(path.as_bytes()).ok()?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let own = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    duplicate(borrow(own.as_raw_fd())).ok()
}

/// A line in use by one report, which holds the destination meanwhile.
pub(crate) struct OpenLine<'a> {
    number: RawFd,
    kind: Kind,
    /// A character device.
    is_device: bool,
    deadline_ns: u64,
    /// Whether the report is still ours: asked before each write.
    is_current: &'a dyn Fn() -> bool,
}

impl core::fmt::Debug for OpenLine<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenLine").field("number", &self.number).finish_non_exhaustive()
    }
}

impl OpenLine<'_> {
    /// How it is written to.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn write_once(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = borrow(self.number);
        match self.kind {
            Kind::Reopened | Kind::File => guarded(|| rustix::io::write(fd, bytes)),
            Kind::Socket => rustix::net::send(
                fd,
                bytes,
                rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
            ),
            Kind::NoWait => guarded(|| {
                let vector = [rustix::io::IoSlice::new(bytes)];
                // Offset -1: the current position.
                match rustix::io::pwritev2(fd, &vector, u64::MAX, ReadWriteFlags::NOWAIT) {
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE | Errno::INVAL) => {
                        // Ready means room for PIPE_BUF on a pipe, for one byte
                        // on a terminal.
                        let most = if self.is_device { 1 } else { bytes.len() };
                        let piece = bytes.get(..most).unwrap_or(bytes);
                        if poll(fd, 0) { rustix::io::write(fd, piece) } else { Err(Errno::AGAIN) }
                    }
                    done => done,
                }
            }),
        }
    }
}

/// A write to a pipe without a reader raises SIGPIPE on this thread, one beyond
/// RLIMIT_FSIZE SIGXFSZ. Ours must not reach the program: it is taken back
/// unless one was pending already.
fn guarded(write: impl FnOnce() -> Result<usize, Errno>) -> Result<usize, Errno> {
    const RAISED: [(Errno, i32); 2] = [(Errno::PIPE, libc::SIGPIPE), (Errno::FBIG, libc::SIGXFSZ)];
    let before = RAISED.map(|(_, signal)| signal::is_pending(signal));
    let result = write();
    for ((error, signal), before) in RAISED.into_iter().zip(before) {
        if result == Err(error) && !before && signal::is_pending(signal) {
            signal::consume_pending(signal);
        }
    }
    result
}

fn poll(fd: BorrowedFd<'_>, timeout_ns: u64) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let timeout = clock::timespec(timeout_ns);
    rustix::event::poll(&mut descriptors, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

impl Channel for OpenLine<'_> {
    fn piece_bytes(&self) -> usize {
        match self.kind {
            // A datagram must fit whole.
            Kind::Reopened | Kind::NoWait | Kind::Socket => PIPE_PIECE_BYTES,
            Kind::File => FILE_PIECE_BYTES,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        if !(self.is_current)() {
            return Err(Refusal::Gone);
        }
        loop {
            return match self.write_once(bytes) {
                Ok(count) => Ok(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => Err(Refusal::WouldBlock),
                Err(_) => Err(Refusal::Gone),
            };
        }
    }

    fn wait(&mut self) -> bool {
        let now = clock::monotonic_ns();
        let left = self.deadline_ns.saturating_sub(now);
        if left == 0 || !(self.is_current)() {
            return false;
        }
        // In slices, so that a takeover is noticed.
        let ready = poll(borrow(self.number), left.min(WAIT_SLICE_NS));
        if ready && self.kind == Kind::Socket {
            // Out of the network's buffers (ENOBUFS) it is ready all the same.
            pause();
        }
        true
    }
}

/// A millisecond.
fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&clock::timespec(1_000_000)));
}

/// Longest single wait for a full destination, in nanoseconds.
const WAIT_SLICE_NS: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn an_abandoned_report_writes_nothing_and_its_line_is_fenced_and_mended() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let destination = Destination::open(writer.as_raw_fd(), 1).unwrap();
        let null = open_null().unwrap();
        let line = destination.lines[0];
        let open = |is_current: &dyn Fn() -> bool| {
            let open = OpenLine {
                number: line,
                kind: destination.kind,
                is_device: false,
                deadline_ns: u64::MAX,
                is_current,
            };
            { open }.write(b"line\n")
        };
        assert_eq!(open(&|| false), Err(Refusal::Gone));
        assert_eq!(open(&|| true), Ok(5));
        // Even a write that slips past the question lands nowhere.
        destination.fence(0, null.as_fd());
        assert!(!destination.is_intact(line));
        assert_eq!(open(&|| true), Ok(5));
        let mended = destination.open_line(0, null.as_fd(), u64::MAX, &|| true);
        assert_eq!(mended.unwrap().write(b"line\n"), Ok(5));
        let mut read = [0; 64];
        assert_eq!(rustix::io::read(&reader, &mut read), Ok(10));
        assert_eq!(&read[..10], b"line\nline\n");
    }

    #[test]
    fn a_dropped_destination_leaves_no_descriptor_but_what_the_program_took() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let destination = Destination::open(writer.as_raw_fd(), 2).unwrap();
        let null = open_null().unwrap();
        let (fenced, theirs) = (destination.lines[0], destination.lines[1]);
        destination.fence(0, null.as_fd());
        // The program closed one and opened something else under its number.
        let file = open_high(c"/proc/self/exe", OFlags::RDONLY).unwrap();
        redirect(file.as_fd(), theirs);
        let master = destination.master;
        drop(destination);
        assert!(Identity::of(borrow(fenced)).is_err() && Identity::of(borrow(master)).is_err());
        assert_eq!(Identity::of(borrow(theirs)), Identity::of(file.as_fd()));
        drop(writer);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0), "end of file");
    }
}
