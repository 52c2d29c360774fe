-- Signals at random moments of runs on real guests: while a fixture is built, while guests resume, run, are reset and end.
-- Each leaves a report and nothing else: no process, no temporary file, no lock, no damage to the cache.

provium.timeout = "600s"

local inner = require("inner")
local ROUNDS = 30

-- What a command says on stdout.
local function said(command)
  local run <close> = io.popen(command)
  return run:read("a")
end

-- Five files of ten tests on one fixture.
local function project(t)
  local files = {
    ["base.fixture.lua"] = [[
      local vm = provium:vm("base", "small"):boot()
      vm:run("echo built > /run/mark"):assert_ok()
      return vm:snapshot()
    ]],
  }
  for _, name in ipairs({"a", "b", "c", "d", "e"}) do
    files[name .. ".test.lua"] = [[
      provium.reset_between_tests = true
      local vm = provium:vm_fixture("base")
      for i = 1, 10 do
        test("t" .. i, function(t)
          t:assert_eq(vm:run("cat /run/mark; rm /run/mark"):out(), "built")
          io.tmpfile():write("kept until the end")
        end)
      end
    ]]
  end
  local folder = inner.project(t, files)
  os.execute("mkdir " .. folder .. "/tmp")
  return folder
end

local function read(path)
  local file <close> = io.open(path)
  return file:read("a")
end

-- Runs the project, with a signal after so many seconds if one is given: its exit code, report and stderr.
local function run(folder, signal, moment)
  local cut = signal and ("timeout --foreground --preserve-status -s %s %.3f "):format(signal, moment) or ""
  local code = said(([[exe=$(readlink /proc/$PPID/exe); cd %s; TMPDIR=%s/tmp %s$exe --accel kvm -j2 >out 2>err; echo $?]])
    :format(folder, folder, cut))
  return tonumber(code), read(folder .. "/out"), read(folder .. "/err")
end

-- Processes that work in the folder.
local function processes(folder)
  return said(([[for cwd in /proc/[0-9]*/cwd; do [ "$(readlink $cwd)" = %s ] && echo $cwd; done]]):format(folder))
end

test("each leaves a report, and nothing else", {timeout = "590s"}, function(t)
  local folder = project(t)
  local code, report, err
  -- Seconds that all of it takes: with the fixture to be built, and with the fixture there.
  local whole = {}
  for _, built in ipairs({false, true}) do
    code, report, err = run(folder)
    t:assert_eq(code, 0, report .. err)
    t:assert_contains(report, "50 passed, 0 failed")
    whole[built] = tonumber(report:match("([%d.]+) s\n*$"))
  end
  t:log(("the whole of it: %.1f s, then %.1f s"):format(whole[false], whole[true]))
  local seen = {}
  for round = 1, ROUNDS do
    local built = round % 3 > 0
    if not built then os.execute("rm -rf " .. folder .. "/cache") end
    local signal, moment = ({"INT", "TERM", "HUP"})[math.random(3)], math.random() * whole[built]
    code, report, err = run(folder, signal, moment)
    local context = ("%s after %.3f s: %s, %s%s"):format(signal, moment, code, report, err)
    seen[code] = (seen[code] or 0) + 1
    if code == 0 then
      t:assert_contains(report, "50 passed, 0 failed", context)
    elseif code == 130 then
      -- Before the first file begins there is nothing to report.
      local whole_report = report:match("%d file%(s%); %d+ passed, 0 failed, [^\n]*\n*$")
      t:assert(whole_report ~= nil or (report == "" and moment < 1), context)
    else
      -- It came before the program could be told.
      t:assert(code > 128 and report == "", context)
    end
    t:assert_eq(processes(folder), "", context)
    t:assert_eq(said("ls -A " .. folder .. "/tmp"), "", context)
    t:assert_eq(said("ls -A " .. folder .. "/cache/staging 2>/dev/null"), "", context)
  end
  for ended, times in pairs(seen) do t:log(("%d times: exit code %d"):format(times, ended)) end
  t:assert((seen[130] or 0) > ROUNDS / 3, "the signals came while it ran")
  -- What they left of the cache is whole.
  code, report, err = run(folder)
  t:assert_eq(code, 0, report .. err)
  t:assert_contains(report, "50 passed, 0 failed")
end)
