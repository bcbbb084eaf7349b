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
//! Each bank writes through a descriptor number of its own: a takeover points
//! the abandoned one at /dev/null ([`Destination::fence`]).

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::{Channel, Refusal};
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

/// What the descriptor was at setup (fstat(2)).
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

/// A destination as it was opened at setup: the master that lines are made of.
#[derive(Debug)]
pub(crate) struct Destination {
    master: OwnedFd,
    kind: Kind,
    identity: Identity,
}

/// One bank's descriptor onto the destination.
#[derive(Debug)]
pub(crate) struct Line {
    number: RawFd,
}

impl Destination {
    /// Opens the destination behind the program's descriptor `fd`.
    pub(crate) fn open(fd: RawFd) -> Result<Self, Errno> {
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
        Ok(Destination { master, kind, identity })
    }

    /// A further descriptor onto it.
    pub(crate) fn line(&self) -> Result<Line, Errno> {
        Ok(Line { number: duplicate(borrow(self.master.as_raw_fd()))?.into_raw_fd() })
    }

    /// How it is written to.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the bank's descriptor still leads to what setup saw: the
    /// program may have closed it, and the number may now be a client's socket.
    pub(crate) fn is_intact(&self, line: &Line) -> bool {
        Identity::of(borrow(line.number)).is_ok_and(|now| now == self.identity)
    }

    /// Whether it is a character device.
    pub(crate) fn is_device(&self) -> bool {
        FileType::from_raw_mode(self.identity.mode) == FileType::CharacterDevice
    }

    /// Makes a line usable again that was fenced, or closed by the program. A
    /// number that leads anywhere else is the program's now: it stays.
    pub(crate) fn mend(&self, line: &Line, null: BorrowedFd<'_>) {
        let is_ours = match Identity::of(borrow(line.number)) {
            Ok(now) => Identity::of(null).is_ok_and(|null| null == now),
            Err(error) => error == Errno::BADF,
        };
        let master = borrow(self.master.as_raw_fd());
        if is_ours && Identity::of(master).is_ok_and(|now| now == self.identity) {
            redirect(master, line.number);
        }
    }

    /// Points the line at /dev/null, so that only a write that is already in
    /// the kernel can still land. `null` is opened at setup.
    pub(crate) fn fence(&self, line: &Line, null: BorrowedFd<'_>) {
        if self.is_intact(line) && is_null(null) {
            redirect(null, line.number);
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

/// Only a setup that failed drops a line.
impl Drop for Line {
    #[expect(unsafe_code, reason = "gives the descriptor back to its owner type")]
    fn drop(&mut self) {
        // SAFETY: made by `into_raw_fd` in `Destination::line`, owned by us.
        drop(unsafe { OwnedFd::from_raw_fd(self.number) });
    }
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
    // SAFETY: not -1 (checked at setup). Whether it is (still) open is what
    // the calls on it find out: EBADF is an answer, and `is_intact` refuses a
    // number that leads elsewhere.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // With a low RLIMIT_NOFILE there is no high number: then any will do.
    rustix::io::fcntl_dupfd_cloexec(fd, LOWEST_DESCRIPTOR)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(fd, 3))
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

/// A line in use by one report.
pub(crate) struct OpenLine<'a> {
    pub(crate) line: &'a Line,
    pub(crate) kind: Kind,
    /// A character device.
    pub(crate) is_device: bool,
    pub(crate) deadline_ns: u64,
    /// Whether the report is still ours: asked before each write.
    pub(crate) is_current: &'a dyn Fn() -> bool,
}

impl core::fmt::Debug for OpenLine<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenLine").field("line", &self.line).finish_non_exhaustive()
    }
}

impl OpenLine<'_> {
    fn write_once(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let fd = borrow(self.line.number);
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
        let ready = poll(borrow(self.line.number), left.min(WAIT_SLICE_NS));
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
        let destination = Destination::open(writer.as_raw_fd()).unwrap();
        let (line, null) = (destination.line().unwrap(), open_null().unwrap());
        let open = |is_current: &dyn Fn() -> bool| {
            OpenLine {
                line: &line,
                kind: destination.kind(),
                is_device: destination.is_device(),
                deadline_ns: u64::MAX,
                is_current,
            }
            .write(b"line\n")
        };
        assert_eq!(open(&|| false), Err(Refusal::Gone));
        assert_eq!(open(&|| true), Ok(5));
        // Even a write that slips past the question lands nowhere.
        destination.fence(&line, null.as_fd());
        assert!(!destination.is_intact(&line));
        assert_eq!(open(&|| true), Ok(5));
        destination.mend(&line, null.as_fd());
        assert!(destination.is_intact(&line));
        assert_eq!(open(&|| true), Ok(5));
        let mut read = [0; 64];
        assert_eq!(rustix::io::read(&reader, &mut read), Ok(10));
        assert_eq!(&read[..10], b"line\nline\n");
    }
}
