//! Threads parked in many ways, for ever.

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::io::{BufRead, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::string::String;
use std::sync::{Barrier, Condvar, LazyLock, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::vec::Vec;

/// What each thread is, by its id.
static NAMES: Mutex<Vec<(u32, &str)>> = Mutex::new(Vec::new());

/// Threads that were started, or will be by those.
static STARTED: AtomicU32 = AtomicU32::new(0);

const LONG: Duration = Duration::from_secs(1 << 20);

fn register(name: &'static str) {
    NAMES.lock().unwrap().push((crate::sys::gettid(), name));
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) {
    STARTED.fetch_add(1, Ordering::Relaxed);
    thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || {
            register(name);
            body();
        })
        .unwrap();
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Reading end and writing end, both open for ever.
fn pipe() -> (RawFd, RawFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (ends[0], ends[1])
}

fn file(descriptor: RawFd) -> std::fs::File {
    // SAFETY: this thread's own from here on.
    unsafe { OwnedFd::from_raw_fd(descriptor) }.into()
}

/// All of them, parked or about to be: (thread id, what it is).
pub(super) fn start() -> Vec<(u32, &'static str)> {
    locks();
    channels_and_threads();
    descriptors();
    shapes_of_code();
    system_calls();
    signals();
    let started = STARTED.load(Ordering::Relaxed) as usize;
    loop {
        let names = NAMES.lock().unwrap();
        if names.len() >= started {
            return names.clone();
        }
        drop(names);
        thread::yield_now();
    }
}

fn locks() {
    spawn("park", thread::park);
    spawn("park_timeout", || thread::park_timeout(LONG));
    spawn("sleep", || thread::sleep(LONG));
    let mutex = leak(Mutex::new(0));
    core::mem::forget(mutex.lock());
    spawn("Mutex::lock", || *mutex.lock().unwrap() += 1);
    let lock = leak(RwLock::new(0));
    core::mem::forget(lock.write());
    spawn("RwLock::read", || {
        black_box(*lock.read().unwrap());
    });
    spawn("RwLock::write", || *lock.write().unwrap() += 1);
    let condition = leak((Mutex::new(()), Condvar::new()));
    spawn("Condvar::wait", || {
        let _guard = condition.1.wait(condition.0.lock().unwrap());
    });
    let condition = leak((Mutex::new(()), Condvar::new()));
    spawn("Condvar::wait_timeout", || {
        let _guard = condition.1.wait_timeout(condition.0.lock().unwrap(), LONG);
    });
    let barrier = leak(Barrier::new(1000));
    spawn("Barrier::wait", || {
        barrier.wait();
    });
    let cell = leak(OnceLock::new());
    spawn("OnceLock, initialising", || {
        cell.get_or_init(|| {
            thread::park();
            3
        });
    });
    let is_first_in = leak(AtomicU32::new(0));
    let cell = leak(OnceLock::new());
    spawn("OnceLock, the other one", || {
        cell.get_or_init(|| {
            is_first_in.store(1, Ordering::Release);
            thread::park();
            3
        });
    });
    spawn("OnceLock, waiting", || {
        while is_first_in.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        cell.get_or_init(|| 4);
    });
    static LAZY: LazyLock<u32> = LazyLock::new(|| {
        thread::park();
        7
    });
    spawn("LazyLock", || {
        black_box(*LAZY);
    });
}

fn channels_and_threads() {
    let (sender, receiver) = mpsc::channel::<u32>();
    core::mem::forget(sender);
    spawn("recv", move || {
        let _ = receiver.recv();
    });
    let (sender, receiver) = mpsc::channel::<u32>();
    core::mem::forget(sender);
    spawn("recv_timeout", move || {
        let _ = receiver.recv_timeout(LONG);
    });
    let (sender, receiver) = mpsc::sync_channel::<[u64; 40]>(0);
    core::mem::forget(receiver);
    spawn("sync_channel send", move || {
        let _ = sender.send([3; 40]);
    });
    STARTED.fetch_add(1, Ordering::Relaxed);
    spawn("join", || {
        let other = thread::spawn(|| {
            register("joined");
            thread::park();
        });
        let _ = other.join();
    });
    STARTED.fetch_add(1, Ordering::Relaxed);
    spawn("scope", || {
        thread::scope(|scope| {
            scope.spawn(|| {
                register("scoped");
                thread::park();
            });
        });
    });
}

fn descriptors() {
    let (reading, _) = pipe();
    spawn("File::read", move || {
        let _ = file(reading).read(&mut [0; 100]);
    });
    let (reading, _) = pipe();
    spawn("read_line", move || {
        let _ = std::io::BufReader::new(file(reading)).read_line(&mut String::new());
    });
    let (_, writing) = pipe();
    spawn("write to a full pipe", move || {
        let mut out = std::io::BufWriter::new(file(writing));
        let _ = out.write_all(&[b'x'; 200_000]);
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    core::mem::forget(listener.accept());
    spawn("TcpStream::read", move || {
        let mut stream = stream;
        let _ = stream.read(&mut [0; 9]);
    });
    spawn("accept", move || drop(listener.accept()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    spawn("UdpSocket::recv_from", move || {
        let _ = socket.recv_from(&mut [0; 9]);
    });
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    core::mem::forget(other);
    spawn("UnixStream::read_to_end", move || {
        let mut one = one;
        let _ = one.read_to_end(&mut Vec::new());
    });
    spawn("Child::wait", || {
        // Ends with this process, which holds the other end of its input.
        let mut command = std::process::Command::new("cat");
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        core::mem::forget(child.stdin.take());
        let _ = child.wait();
    });
}

#[inline(never)]
fn recursion(depth: u32, park: &mut dyn FnMut()) -> u32 {
    let mut bytes = [0_u8; 200];
    bytes[depth as usize % 200] = 1;
    if depth == 0 {
        park();
        return u32::from(black_box(bytes[3]));
    }
    recursion(black_box(depth - 1), park) + u32::from(black_box(bytes)[7])
}

#[inline(never)]
fn large_frame(park: &mut dyn FnMut()) -> u8 {
    let mut bytes = [0_u8; 60_000];
    black_box(&mut bytes);
    park();
    bytes[black_box(77)]
}

#[repr(align(64))]
struct Aligned([u64; 8]);

#[inline(never)]
fn aligned_frame(park: &mut dyn FnMut()) -> u64 {
    let mut value = Aligned([1; 8]);
    black_box(&mut value);
    park();
    value.0[black_box(3)]
}

#[inline(never)]
fn jump_table(choice: u32, park: &mut dyn FnMut()) -> u32 {
    match black_box(choice) {
        0 => {
            park();
            1
        }
        1 => {
            black_box(3);
            thread::park();
            5
        }
        2 => {
            let mut bytes = [0_u8; 300];
            black_box(&mut bytes);
            park();
            u32::from(bytes[black_box(7)])
        }
        3 => {
            thread::sleep(LONG);
            9
        }
        4 => {
            park();
            park();
            11
        }
        5 => {
            park();
            black_box(13)
        }
        _ => 17,
    }
}

struct ParkOnDrop;

impl Drop for ParkOnDrop {
    fn drop(&mut self) {
        thread::park();
    }
}

std::thread_local! {
    static PARKS_AT_EXIT: ParkOnDrop = const { ParkOnDrop };
}

#[inline(never)]
fn floating(park: &mut dyn FnMut(), values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.sqrt()).sum();
    park();
    sum * black_box(2.0)
}

fn shapes_of_code() {
    spawn("recursion, 60 deep", || {
        black_box(recursion(60, &mut thread::park));
    });
    spawn("a frame of 60 kB", || {
        black_box(large_frame(&mut thread::park));
    });
    spawn("align(64)", || {
        black_box(aligned_frame(&mut thread::park));
    });
    for (choice, name) in
        ["case 0", "case 1", "case 2", "case 3", "case 4", "case 5"].into_iter().enumerate()
    {
        spawn(name, move || {
            black_box(jump_table(choice as u32, &mut thread::park));
        });
    }
    spawn("sort_by", || {
        let mut numbers: Vec<u32> = (0..100).rev().collect();
        numbers.sort_by(|one, other| {
            thread::park();
            one.cmp(other)
        });
    });
    spawn("catch_unwind", || {
        let _ = std::panic::catch_unwind(thread::park);
    });
    spawn("drop during a panic", || {
        let _ = std::panic::catch_unwind(|| {
            let _guard = ParkOnDrop;
            std::panic::resume_unwind(Box::new(1));
        });
    });
    spawn("a thread-local's destructor", || PARKS_AT_EXIT.with(|_| {}));
    spawn("floating point", || {
        black_box(floating(&mut thread::park, &[1.0, 2.0, black_box(3.0)]));
    });
    spawn("dyn Iterator", || {
        let mut numbers: Box<dyn Iterator<Item = u32>> =
            Box::new((0..3).inspect(|_| thread::park()));
        black_box(numbers.next());
    });
    spawn("fmt::Display", || {
        struct Parks;
        impl core::fmt::Display for Parks {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                thread::park();
                f.write_str("x")
            }
        }
        black_box(std::format!("{:>10}", Parks));
    });
}

extern "C" fn park_and_compare(
    one: *const libc::c_void,
    other: *const libc::c_void,
) -> libc::c_int {
    thread::park();
    one.cmp(&other) as libc::c_int
}

fn system_calls() {
    let (reading, _) = pipe();
    spawn("epoll_wait", move || {
        // SAFETY: plain calls with memory of this frame.
        let epoll = unsafe { libc::epoll_create1(0) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: as above.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, reading, &raw mut event) };
        loop {
            // SAFETY: as above.
            unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) };
        }
    });
    let (reading, _) = pipe();
    spawn("poll", move || {
        let mut entry = libc::pollfd { fd: reading, events: libc::POLLIN, revents: 0 };
        loop {
            // SAFETY: one entry.
            unsafe { libc::poll(&raw mut entry, 1, -1) };
        }
    });
    spawn("nanosleep", || {
        loop {
            let time = libc::timespec { tv_sec: 1 << 20, tv_nsec: 0 };
            // SAFETY: plain call.
            unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
        }
    });
    spawn("pause", || {
        loop {
            // SAFETY: plain call.
            unsafe { libc::pause() };
        }
    });
    spawn("sem_wait", || {
        // SAFETY: all bytes zero is room for a semaphore.
        let mut semaphore: libc::sem_t = unsafe { core::mem::zeroed() };
        // SAFETY: this frame's.
        unsafe { libc::sem_init(&raw mut semaphore, 0, 0) };
        loop {
            // SAFETY: initialised.
            unsafe { libc::sem_wait(&raw mut semaphore) };
        }
    });
    spawn("pthread_cond_wait", || {
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        let mut condition = libc::PTHREAD_COND_INITIALIZER;
        // SAFETY: this frame's.
        unsafe { libc::pthread_mutex_lock(&raw mut mutex) };
        // SAFETY: locked by this thread.
        unsafe { libc::pthread_cond_wait(&raw mut condition, &raw mut mutex) };
    });
    spawn("qsort", || {
        let mut numbers = [3_u64, 2, 1];
        // SAFETY: three elements of that size.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 8, Some(park_and_compare)) };
    });
    spawn("futex, inline", || {
        let word = AtomicU32::new(0);
        loop {
            // SAFETY: FUTEX_WAIT_PRIVATE on a word of this frame.
            unsafe {
                core::arch::asm!(
                    "syscall",
                    inout("rax") libc::SYS_futex => _,
                    in("rdi") &raw const word,
                    in("rsi") 128_u64,
                    in("rdx") 0_u64,
                    in("r10") 0_u64,
                    out("rcx") _,
                    out("r11") _,
                );
            }
        }
    });
}

/// The signal whose handler parks.
const PARKING: libc::c_int = libc::SIGUSR1;

extern "C" fn park_in_handler(_: libc::c_int) {
    let word = AtomicU32::new(0);
    loop {
        crate::sys::futex::wait(&word, 0, None);
    }
}

/// Not the address of a function that the compiler could see through.
#[inline(never)]
fn raise() {
    // SAFETY: no preconditions.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: this thread lives; the handler does not return.
    unsafe { libc::pthread_kill(own, PARKING) };
}

fn signals() {
    // SAFETY: all bytes zero is a valid structure.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = park_in_handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: a handler that only waits.
    unsafe { libc::sigaction(PARKING, &raw const action, core::ptr::null_mut()) };
    spawn("in a handler, on std's alternate stack", raise);
    spawn("in a handler, on the thread's stack", || {
        // SAFETY: all bytes zero is a valid structure.
        let mut none: libc::stack_t = unsafe { core::mem::zeroed() };
        none.ss_flags = libc::SS_DISABLE;
        // SAFETY: std's is not in use now.
        unsafe { libc::sigaltstack(&raw const none, core::ptr::null_mut()) };
        raise();
    });
    spawn("in a handler, below a recursion", || {
        black_box(recursion(20, &mut raise));
    });
    spawn("in a handler, while running", || {
        let own = crate::sys::gettid();
        thread::spawn(move || {
            let pid = crate::sys::getpid();
            // SAFETY: a signal to a thread of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, own, PARKING) };
        });
        let mut number = 1_u64;
        loop {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    });
}
