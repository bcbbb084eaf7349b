//! `gmr`: the operator's side of Guru Meditation Reports.
//!
//! - `gmr check PID...`: may these processes be asked for a report? It only
//!   reads /proc, and sends signal 0, which is none.
//! - `gmr check BINARY...`: what will reports of these programs say, and what is missing?
//! - `gmr await-table BINARY`: makes the table by which a stripped program shows where
//!   its tasks wait.
//! - `gmr symbolize REPORT`: gives the frames of a report their functions, files
//!   and lines, from debug files.

#[cfg(gmr_engine)]
mod await_table;
#[cfg(gmr_engine)]
mod binary;
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
        /// Tell whether processes can safely be sent the signal that asks for a report, or what
        /// reports of a program will say.
        ///
        /// Of a process: without a handler the signal would end it. Sends nothing.
        ///
        /// Of a program's file: whether it has names of functions, files and lines, and what the
        /// stacks of tasks are made of; and what to put into Cargo.toml for what is missing.
        #[command(after_help = EXIT_CODES)]
        Check {
            /// Process ids, as this shell sees them, or files of programs (./17 is a file).
            #[arg(required = true, value_name = "PID|BINARY")]
            subjects: Vec<Subject>,
            /// The signal that would be sent: usr1, usr2 or a number.
            #[arg(long, short, default_value = "usr2")]
            signal: Trigger,
        },
        /// Make the table by which a program shows where its tasks wait.
        ///
        /// Reads the program's debug information: in itself, in a separate debug file, in a .dwp
        /// package beside it. With the table the program needs none of that any more: it may be
        /// stripped. It finds the table beside itself, as BINARY.gmr-await or BUILD-ID.gmr-await,
        /// or in its own section .gmr_await; other programs do not take it (build-ids are compared).
        #[cfg(gmr_engine)]
        #[command(after_help = TABLE_EXIT_CODES)]
        AwaitTable {
            /// The program.
            binary: std::path::PathBuf,
            /// Where to write the table; BINARY.gmr-await if not given.
            #[arg(long, short)]
            output: Option<std::path::PathBuf>,
            /// Where debug files are; may be given several times.
            #[arg(long, value_name = "DIR")]
            debug_dir: Vec<std::path::PathBuf>,
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
Exit codes (of several, the highest):
  0  yes: there is a handler, and a thread that takes the signal now;
     of a program: reports have names, lines and, if it has tokio, stacks of tasks
  1  no: it would end the process, or nothing would come of it;
     of a program: something is missing
  2  unknown: no such process, not readable, or the command line is wrong";

    #[cfg(gmr_engine)]
    const TABLE_EXIT_CODES: &str = "\
Exit codes:
  0  the table is made
  1  none can be made; standard error says why, and what to do
  2  not readable or writable, no ELF file, or the command line is wrong";

    #[cfg(gmr_engine)]
    const SYMBOLIZE_EXIT_CODES: &str = "\
Exit codes:
  0  all frames of modules that files can tell about are resolved
  1  some are left; standard error says of which modules, and what to do
  2  no report in the input, not readable, or the command line is wrong";

    pub(crate) fn main() -> ExitCode {
        ExitCode::from(match Arguments::parse().command {
            Command::Check { subjects, signal } => check(subjects, signal),
            #[cfg(gmr_engine)]
            Command::AwaitTable { binary, output, debug_dir } => {
                crate::await_table::run(&binary, output, debug_dir)
            }
            #[cfg(gmr_engine)]
            Command::Symbolize { report, debug_dir, full_names, entry_frames } => {
                let shown = crate::symbolize::Shown { full_names, entry_frames };
                crate::symbolize::run(&report, debug_dir, shown)
            }
        })
    }

    /// What is checked.
    #[derive(Debug, Clone)]
    enum Subject {
        Process(i32),
        File(std::path::PathBuf),
    }

    impl std::str::FromStr for Subject {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            match text.parse::<i64>() {
                Ok(number) => match i32::try_from(number) {
                    Ok(pid @ 1..) => Ok(Subject::Process(pid)),
                    _ => Err("no process has this number".to_owned()),
                },
                Err(_) if text.is_empty() => Err("neither a process id nor a file".to_owned()),
                Err(_) => Ok(Subject::File(text.into())),
            }
        }
    }

    fn check(subjects: Vec<Subject>, signal: Trigger) -> u8 {
        let mut worst = 0;
        for subject in subjects {
            let code = match subject {
                Subject::Process(pid) => {
                    let answer = match Facts::read(pid) {
                        Ok(facts) => judge(&facts, signal),
                        Err(unknown) => Answer::unknown(pid, unknown),
                    };
                    print!("{answer}");
                    answer.exit_code()
                }
                #[cfg(gmr_engine)]
                Subject::File(path) => crate::binary::check(&path),
                #[cfg(not(gmr_engine))]
                Subject::File(path) => {
                    println!("{}: unknown: not on this system", path.display());
                    2
                }
            };
            worst = worst.max(code);
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
