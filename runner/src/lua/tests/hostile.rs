//! Arguments that make no sense, for every method there is: an error each time, as a string, and nothing
//! worse.
//!
//! The methods are those that are registered. Objects that need a guest are tested on one, in
//! `tests/lua/hostile.test.lua`; a kind that is neither here nor there fails a test.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Kinds of which there is an object without a guest; `t` has a test of its own, since its methods end one.
const HERE: [&str; 6] = ["vm", "provium", "console", "clock", "disk", "t"];
/// Kinds that only a guest has.
const ON_A_GUEST: [&str; 8] = [
    "result", "stream", "proc", "worker", "file", "handle", "b", "snapshot",
];

/// Values that no method should be glad of, and numbers that are the same in every run.
const STRANGE: &str = r#"
    local cyclic = {}
    cyclic.args, cyclic.env, cyclic.opts, cyclic[1] = cyclic, cyclic, cyclic, cyclic
    strange = {
        true, 0, -1, 1.5, 0/0, 1/0, -1/0, math.mininteger, math.maxinteger, 2^53, 2^63, 1e300, "", "\0", "\255\254",
        ("x"):rep(100000), {}, {1, 2}, {[5] = 1}, {[{}] = 1}, {{{{{}}}}}, cyclic, math.abs, coroutine.create(print), io.stdout,
        provium, setmetatable({}, {__index = error, __len = error}), setmetatable({}, {__tostring = error}), {timeout = 0/0},
        {memory = -1}, {memory = 2^62}, {cpus = 2^70}, {args = {{}}}, {bufs = {1}, ptrs = "x"}, {nested = cyclic},
        {kernel_cmdline = {}}, {rng_seed = "x"}, {size = 2^62}, {size = 0/0}, {sectors = cyclic}, {delay = -1}, {count = 1.5},
    }
    local state = 20261121
    function random(most)
        state = (state * 1103515245 + 12345) % 2147483648
        return (state >> 8) % most + 1
    end
"#;

/// A Lua table with the names of the methods of each of these kinds.
fn methods(kinds: &[&str]) -> String {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for method in super::reference::registered() {
        let (kind, name) = method.split_once(':').expect("a kind and a name");
        if kinds.contains(&kind) {
            of.entry(kind.to_owned()).or_default().push(format!("'{name}'"));
        }
    }
    let lists: Vec<_> = of
        .iter()
        .map(|(kind, names)| format!("{kind} = {{{}}}", names.join(", ")))
        .collect();
    format!("{{{}}}", lists.join(", "))
}

#[test]
fn every_kind_is_tested_somewhere() {
    let kinds: BTreeSet<String> = super::reference::registered()
        .iter()
        .filter_map(|method| method.split_once(':'))
        .map(|(kind, _)| kind.to_owned())
        .collect();
    let known = HERE.iter().chain(&ON_A_GUEST).map(|kind| (*kind).to_owned());
    assert_eq!(kinds, known.collect());
}

#[test]
fn no_argument_is_too_strange() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let profile = "[profiles.min]\nkernel = \"none\"\ncmdline = \"quiet\"\n";
    std::fs::write(dir.path().join("provium.toml"), profile).expect("a file");
    let source = format!(
        r#"
        local methods = {methods}
        {STRANGE}
        local count = 0
        local function try(object, name, ...)
            local ok, err = pcall(object[name], ...)
            count = count + 1
            if not ok and type(err) ~= "string" then
                error(name .. " raised a " .. type(err) .. ": " .. tostring(err))
            end
        end
        local function pick() return strange[random(#strange)] end
        test("strange arguments", function(t)
            for kind, list in pairs(methods) do
                for _, name in ipairs(list) do
                    for at, value in ipairs(strange) do
                        local vm = provium:vm("v", "min")
                        local object = kind == "vm" and vm or kind == "console" and vm:console() or kind == "clock" and vm:clock()
                            or kind == "disk" and vm:attach_disk({{id = "d", size = "1M"}}) or provium
                        try(object, name)
                        try(object, name, value)
                        try(object, name, object, value)
                        try(object, name, object, 1, value, value)
                        try(object, name, object, value, value, value, value, value, value, value, value, value)
                        -- A barrier with a name and a large count does wait, and should.
                        if name ~= "barrier" then try(object, name, object, "x", value) end
                        if name ~= "barrier" then try(object, name, object, pick(), pick()) end
                        if name ~= "barrier" then try(object, name, object, pick(), pick(), pick()) end
                        if name ~= "barrier" then try(object, name, object, pick(), pick(), pick(), pick()) end
                        vm:close()
                        for _, left in ipairs(provium:members()) do
                            provium:remove(left)
                            pcall(function() left:close() end)
                        end
                    end
                end
            end
            for _, value in ipairs(strange) do
                for _, name in ipairs({{"test", "todo", "wait_until", "dofile", "require", "print"}}) do
                    if name ~= "todo" then try(_G, name, value) try(_G, name, value, value) try(_G, name, "x", value, value) end
                end
                for _, name in ipairs({{"encode", "decode"}}) do try(json, name, value) try(json, name, value, pick()) end
            end
            t:assert(count > 10000, count)
        end)
        test("strange indices", function(t)
            local vm = provium:vm("v", "min")
            for _, object in ipairs({{vm, provium, vm:console(), t}}) do
                for _, key in ipairs(strange) do
                    pcall(function() return object[key] end)
                    pcall(function() object[key] = key end)
                end
                t:assert(#tostring(object) > 0)
                t:assert(object == object and object ~= 1 and object ~= print)
            end
        end)
        "#,
        methods = methods(&["vm", "provium", "console", "clock", "disk"]),
    );
    let mut job = job(dir.path(), &source);
    job.config =
        Arc::new(Config::load(None, dir.path(), &[], &Environment::default()).expect("a configuration"));
    let result = run_file(&job, &silent());
    assert_eq!(result.chunk_error, None);
    let outcomes: BTreeMap<_, _> = result
        .tests
        .iter()
        .map(|test| (test.name.as_str(), test.status))
        .collect();
    assert!(
        outcomes.values().all(|status| *status == TestStatus::Passed),
        "{result:?}"
    );
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn no_argument_of_an_assertion_is_too_strange() {
    let result = run(&format!(
        r#"
        local methods = {methods}
        {STRANGE}
        ran = 0
        for _, name in ipairs(methods.t) do
            for at, value in ipairs(strange) do
                test(name .. " " .. at, function(t)
                    ran = ran + 1
                    local method, first, second = t[name], strange[random(#strange)], strange[random(#strange)]
                    pcall(method, value)
                    pcall(method, t, value, value, value, value)
                    pcall(method, t, value, first, second)
                    method(t, value, value)
                end)
            end
        end
        test("all of them ran", function(t) t:assert_eq(ran, #methods.t * #strange) end)
        "#,
        methods = methods(&["t"]),
    ));
    assert_eq!(result.chunk_error, None);
    let last = result.tests.last().expect("tests");
    assert_eq!(
        (last.name.as_str(), last.status),
        ("all of them ran", TestStatus::Passed),
        "{last:?}"
    );
    // Each came to a result of its own, and those that fail say why.
    for test in &result.tests {
        let said = test.message.as_ref().is_some_and(|message| !message.is_empty());
        assert!(test.status != TestStatus::Failed || said, "{test:?}");
    }
}
