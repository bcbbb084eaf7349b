//! `gmr`: the operator's side of Guru Meditation Reports.
//!
//! One command so far, `gmr check PID...`: may these processes be asked for a
//! report? It only reads /proc, and sends signal 0, which is none.

#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod facts;
#[cfg(target_os = "linux")]
mod signal;

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
    }

    const EXIT_CODES: &str = "\
Exit codes (of several processes, the highest):
  0  yes: there is a handler, and a thread that takes the signal now
  1  no: it would end the process, or nothing would come of it
  2  unknown: no such process, not readable, or the command line is wrong";

    pub(crate) fn main() -> ExitCode {
        let Arguments { command: Command::Check { pids, signal } } = Arguments::parse();
        let mut worst = 0;
        for pid in pids {
            let answer = match Facts::read(pid) {
                Ok(facts) => judge(&facts, signal),
                Err(unknown) => Answer::unknown(pid, unknown),
            };
            print!("{answer}");
            worst = worst.max(answer.exit_code());
        }
        ExitCode::from(worst)
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
