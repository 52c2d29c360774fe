//! The value of `--matrix`.
//!
//! Input: its text. Output: a [`Matrix`]. Not here: what is done with it (`cli::matrix`).

use std::str::FromStr;

/// The kernels of `--matrix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Files, as they are written; at least two.
    pub kernels: Vec<String>,
}

impl FromStr for Matrix {
    type Err = String;

    fn from_str(text: &str) -> Result<Matrix, String> {
        let expected = "expected kernel=FILE,FILE, such as kernel=old/bzImage,new/bzImage";
        let kernels = match text.split_once('=') {
            Some(("kernel", files)) => files.split(',').map(|file| file.trim().to_owned()),
            Some((other, _)) => return Err(format!("`{other}` cannot be varied; {expected}")),
            None => return Err(expected.to_owned()),
        };
        let kernels: Vec<String> = kernels.filter(|file| !file.is_empty()).collect();
        match kernels.len() {
            0 | 1 => Err(format!("one kernel is no matrix; {expected}")),
            _ => Ok(Matrix { kernels }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_has_at_least_two_kernels() {
        for (text, message) in [
            ("kernel=a", "one kernel is no matrix; expected kernel=FILE,FILE"),
            ("kernl=a,b", "`kernl` cannot be varied"),
            ("a,b", "expected kernel=FILE,FILE"),
        ] {
            let error = text.parse::<Matrix>().expect_err(text);
            assert!(error.starts_with(message), "{error}");
        }
    }
}
