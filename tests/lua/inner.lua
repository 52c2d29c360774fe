-- Runs a test file by this very command, for tests of what it makes of failures: its result, as `--json` has it.

local M = {}

-- `environment` is put before the command: `NAME='value' …`; `options` behind it.
function M.result(file, environment, options)
  local run = io.popen(("%s exec /proc/$PPID/exe --json --accel kvm %s %s 2>&1"):format(environment or "", options or "", file))
  local text = run:read("a")
  run:close()
  return json.decode(text:match('{"path"[^\n]+') or error(text))
end

-- The results of its tests, by their names.
function M.tests(file, environment, options)
  local found = {}
  for _, test in ipairs(M.result(file, environment, options).tests) do found[test.name] = test end
  return found
end

return M
