//! Arguments that make no sense, for every method there is: an error each time, as a string, and nothing worse.

use std::collections::BTreeMap;

use super::*;
use crate::lua::binding::Kind;
use crate::lua::console::Console;
use crate::lua::lab::Lab;
use crate::lua::vm::Vm;

fn names<T: Kind>() -> String {
    let names: Vec<_> = T::methods()
        .iter()
        .map(|method| format!("'{}'", method.name))
        .collect();
    names.join(", ")
}

#[test]
fn no_argument_is_too_strange() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let profile = "[profiles.min]\nkernel = \"none\"\ncmdline = \"quiet\"\n";
    std::fs::write(dir.path().join("provium.toml"), profile).expect("a file");
    let source = format!(
        r#"
        local methods = {{vm = {{{}}}, lab = {{{}}}, console = {{{}}}}}
        local cyclic = {{}}
        cyclic.args, cyclic.env, cyclic.opts, cyclic[1] = cyclic, cyclic, cyclic, cyclic
        local strange = {{
            true, 0, -1, 1.5, 0/0, 1/0, -1/0, math.mininteger, 2^63, "", "\0", "\255\254", ("x"):rep(100000), {{}}, {{1, 2}}, {{[5] = 1}},
            {{[{{}}] = 1}}, cyclic, math.abs, coroutine.create(print), io.stdout, provium, setmetatable({{}}, {{__index = error, __len = error}}),
            setmetatable({{}}, {{__tostring = error}}), {{timeout = 0/0}}, {{memory = -1}}, {{cpus = 2^70}}, {{args = {{{{}}}}}},
            {{bufs = {{1}}, ptrs = "x"}}, {{nested = cyclic}}, {{kernel_cmdline = {{}}}}, {{rng_seed = "x"}},
        }}
        strange[#strange + 1] = t
        local count = 0
        local function try(object, name, ...)
            local ok, err = pcall(object[name], ...)
            count = count + 1
            if not ok and type(err) ~= "string" then
                error(name .. " raised a " .. type(err) .. ": " .. tostring(err))
            end
        end
        test("strange arguments", function(t)
            for kind, list in pairs(methods) do
                for _, name in ipairs(list) do
                    for at, value in ipairs(strange) do
                        local vm = provium:vm("v", "min")
                        local object = ({{vm = vm, lab = provium, console = vm:console()}})[kind]
                        try(object, name)
                        try(object, name, value)
                        try(object, name, object, value)
                        try(object, name, object, "x", value)
                        try(object, name, object, 1, value, value)
                        try(object, name, object, value, value, value, value, value, value, value, value, value)
                        vm:close()
                        for _, left in ipairs(provium:vm_names()) do provium:vm(left):close() end
                    end
                end
            end
            for _, value in ipairs(strange) do
                for _, name in ipairs({{"test", "todo", "wait_until", "dofile", "require"}}) do
                    if name ~= "todo" then try(_G, name, value) try(_G, name, value, value) try(_G, name, "x", value, value) end
                end
                for _, name in ipairs({{"encode", "decode"}}) do try(json, name, value) end
            end
            t:assert(count > 3000, count)
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
        names::<Vm>(),
        names::<Lab>(),
        names::<Console>(),
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
