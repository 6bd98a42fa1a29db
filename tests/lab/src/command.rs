//! Short-lived helper programs.

use std::process::{Command, Stdio};

use crate::Error;

/// Runs a command to its end and returns its output.
///
/// # Errors
/// When it cannot be started or fails; the message carries its error output.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let failed = |reason: String, command: &Command| Error::Command { command: line(command), reason };
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Err(failed(error.to_string(), command)),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, crate::log::last_lines(text.trim(), 20)), command))
}

/// `run` for a program and arguments.
///
/// # Errors
/// As [`run`].
pub(crate) fn call(program: &str, arguments: &[&str]) -> Result<String, Error> {
    run(Command::new(program).args(arguments))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_command_and_its_last_words() {
        let message = call("sh", &["-c", "echo why >&2; exit 3"]).unwrap_err().to_string();
        assert!(message.contains("sh -c") && message.contains("why") && message.contains('3'), "{message}");
        let message = call("no-such-program", &[]).unwrap_err().to_string();
        assert!(message.contains("no-such-program"), "{message}");
    }
}
