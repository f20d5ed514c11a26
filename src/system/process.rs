//! Other programs, run without a shell: arguments as given, a clean environment, a deadline,
//! output kept short.

use std::io::{PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use super::clock;

/// Octets of a program's output that are kept for a message.
pub const KEPT: u64 = 4096;

/// Runs a program to its end and returns the beginning of what it printed.
///
/// # Errors
/// In words: not startable, failed with a status, or still running at the deadline (it is then
/// killed with all its children).
pub fn run(arguments: &[String], deadline: Duration, kept: u64) -> Result<String, String> {
    carry(arguments, None, deadline, kept)
}

/// The same with something to read for the program, which is wiped afterwards.
///
/// # Errors
/// As [`run`]; that the program did not read everything is none.
pub fn feed(
    arguments: &[String],
    input: Zeroizing<Vec<u8>>,
    deadline: Duration,
    kept: u64,
) -> Result<String, String> {
    carry(arguments, Some(input), deadline, kept)
}

#[expect(clippy::disallowed_methods, reason = "this is the door to other programs")]
fn carry(
    arguments: &[String],
    input: Option<Zeroizing<Vec<u8>>>,
    deadline: Duration,
    kept: u64,
) -> Result<String, String> {
    let (program, rest) = arguments.split_first().ok_or("no program is named")?;
    let (reader, writer) = std::io::pipe().map_err(|error| format!("{program}: {error}"))?;
    let errors = writer.try_clone().map_err(|error| format!("{program}: {error}"))?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(writer)
        .stderr(errors)
        .process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
    // The writing ends live on in `command`; without this the reader would never see the end.
    drop(command);
    let collector = std::thread::spawn(move || beginning(reader, kept));
    if let Some((mut stdin, input)) = child.stdin.take().zip(input) {
        // Nobody waits for it: when the program is gone, so is the pipe, and it ends.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < deadline => clock::pause(Duration::from_millis(5)),
            Ok(None) => {
                let group =
                    i32::try_from(child.id()).map(Pid::from_raw).map_err(|error| error.to_string())?;
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                return Err(format!(
                    "{program} was still running after {} s and was killed",
                    deadline.as_secs()
                ));
            }
            Err(error) => return Err(format!("{program}: {error}")),
        }
    };
    let said = collector.join().unwrap_or_default();
    if status.success() {
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    Err(format!("{program} failed ({status}){}", last_words(&said)))
}

/// Reads an output to its end, and keeps as much of its beginning as a message needs.
pub fn beginning(mut output: PipeReader, octets: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = output.by_ref().take(octets).read_to_end(&mut kept);
    let _ = std::io::copy(&mut output, &mut std::io::sink());
    kept
}

/// The last lines of an output, to follow a message.
pub fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines.len().saturating_sub(3);
    match lines.get(tail..) {
        Some(last) if !last.is_empty() => format!(": {}", last.join("; ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration) -> Result<String, String> {
        run(&["/bin/sh".into(), "-c".into(), script.into()], deadline, KEPT)
    }

    #[test]
    fn outcomes() {
        let long = Duration::from_secs(10);
        assert_eq!(sh("echo out", long), Ok("out\n".into()));
        let failed = sh("echo first; echo 'line 7: no such file' >&2; exit 3", long).unwrap_err();
        assert!(failed.contains("status: 3") && failed.ends_with("first; line 7: no such file"), "{failed}");
        assert!(run(&["/nonexistent/program".into()], long, KEPT).unwrap_err().contains("cannot be started"));
        assert!(run(&[], long, KEPT).is_err());
    }

    #[test]
    fn nothing_runs_past_its_deadline() {
        let killed = sh("sleep 60 & sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(killed.contains("was killed"), "{killed}");
    }

    #[test]
    fn what_is_fed_is_read_and_need_not_be() {
        let fed = |script: &str, octets: usize, seconds: u64| {
            let command = ["/bin/sh", "-c", script].map(str::to_owned);
            feed(&command, Zeroizing::new(vec![b'x'; octets]), Duration::from_secs(seconds), KEPT)
        };
        assert_eq!(fed("wc -c", 300_000, 10), Ok("300000\n".into()));
        assert_eq!(fed("echo no", 300_000, 10), Ok("no\n".into()));
        assert!(fed("sleep 60", 300_000, 0).unwrap_err().contains("was killed"));
    }

    #[test]
    fn a_flood_of_output_neither_blocks_nor_fills_memory() {
        let kept = sh("head -c 300000 /dev/zero", Duration::from_secs(10)).unwrap();
        assert_eq!(kept.len() as u64, KEPT);
    }
}
