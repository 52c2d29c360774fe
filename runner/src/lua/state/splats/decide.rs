//! What one splat means: expected, allowed, ignored, or what the file's policy says.
//!
//! Input: a splat, and what is asked of it. Output: a [`Decision`]. Not here: what follows from it. Patterns
//! are Lua's own, tried in a Lua state of their own, since a test's is busy with the test.

use mlua::{Function, Lua, Table, Value};
use provium_base::failure::GuestSplat;

use super::Allowance;
use crate::config::SplatPolicy;

/// What is asked of a splat, in this order.
pub(super) struct Questions {
    /// The part of the file it belongs to.
    pub(super) part: u64,
    /// What is expected: the number, and the pattern if it has to match one.
    pub(super) expected: Vec<(u64, Option<Vec<u8>>)>,
    /// What is fine.
    pub(super) allowance: Allowance,
    /// What holds for all others that are not ignored.
    pub(super) policy: SplatPolicy,
}

/// What a splat means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The expectation of this number is met.
    Expected(u64),
    /// Nothing.
    Nothing,
    /// It stands in the log.
    Warns,
    /// It fails what it happened in.
    Fails,
}

pub(super) fn decide(questions: &Questions, ignored: &[String], seen: &GuestSplat) -> Decision {
    let text = format!("{}\n{}", seen.head, seen.text);
    let expected = questions.expected.iter().find(|(_, pattern)| match pattern {
        Some(pattern) => finds(pattern, &text),
        None => true,
    });
    if let Some((number, _)) = expected {
        return Decision::Expected(*number);
    }
    let allowed = match &questions.allowance {
        Allowance::None => false,
        Allowance::All => true,
        Allowance::Matching(pattern) => finds(pattern, &text),
    };
    if allowed || ignored.iter().any(|part| text.contains(part.as_str())) {
        return Decision::Nothing;
    }
    match questions.policy {
        SplatPolicy::Fail => Decision::Fails,
        SplatPolicy::Warn => Decision::Warns,
        SplatPolicy::Ignore => Decision::Nothing,
    }
}

fn finds(pattern: &[u8], text: &str) -> bool {
    // A pattern was tried when it was given; one that fails only now matches nothing.
    find(pattern, text.as_bytes()).unwrap_or(false)
}

/// Refuses what is no pattern of Lua's, with Lua's words.
pub(crate) fn check_pattern(pattern: &[u8]) -> Result<(), String> {
    find(pattern, b"").map(|_| ())
}

fn find(pattern: &[u8], text: &[u8]) -> Result<bool, String> {
    let search = || -> mlua::Result<Value> {
        let lua = Lua::new_with(mlua::StdLib::STRING, mlua::LuaOptions::default())?;
        let find: Function = lua.globals().get::<Table>("string")?.get("find")?;
        find.call((lua.create_string(text)?, lua.create_string(pattern)?))
    };
    match search() {
        Ok(found) => Ok(!found.is_nil()),
        Err(mlua::Error::RuntimeError(message)) => {
            let message = message.lines().next().unwrap_or_default();
            Err(message
                .rsplit_once(": ")
                .map_or(message, |(_, rest)| rest)
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Questions {
        Questions {
            part: 0,
            expected: Vec::new(),
            allowance: Allowance::None,
            policy: SplatPolicy::Fail,
        }
    }

    fn splat() -> GuestSplat {
        GuestSplat {
            vm: "a".to_owned(),
            kind: "warning".to_owned(),
            head: "WARNING: CPU: 0 PID: 71 at a.c:12 a+0x1/0x2".to_owned(),
            text: "[    1.0] WARNING: CPU: 0 PID: 71 at a.c:12 a+0x1/0x2\n[    1.1] noisy_thing+0x1/0x2\n"
                .to_owned(),
        }
    }

    #[test]
    fn expectations_come_before_allowances_and_those_before_the_policy() {
        let all = |change: &dyn Fn(&mut Questions)| {
            let mut questions = questions();
            change(&mut questions);
            decide(&questions, &[], &splat())
        };
        assert_eq!(all(&|_| {}), Decision::Fails);
        assert_eq!(all(&|q| q.policy = SplatPolicy::Warn), Decision::Warns);
        assert_eq!(all(&|q| q.policy = SplatPolicy::Ignore), Decision::Nothing);
        assert_eq!(all(&|q| q.allowance = Allowance::All), Decision::Nothing);
        let matching = |pattern: &str| Allowance::Matching(pattern.into());
        assert_eq!(all(&|q| q.allowance = matching("PID: %d+ at")), Decision::Nothing);
        assert_eq!(all(&|q| q.allowance = matching("PID: %a+ at")), Decision::Fails);
        assert_eq!(
            all(&|q| {
                q.expected = vec![(3, Some("no such".into())), (4, Some("noisy".into())), (5, None)];
                q.allowance = Allowance::All;
            }),
            Decision::Expected(4)
        );
        assert_eq!(all(&|q| q.expected = vec![(3, None)]), Decision::Expected(3));
    }

    #[test]
    fn what_is_ignored_is_plain_text_anywhere_in_the_splat() {
        let ignored = |text: &str| decide(&questions(), &[text.to_owned()], &splat());
        assert_eq!(ignored("noisy_thing+0x1"), Decision::Nothing);
        assert_eq!(ignored("at a.c:12"), Decision::Nothing);
        assert_eq!(ignored("PID: %d+"), Decision::Fails);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_lua_s_words() {
        assert_eq!(check_pattern(b"a%d+"), Ok(()));
        let refused = check_pattern(b"[").unwrap_err();
        assert!(refused.starts_with("malformed pattern"), "{refused}");
    }
}
