-- Some of the kernel's own tests, run by the kernel's own script: each of their cases is a result of this file.

local vm = provium:vm_fixture("selftests")

-- By folder, as `make kselftest` runs them.
local programs = {
  core = "close_range_test",
  openat2 = "openat2_test",
  pidfd = "pidfd_fdinfo_test pidfd_getfd_test pidfd_open_test pidfd_setns_test pidfd_wait",
  sigaltstack = "sas",
  syscall_user_dispatch = "sud_test",
}

for folder, names in pairs(programs) do
  test("selftests: " .. folder, {timeout = "60s"}, function(t)
    local ran = vm:run("export BASE_DIR=/selftests; . $BASE_DIR/kselftest/runner.sh; cd $BASE_DIR/" .. folder .. " && run_many " .. names)
    local said = ran.stdout
    local counts = ran:ktap()
    t:log(json.encode(counts))
    -- Each line of a case, whatever became of it, is a result.
    local cases = 0
    for line in said:gmatch("[^\n]+") do
      if line:match("^# ok %d") or line:match("^# not ok %d") then cases = cases + 1 end
    end
    local results = counts.passed + counts.failed + counts.skipped + counts.xfailed
    t:assert(cases > 0)
    t:assert_eq(results, cases)
  end)
end
