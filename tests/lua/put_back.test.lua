-- What a file holds in a guest goes back with the guest.

provium.timeout = "120s"
provium.reset_between_tests = true

local vm = provium:vm_fixture("base")
local proc = vm:run_async("echo begun; while read line; do echo got $line; done")
vm:write_file("/tmp/held", "0123456789")
local file = vm:open_file("/tmp/held", {read = true})
file:read(3)

for run = 1, 3 do
  test("run " .. run .. " finds all as the file left it", function(t)
    t:assert_eq(file:tell(), 3)
    t:assert_eq(proc:status(), {running = true})
    local out = proc:stdout_stream()
    t:assert_eq(out:read_until("begun\n"), "begun\n")
    proc:stdin_write("run " .. run .. "\n")
    t:assert_eq(out:read_until("\n"), "got run " .. run .. "\n")
    proc:close_stdin()
    t:assert_eq(proc:wait("20s").stdout, "begun\ngot run " .. run .. "\n")
    t:assert_eq(file:read(3), "345")
    file:close()
    -- What this test makes is no concern of the next.
    kept = kept or {vm:run_async("sleep 1000"), vm:open_file("/tmp/held", {read = true})}
    if run > 1 then
      t:assert_eq(kept[1]:status(), {running = false})
      t:assert_contains(t:assert_raises(function() kept[2]:read(1) end), "the guest of then is gone")
    end
  end)
end
