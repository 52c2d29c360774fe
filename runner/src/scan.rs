//! What a test file's text says of itself, without running it.
//!
//! Input: Lua source. Output: names of tests, tags, fixtures and the claim, as far as they are written out
//! there as strings. What is computed is not seen: this is for those who ask before anything runs, and can
//! do with less. Not here: the file's own code, which `provium list` runs.

use provium_base::events::Amount;
use provium_base::units;

use crate::tokens::{Token, tokens};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Names of tests.
    pub(crate) tests: Vec<String>,
    /// Tags of tests, each once.
    pub(crate) tags: Vec<String>,
    /// Names of fixtures, each once.
    pub(crate) fixtures: Vec<String>,
    /// What the file claims.
    pub(crate) claim: Option<Amount>,
}

/// Looks through the text of a file.
pub(crate) fn scan(source: &str) -> Written {
    let tokens = tokens(source);
    let mut written = Written::default();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Name(name) = token else { continue };
        let behind = &tokens[at + 1..];
        match *name {
            "test" => written.tests.extend(argument(behind).map(str::to_owned)),
            "vm_fixture" | "lab_fixture" | "fixture" => once(&mut written.fixtures, argument(behind)),
            "tags" | "tag" => match behind {
                [Token::Sign('='), Token::Text(tag), ..] => once(&mut written.tags, Some(tag)),
                [Token::Sign('='), Token::Sign('{'), list @ ..] => {
                    for item in list.iter().take_while(|item| **item != Token::Sign('}')) {
                        if let Token::Text(tag) = item {
                            once(&mut written.tags, Some(tag));
                        }
                    }
                }
                _ => {}
            },
            "claim" if written.claim.is_none() => written.claim = claim(behind),
            _ => {}
        }
    }
    written
}

fn once(list: &mut Vec<String>, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !list.iter().any(|known| known == text)) {
        list.push(text.to_owned());
    }
}

/// The string that a call begins with.
fn argument<'a>(behind: &'a [Token<'_>]) -> Option<&'a str> {
    match behind {
        [Token::Sign('('), Token::Text(text), ..] | [Token::Text(text), ..] => Some(text),
        _ => None,
    }
}

/// The amount in `{memory = …, cpus = …}`.
fn claim(behind: &[Token<'_>]) -> Option<Amount> {
    let open = behind
        .iter()
        .position(|token| *token == Token::Sign('{'))
        .filter(|at| *at <= 1)?;
    let mut amount = Amount::default();
    let table = &behind[open + 1..];
    let end = table.iter().position(|token| *token == Token::Sign('}'))?;
    for part in table[..end].windows(3) {
        match part {
            [Token::Name("memory"), Token::Sign('='), Token::Text(size)] => {
                amount.memory = units::parse_size(size).ok()?;
            }
            [Token::Name("memory"), Token::Sign('='), Token::Number(size)] => {
                amount.memory = size.parse().ok()?
            }
            [Token::Name("cpus"), Token::Sign('='), Token::Number(cpus)] => {
                amount.cpus = cpus.parse().ok()?
            }
            _ => {}
        }
    }
    (amount != Amount::default()).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_is_found() {
        let source = "-- test('not', this)\n--[[ test('nor this') ]]\n\
            provium:claim{memory = '2G', cpus = 3}\n\
            local vm = provium:vm_fixture(\"base\")\nlocal other = provium:vm_fixture 'net/router'\n\
            vm = provium:vm_fixture(\"base\")\n\
            test('it\\'s one', {tags = {'net', \"slow one\"}}, function(t) t:log('test') end)\n\
            test([[two]], {tags = 'net'}, function() end)\n\
            for i = 1, 3 do test('number ' .. i, function() end) end\n";
        let written = scan(source);
        assert_eq!(written.tests, ["it's one", "two", "number "]);
        assert_eq!(written.tags, ["net", "slow one"]);
        assert_eq!(written.fixtures, ["base", "net/router"]);
        let claim = Amount {
            memory: 2 << 30,
            cpus: 3,
        };
        assert_eq!(written.claim, Some(claim));
        assert_eq!(scan("claim({cpus = n})\ntest(name)").tests, [""; 0]);
        assert_eq!(scan("claim({cpus = n})").claim, None);
    }
}
