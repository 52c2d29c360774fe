//! A question on the terminal with numbered answers.
//!
//! Input: the answers there are, the terminal's two ends. Output: the index of the chosen one. Not here:
//! whether there is a terminal.

use std::io::{BufRead, Write};

/// Asks until an answer is one of the numbers; an empty line is the first.
///
/// # Errors
/// When the terminal's input ends, or it cannot be read or written.
pub(super) fn ask(
    question: &str,
    answers: &[&str],
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> anyhow::Result<usize> {
    writeln!(output, "{question}")?;
    for (index, answer) in answers.iter().enumerate() {
        writeln!(output, "  {}  {answer}", index + 1)?;
    }
    loop {
        write!(output, "number [1]: ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            anyhow::bail!("no answer; nothing was written");
        }
        match line.trim() {
            "" => return Ok(0),
            text => match text.parse::<usize>() {
                Ok(number) if (1..=answers.len()).contains(&number) => return Ok(number - 1),
                _ => writeln!(output, "a number from 1 to {}", answers.len())?,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_or_nothing_for_the_first() {
        let asked = |typed: &str| {
            let mut output = Vec::new();
            let answer = ask("Which?", &["a", "b"], &mut typed.as_bytes(), &mut output);
            (answer.ok(), String::from_utf8(output).expect("UTF-8"))
        };
        assert_eq!(asked("2\n").0, Some(1));
        assert_eq!(asked("\n").0, Some(0));
        let (answer, said) = asked("3\nx\n1\n");
        assert_eq!((answer, said.matches("from 1 to 2").count()), (Some(0), 2));
        assert!(said.starts_with("Which?\n  1  a\n  2  b\nnumber [1]: "), "{said}");
        assert_eq!(asked("").0, None);
    }
}
