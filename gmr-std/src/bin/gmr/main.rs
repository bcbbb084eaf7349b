//! `gmr`: the operator's side of Guru Meditation Reports.
//!
//! - `gmr check PID...`: may these processes be asked for a report? It only
//!   reads /proc, and sends signal 0, which is none.
//! - `gmr symbolize REPORT`: gives the frames of a report their functions, files
//!   and lines, from debug files.

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod facts;
#[cfg(target_os = "linux")]
mod signal;
#[cfg(gmr_engine)]
mod symbolize;

#[cfg(target_os = "linux")]
mod command {
    use std::process::ExitCode;

    use clap::{Parser, Subcommand};

    use crate::check::{Answer, judge};
    use crate::facts::Facts;
    use crate::signal::Trigger;

    /// Guru Meditation Reports: what operators need beside kill(1).
    #[derive(Debug, Parser)]
    #[command(name = "gmr", version)]
    struct Arguments {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        /// Tell whether processes can safely be sent the signal that asks for a report.
        ///
        /// Without a handler the signal would end the process. Sends nothing.
        #[command(after_help = EXIT_CODES)]
        Check {
            /// Process ids, as this shell sees them.
            #[arg(required = true, value_parser = clap::value_parser!(i32).range(1..))]
            pids: Vec<i32>,
            /// The signal that would be sent: usr1, usr2 or a number.
            #[arg(long, short, default_value = "usr2")]
            signal: Trigger,
        },
        /// Give the frames of a report their functions, files and lines.
        ///
        /// Reads a report of a stripped program, in text or JSON, perhaps from another machine and
        /// with other lines around it, and writes it with what debug files say of its frames.
        /// Everything else stays as it is. The runtime's frames at the end of a whole stack, which
        /// can be recognised once they have names, become one line.
        ///
        /// A file is believed only if its build-id is the one in the report's section Modules. It
        /// is looked for in each DIR, as .build-id/ab/cdef.debug, NAME, NAME.debug and at the
        /// module's whole path; then at that path, and in /usr/lib/debug/.build-id.
        #[cfg(gmr_engine)]
        #[command(after_help = SYMBOLIZE_EXIT_CODES)]
        Symbolize {
            /// The report, or a log with reports; - is standard input.
            report: std::path::PathBuf,
            /// Where debug files are; may be given several times.
            #[arg(long, value_name = "DIR")]
            debug_dir: Vec<std::path::PathBuf>,
            /// Keep long generic arguments in the names of functions.
            #[arg(long)]
            full_names: bool,
            /// Keep the runtime's frames at the end of a stack.
            #[arg(long)]
            entry_frames: bool,
        },
    }

    const EXIT_CODES: &str = "\
Exit codes (of several processes, the highest):
  0  yes: there is a handler, and a thread that takes the signal now
  1  no: it would end the process, or nothing would come of it
  2  unknown: no such process, not readable, or the command line is wrong";

    #[cfg(gmr_engine)]
    const SYMBOLIZE_EXIT_CODES: &str = "\
Exit codes:
  0  all frames of modules that files can tell about are resolved
  1  some are left; standard error says of which modules, and what to do
  2  no report in the input, not readable, or the command line is wrong";

    pub(crate) fn main() -> ExitCode {
        ExitCode::from(match Arguments::parse().command {
            Command::Check { pids, signal } => check(pids, signal),
            #[cfg(gmr_engine)]
            Command::Symbolize { report, debug_dir, full_names, entry_frames } => {
                let shown = crate::symbolize::Shown { full_names, entry_frames };
                crate::symbolize::run(&report, debug_dir, shown)
            }
        })
    }

    fn check(pids: Vec<i32>, signal: Trigger) -> u8 {
        let mut worst = 0;
        for pid in pids {
            let answer = match Facts::read(pid) {
                Ok(facts) => judge(&facts, signal),
                Err(unknown) => Answer::unknown(pid, unknown),
            };
            print!("{answer}");
            worst = worst.max(answer.exit_code());
        }
        worst
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    command::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("gmr needs Linux: it reads /proc");
    std::process::ExitCode::from(2)
}
