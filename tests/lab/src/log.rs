//! The logs of a lab's parts.

use std::fs;
use std::path::Path;

/// How many lines of a dead part's log go into the message about it.
const TAIL_LINES: usize = 25;

/// The end of a log file, for an error message; says so when it cannot be read or is empty.
pub(crate) fn tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => "(empty)".into(),
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes), TAIL_LINES),
        Err(error) => format!("(cannot be read: {error})"),
    }
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_and_says_when_there_is_none() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert!(tail(Path::new("/nonexistent/log")).contains("cannot be read"));
    }
}
