//! Which tests are wanted: `--filter`, `-k`, `--tag`, `--tag-meta` and their opposites.
//!
//! Input: the flags' texts, or the name of one test. Output: yes or no for a test's file, name and metadata.
//! Not here: reading files; which tests a file has is known only once its chunk has run.

use std::collections::BTreeMap;
use std::fmt;

/// Decides which tests run. The default wants all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NameFilter {
    /// The name of the only test that is wanted.
    pub test: Option<String>,
    /// Must occur in the test's name or its file's path, case and all.
    pub substring: Option<String>,
    /// Must hold for the test's name and its file's path.
    pub expression: Option<Expression>,
    /// Metadata that must be there: one value of those given for a key, for each key.
    pub with: Vec<KeyValue>,
    /// Metadata that must not be there, whatever else is.
    pub without: Vec<KeyValue>,
    /// Run tests that call themselves slow, too.
    pub include_slow: bool,
}

/// The key under which a test's tags are.
pub const TAGS: &str = "tags";
/// Another spelling of [`TAGS`].
pub const TAG: &str = "tag";

/// A key of a test's metadata and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value as text.
    pub value: String,
}

impl KeyValue {
    /// A tag.
    pub fn tag(tag: String) -> KeyValue {
        KeyValue {
            key: TAGS.to_owned(),
            value: tag,
        }
    }
}

impl std::str::FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(KeyValue {
                key: match key.trim() {
                    TAG => TAGS,
                    key => key,
                }
                .to_owned(),
                value: value.trim().to_owned(),
            }),
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

/// A test's metadata as text: the values of each key.
pub type Labels = BTreeMap<String, Vec<String>>;

impl NameFilter {
    /// Wants the tests of this name and no others, even if they call themselves slow.
    pub fn of_test(name: &str) -> NameFilter {
        NameFilter {
            test: Some(name.to_owned()),
            include_slow: true,
            ..NameFilter::default()
        }
    }

    /// Whether the test `name` of the file at `path` (as reports show it) is wanted.
    pub fn wants(&self, path: &str, name: &str, labels: &Labels) -> bool {
        self.wants_name(path, name) && self.wants_labels(labels)
    }

    fn wants_labels(&self, labels: &Labels) -> bool {
        let has = |wanted: &KeyValue| {
            let values = labels.get(&wanted.key);
            values.is_some_and(|values| values.contains(&wanted.value))
        };
        let one_of_its_key = |wanted: &KeyValue| {
            self.with
                .iter()
                .any(|other| other.key == wanted.key && has(other))
        };
        !self.without.iter().any(has) && self.with.iter().all(one_of_its_key)
    }

    fn wants_name(&self, path: &str, name: &str) -> bool {
        let test = self.test.as_ref().is_none_or(|test| test == name);
        let substring = self
            .substring
            .as_ref()
            .is_none_or(|s| path.contains(s) || name.contains(s));
        let expression = self.expression.as_ref().is_none_or(|e| {
            let (path, name) = (path.to_lowercase(), name.to_lowercase());
            e.holds(&|word| path.contains(word) || name.contains(word))
        });
        test && substring && expression
    }

    /// Whether it leaves anything out at all.
    pub fn is_active(&self) -> bool {
        self.test.is_some()
            || self.substring.is_some()
            || self.expression.is_some()
            || !self.with.is_empty()
            || !self.without.is_empty()
    }
}

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
    fn holds(&self, occurs: &dyn Fn(&str) -> bool) -> bool {
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

    #[test]
    fn a_substring_looks_at_name_and_path() {
        let filter = |s: &str| NameFilter {
            substring: Some(s.into()),
            ..NameFilter::default()
        };
        let none = Labels::new();
        assert!(filter("net.test").wants("tests/net.test.lua", "x", &none));
        assert!(filter("Boot").wants("a", "Boot is fast", &none));
        assert!(!filter("boot").wants("a", "Boot is fast", &none));
        assert!(NameFilter::default().wants("a", "b", &none) && !NameFilter::default().is_active());
    }

    #[test]
    fn one_test_is_found_by_its_whole_name() {
        let filter = NameFilter::of_test("boots");
        let none = Labels::new();
        assert!(filter.is_active() && filter.include_slow);
        assert!(filter.wants("a", "boots", &none));
        assert!(!filter.wants("a", "boots twice", &none) && !filter.wants("boots", "a", &none));
    }

    #[test]
    fn metadata_is_or_within_a_key_and_and_across_keys() {
        let labels: Labels = [
            ("tags", vec!["net", "fast"]),
            ("spec", vec!["4.2"]),
            ("n", vec!["1"]),
        ]
        .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
        .into();
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("KEY=VALUE"))
                .collect()
        };
        for (with, without, wanted) in [
            (&["tags=net"][..], &[][..], true),
            (&["tags=disk"], &[], false),
            (&["tags=disk", "tags=fast"], &[], true),
            (&["tags=net", "spec=4.2"], &[], true),
            (&["tags=net", "spec=5"], &[], false),
            (&["tags=net", "spec=5", "spec=4.2", "n = 1"], &[], true),
            (&["tags=net"], &["tags=fast"], false),
            (&[], &["spec=4.2"], false),
            (&[], &["spec=5", "other=x"], true),
            (&["other=x"], &[], false),
        ] {
            let filter = NameFilter {
                with: parse(with),
                without: parse(without),
                ..NameFilter::default()
            };
            assert!(filter.is_active());
            assert_eq!(filter.wants("a", "b", &labels), wanted, "{with:?} {without:?}");
        }
        assert!("=x".parse::<KeyValue>().is_err() && "x".parse::<KeyValue>().is_err());
    }
}
