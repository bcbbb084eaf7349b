//! A prefork server: each process of it answers its own `kill -USR2`.
//!
//!     cargo run --example prefork -- 4
//!
//! 1. The parent sets up before it forks: it is asked like any other process.
//! 2. A forked child has none of the parent's threads, so none that writes
//!    reports: until it sets up itself it ignores the signal and counts it.
//! 3. Each worker sets up under a name of its own, which is in its reports.
//!
//! The workers share one stderr. Reports of several processes at the same moment
//! may interleave there, line by line; give each worker a file with
//! `Setup::destination_fd` if that matters.

#[cfg(unix)]
#[allow(unsafe_code, reason = "fork(2)")]
mod prefork {
    use std::error::Error;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::process;

    pub(crate) fn main() -> Result<(), Box<dyn Error>> {
        gmr_std::arm();
        let workers = std::env::args().nth(1).map_or(Ok(2), |number| number.parse::<u32>())?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("listening on {}, parent {}", listener.local_addr()?, process::id());
        gmr_std::setup_autorun(gmr_std::package!()).service_name("prefork parent").install()?;

        for number in 1..=workers {
            // SAFETY: glibc keeps malloc usable in the child of a process with
            // threads. Beyond that the child uses nothing that a thread of the
            // parent may have locked: those are the report threads alone.
            match unsafe { libc::fork() } {
                -1 => return Err(std::io::Error::last_os_error().into()),
                0 => process::exit(match work(number, &listener) {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("worker {number}: {error}");
                        1
                    }
                }),
                _ => {}
            }
        }
        // Until the last has ended.
        // SAFETY: the status is not wanted.
        while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
        Ok(())
    }

    fn work(number: u32, listener: &TcpListener) -> Result<(), Box<dyn Error>> {
        #[cfg(target_os = "linux")]
        // SAFETY: no pointers. The worker ends with its parent.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM)
        };
        gmr_std::setup_autorun(gmr_std::package!())
            .service_name(format!("prefork worker {number}"))
            .install()?;
        println!("worker {number} is {}", process::id());
        loop {
            let (client, _) = listener.accept()?;
            // A client that hangs up early is its own loss.
            let _ = greet(client, number);
        }
    }

    fn greet(mut client: TcpStream, number: u32) -> std::io::Result<()> {
        writeln!(client, "worker {number}, process {}", process::id())
    }
}

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    prefork::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("there is no fork here");
}
