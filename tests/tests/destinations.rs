//! Where reports go: slow, full, gone and stolen destinations harm nobody.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{self as own, Stdio};

use gmr_tests::process::descriptors;
use gmr_tests::{Daemon, ErrLog, Stream, until};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::pty::OpenptFlags;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// Commands that set up with a short patience for the destination where it
/// can be chosen.
const SETUPS: [&[&str]; 3] = [
    &["std sections=filler-0,filler-1"],
    &["core-autorun output_ms=300 sections=filler-0,filler-1"],
    &["core-trigger output_ms=300 sections=filler-0,filler-1", "run-thread"],
];

fn start(setup: &[&str], stderr: impl Into<Stdio>) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], stderr.into());
    daemon.must("threads 2");
    for command in setup {
        daemon.must(command);
    }
    daemon
}

/// Reads until the report `sequence` has ended.
#[track_caller]
fn read_report(mut from: impl Read, sequence: u64, piece: usize) -> Stream {
    let mut bytes = Vec::new();
    let mut text = String::new();
    let mut buffer = vec![0; piece];
    until("the report's end", || {
        match from.read(&mut buffer) {
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        // A piece may end inside a character. And a terminal's line ends.
        text = String::from_utf8_lossy(&bytes).replace('\r', "");
        gmr_tests::log::has_end(&text, sequence).then_some(())
    });
    Stream::parse(&text)
}

/// A pipe of one page, whose reading end does not block.
fn small_pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    fcntl_setpipe_size(&writer, 4096).expect("a size");
    // Only our end: what the daemon inherits is left as it is.
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(path, flags, Mode::empty()).expect("our own end");
    (reader.into(), writer)
}

/// Fills a pipe to the last byte, as another writer would.
fn fill(writer: impl AsFd) {
    let path = format!("/proc/self/fd/{}", writer.as_fd().as_raw_fd());
    let mut own =
        File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).expect("own end");
    for size in [4096, 1] {
        let piece = vec![b'\n'; size];
        while own.write(&piece).is_ok() {}
    }
}

/// Reads everything that is there.
fn drain(reader: &mut File) -> String {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    String::from_utf8(bytes).expect("text")
}

fn assert_whole(stream: Stream) {
    let report = stream.only();
    assert!(report.is_complete, "{}", report.raw);
    assert_eq!(report.titles().last(), Some(&"Filler 1"));
}

#[test]
fn a_regular_file_gets_reports_between_the_programs_own_lines() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut file = File::options().append(true).open(log.path()).expect("the log");
        let daemon = start(setup, log.stdio());
        for sequence in 1..=3 {
            writeln!(file, "a line of the log").expect("the log");
            daemon.trigger();
            assert!(log.report(sequence).is_complete);
        }
        let stream = log.wait_for(3);
        assert_eq!(stream.outside, ["a line of the log"; 3]);
        assert_eq!(stream.reports.len(), 3);
    }
}

#[test]
fn a_file_opened_without_append_is_written_in_order() {
    for setup in SETUPS {
        let log = ErrLog::new();
        // As `2> err.log` opens it: the offset is shared with the program.
        let daemon = start(setup, File::create(log.path()).expect("the log"));
        for sequence in 1..=3 {
            daemon.trigger();
            assert!(log.report(sequence).is_complete);
        }
        let stream = log.wait_for(3);
        stream.assert_clean();
        assert_eq!(stream.reports.len(), 3);
    }
}

#[test]
fn a_pipe_that_is_read_slowly_gets_the_whole_report() {
    for setup in SETUPS {
        let setup: Vec<_> = setup.iter().map(|one| one.replace("output_ms=300", "")).collect();
        let setup: Vec<_> = setup.iter().map(|one| &**one).collect();
        let (reader, writer) = small_pipe();
        let daemon = start(&setup, writer);
        daemon.trigger();
        assert_whole(read_report(reader, 1, 128));
    }
}

#[test]
fn a_full_pipe_that_nobody_reads_costs_the_report_and_not_the_process() {
    // gmr-std's patience is 5 s.
    for setup in SETUPS {
        let (mut reader, writer) = small_pipe();
        fill(&writer);
        let mut daemon = start(setup, writer);
        daemon.trigger();
        let stats = daemon.wait_stats("the report's end", |stats| stats.reports() == 1);
        assert_eq!((stats.complete, stats.incomplete), (0, 1));
        daemon.assert_alive();
        // Nothing is changed for the other users of the pipe.
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/2", daemon.pid()));
        let info = info.expect("stderr");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        let flags = i32::from_str_radix(flags.trim(), 8).expect("octal");
        assert_eq!(flags & libc::O_NONBLOCK, 0, "O_NONBLOCK on the program's stderr");

        assert_eq!(drain(&mut reader).trim(), "", "nothing fitted");
        daemon.trigger();
        let stream = read_report(&reader, 2, 4096);
        assert_eq!(stream.outside, Vec::<String>::new());
        let report = &stream.reports[0];
        assert_eq!(report.sequence, 2);
        assert!(report.is_complete, "{}", report.raw);
    }
}

#[test]
fn a_pipe_that_fills_up_midway_gets_a_report_that_says_it_is_cut() {
    let (mut reader, writer) = small_pipe();
    let mut daemon = start(SETUPS[2], writer);
    daemon.trigger();
    let stats = daemon.wait_stats("the report's end", |stats| stats.reports() == 1);
    assert_eq!((stats.complete, stats.incomplete), (0, 1));
    let text = drain(&mut reader);
    assert!(text.contains("Guru Meditation"), "{text}");
    assert!(!text.contains("End of report 1: complete"), "{text}");
    daemon.trigger();
    let stream = read_report(&reader, 2, 4096);
    assert!(stream.reports[0].is_complete, "{}", stream.reports[0].raw);
}

#[test]
fn a_pipe_whose_reader_is_gone_does_not_kill_with_sigpipe() {
    for setup in SETUPS {
        let (reader, writer) = small_pipe();
        let mut daemon = start(setup, writer);
        daemon.trigger();
        assert_whole(read_report(&reader, 1, 4096));
        drop(reader);
        for count in 1..=2 {
            daemon.trigger();
            let stats = daemon.wait_stats("a report's end", |stats| stats.incomplete == count);
            assert_eq!(stats.complete, 1);
            daemon.assert_alive();
        }
    }
}

#[test]
fn a_fifo_gets_the_whole_report_and_may_lose_its_reader() {
    for setup in SETUPS {
        let path = std::env::temp_dir().join(format!("gmr-test-{}-fifo", own::id()));
        let _ = fs::remove_file(&path);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
        let mut reading = File::options();
        reading.read(true).custom_flags(libc::O_NONBLOCK);
        let reader = reading.open(&path).expect("its reading end");
        let writer = File::options().write(true).open(&path).expect("its writing end");
        let mut daemon = start(setup, writer);
        daemon.trigger();
        assert_whole(read_report(&reader, 1, 4096));
        drop(reader);
        daemon.trigger();
        daemon.wait_stats("the report's end", |stats| stats.incomplete == 1);
        daemon.assert_alive();
        // A new reader gets the next one.
        let reader = reading.open(&path).expect("its reading end");
        daemon.trigger();
        assert_whole(read_report(&reader, 3, 4096));
        fs::remove_file(&path).expect("the FIFO");
    }
}

#[test]
fn a_terminal_gets_the_whole_report_and_may_hang_up() {
    for setup in SETUPS {
        // Without CLOEXEC the daemon would keep it from hanging up.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("a terminal");
        rustix::pty::grantpt(&master).expect("a terminal");
        rustix::pty::unlockpt(&master).expect("a terminal");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("its name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).expect("its other side");
        rustix::io::ioctl_fionbio(&master, true).expect("our own side");
        let mut daemon = start(setup, terminal);
        daemon.trigger();
        let master = File::from(master);
        assert_whole(read_report(&master, 1, 4096));
        drop(master);
        daemon.trigger();
        daemon.wait_stats("the report's end", |stats| stats.incomplete == 1);
        daemon.assert_alive();
    }
}

#[test]
fn a_stream_socket_gets_the_whole_report_and_may_be_closed() {
    for setup in SETUPS {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("sockets");
        let mut daemon = start(setup, theirs);
        daemon.trigger();
        let ours = File::from(ours);
        assert_whole(read_report(&ours, 1, 4096));
        drop(ours);
        daemon.trigger();
        daemon.wait_stats("the report's end", |stats| stats.incomplete == 1);
        daemon.assert_alive();
    }
}

#[test]
fn a_socket_that_nobody_reads_costs_the_report_and_not_the_process() {
    let (mut ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map(|(ours, theirs)| (File::from(ours), theirs))
            .expect("sockets");
    for size in [4096, 1] {
        let piece = vec![b'\n'; size];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while rustix::net::send(&theirs, &piece, flags).is_ok() {}
    }
    let mut daemon = start(SETUPS[2], theirs);
    daemon.trigger();
    let stats = daemon.wait_stats("the report's end", |stats| stats.reports() == 1);
    assert_eq!(stats.incomplete, 1);
    daemon.assert_alive();
    rustix::io::ioctl_fionbio(&ours, true).expect("our own side");
    assert_eq!(drain(&mut ours).trim(), "", "nothing fitted");
    daemon.trigger();
    let stream = read_report(&ours, 2, 4096);
    assert!(stream.reports[0].is_complete, "{}", stream.reports[0].raw);
}

#[test]
fn a_full_device_costs_the_report_and_not_the_process() {
    for setup in SETUPS {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut daemon = start(setup, full);
        for count in 1..=2 {
            daemon.trigger();
            let stats = daemon.wait_stats("a report's end", |stats| stats.incomplete == count);
            assert_eq!(stats.complete, 0);
            daemon.assert_alive();
        }
    }
}

#[test]
fn stderr_closed_after_setup_and_taken_by_a_client_gets_no_byte() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, log.stdio());
        daemon.must("steal 2");
        daemon.trigger();
        assert_whole(log.wait_for(1));
        assert_eq!(daemon.ask("stolen-bytes"), "0");
        daemon.must("close 2");
        daemon.trigger();
        assert!(log.report(2).is_complete);
        daemon.assert_alive();
    }
}

#[test]
fn our_own_descriptors_closed_and_taken_by_clients_get_no_byte() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let before = descriptors(Daemon::start(PUPPET, &[], log.stdio()).pid());
        let mut daemon = start(setup, log.stdio());
        let added: Vec<_> = descriptors(daemon.pid())
            .into_keys()
            .filter(|number| !before.contains_key(number))
            .map(|number| number.to_string())
            .collect();
        assert!(added.len() >= 3, "destination, /dev/null, executable: {added:?}");
        daemon.must(&format!("steal {}", added.join(",")));
        for count in 1..=3 {
            daemon.trigger();
            let stats = daemon.wait_stats("a refused report", |stats| stats.incomplete == count);
            assert_eq!(stats.complete, 0);
        }
        assert_eq!(daemon.ask("stolen-bytes"), "0");
        assert!(log.is_empty());
        daemon.assert_alive();
    }
}

#[test]
fn a_limit_on_file_sizes_cuts_the_report_and_harms_nobody() {
    // A write beyond RLIMIT_FSIZE raises SIGXFSZ, whose default action ends the
    // process.
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -f 1; exec \"$0\"", PUPPET]);
        let mut daemon = Daemon::start_command(command, log.stdio());
        daemon.must("threads 2");
        for command in setup {
            daemon.must(command);
        }
        daemon.trigger();
        daemon.wait_stats("a report that does not fit", |stats| stats.reports() == 1);
        daemon.assert_alive();
        assert!(log.len() <= 1024, "{}", log.len());
        assert_eq!(daemon.stats().complete, 0);
    }
}
