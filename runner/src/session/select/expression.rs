//! Expressions of `-k`: words, `and`, `or`, `not`, parentheses.
//!
//! Input: a text. Output: an [`Expression`], or what is wrong and where. Not here: what its words are looked
//! for in.

use std::fmt;

/// A `-k` expression: words joined by `and`, `or`, `not` and parentheses. A word holds when it occurs in the
/// test's name or file, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The word occurs; kept in lower case.
    Word(String),
    /// It does not hold.
    Not(Box<Expression>),
    /// Both hold.
    And(Box<Expression>, Box<Expression>),
    /// At least one holds.
    Or(Box<Expression>, Box<Expression>),
}

/// What is wrong with a `-k` expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at column {column}: expected {expected}, found {found}")]
pub struct ExpressionError {
    column: usize,
    expected: &'static str,
    found: String,
}

impl Expression {
    pub(super) fn holds(&self, occurs: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Expression::Word(word) => occurs(word),
            Expression::Not(inner) => !inner.holds(occurs),
            Expression::And(a, b) => a.holds(occurs) && b.holds(occurs),
            Expression::Or(a, b) => a.holds(occurs) || b.holds(occurs),
        }
    }
}

/// As one would write it, with the parentheses it needs.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |inner: &Expression| match inner {
            Expression::Word(_) | Expression::Not(_) => inner.to_string(),
            Expression::And(..) | Expression::Or(..) => format!("({inner})"),
        };
        match self {
            Expression::Word(word) => f.write_str(word),
            Expression::Not(not) => write!(f, "not {}", inner(not)),
            Expression::And(a, b) => write!(f, "{} and {}", inner(a), inner(b)),
            Expression::Or(a, b) => write!(f, "{} or {}", inner(a), inner(b)),
        }
    }
}

impl std::str::FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser {
            tokens: tokens(text),
            next: 0,
            depth: 0,
        };
        let expression = parser.or()?;
        match parser.peek() {
            Token::End => Ok(expression),
            _ => Err(parser.error("`and`, `or` or the end")),
        }
    }
}

/// A word or sign of an expression.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    And,
    Or,
    Not,
    Open,
    Close,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(word) => write!(f, "`{word}`"),
            Token::And => f.write_str("`and`"),
            Token::Or => f.write_str("`or`"),
            Token::Not => f.write_str("`not`"),
            Token::Open => f.write_str("`(`"),
            Token::Close => f.write_str("`)`"),
            Token::End => f.write_str("the end"),
        }
    }
}

/// The text's tokens, each with its column from 1; the last is [`Token::End`].
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut word: Option<(usize, String)> = None;
    for (index, c) in text.chars().chain([' ']).enumerate() {
        if !c.is_whitespace() && c != '(' && c != ')' {
            word.get_or_insert_with(|| (index + 1, String::new())).1.push(c);
            continue;
        }
        if let Some((column, word)) = word.take() {
            let token = match word.as_str() {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                _ => Token::Word(word),
            };
            tokens.push((column, token));
        }
        match c {
            '(' => tokens.push((index + 1, Token::Open)),
            ')' => tokens.push((index + 1, Token::Close)),
            _ => {}
        }
    }
    tokens.push((text.chars().count() + 1, Token::End));
    tokens
}

/// Parentheses and `not`s deeper than this are refused: recursion must not exhaust the stack.
const DEPTH_MAX: usize = 100;

/// Reads an expression by recursive descent.
struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    /// Takes the token if it is this one; the end is never taken.
    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    fn error(&self, expected: &'static str) -> ExpressionError {
        let (column, found) = &self.tokens[self.next];
        ExpressionError {
            column: *column,
            expected,
            found: found.to_string(),
        }
    }

    fn or(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.and()?;
        while self.take(&Token::Or) {
            left = Expression::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.not()?;
        while self.take(&Token::And) {
            left = Expression::And(left.into(), self.not()?.into());
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, ExpressionError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error("a simpler expression"));
        }
        self.depth += 1;
        let expression = match self.peek().clone() {
            Token::Not => {
                self.next += 1;
                Expression::Not(self.not()?.into())
            }
            Token::Open => {
                self.next += 1;
                let inner = self.or()?;
                if !self.take(&Token::Close) {
                    return Err(self.error("`)`"));
                }
                inner
            }
            Token::Word(word) => {
                self.next += 1;
                Expression::Word(word.to_lowercase())
            }
            _ => return Err(self.error("a word, `not` or `(`")),
        };
        self.depth -= 1;
        Ok(expression)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Labels, NameFilter};
    use super::*;

    fn wants(expression: &str, path: &str, name: &str) -> bool {
        let expression = Some(expression.parse().expect(expression));
        NameFilter {
            expression,
            ..NameFilter::default()
        }
        .wants(path, name, &Labels::new())
    }

    #[test]
    fn expressions_hold_as_in_pytest() {
        let cases = [
            ("boot", true),
            ("BOOT", true),
            ("net", true), // the file's name counts
            ("disk", false),
            ("not disk", true),
            ("not not disk", false),
            ("disk or boot", true),
            ("disk and boot", false),
            ("disk and boot or fast", true), // `and` binds tighter
            ("disk and (boot or fast)", false),
            ("not (disk or fast)", false),
            ("(boot)and(fast)", true),
        ];
        for (expression, expected) in cases {
            assert_eq!(
                wants(expression, "tests/net.test.lua", "Boot is fast"),
                expected,
                "{expression}"
            );
        }
    }

    #[test]
    fn bad_expressions_say_where() {
        let cases = [
            ("", "at column 1: expected a word, `not` or `(`, found the end"),
            (
                "a and",
                "at column 6: expected a word, `not` or `(`, found the end",
            ),
            ("a b", "at column 3: expected `and`, `or` or the end, found `b`"),
            ("(a or b", "at column 8: expected `)`, found the end"),
            (
                "a) or b",
                "at column 2: expected `and`, `or` or the end, found `)`",
            ),
            ("or a", "at column 1: expected a word, `not` or `(`, found `or`"),
        ];
        for (expression, message) in cases {
            let error = expression.parse::<Expression>().expect_err(expression);
            assert_eq!(error.to_string(), message, "{expression}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "(".repeat(100_000);
        assert!(deep.parse::<Expression>().is_err());
        assert!("not ".repeat(100_000).parse::<Expression>().is_err());
    }
}
