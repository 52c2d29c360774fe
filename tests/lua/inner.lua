-- Runs this very command in a test: on a file beside this one, for what it makes of failures, or in a project of its own.

local M = {}

-- The first line that a command says.
local function line(command)
  local run <close> = io.popen(command)
  return run:read("l")
end

-- The folder with the files that `cargo xtask guest` makes, absolute.
function M.guest() return line("cd ../../target/guest && pwd") end

-- Runs a shell line in a folder, in which `$provium` is this command; its exit code, and what it says on stdout and stderr.
function M.shell(folder, command)
  local run = io.popen(("cd %s && provium=/proc/$PPID/exe; { %s; } 2>stderr"):format(folder, command))
  local stdout = run:read("a")
  local _, _, code = run:close()
  local stderr <close> = io.open(folder .. "/stderr")
  return code, stdout, stderr:read("a")
end

-- A project in a folder of its own, which goes with the test: a cache, the profile `small`, and files, name → content. The folder.
function M.project(t, files)
  local folder = line("mktemp -d")
  t:defer(function() os.execute("rm -rf " .. folder) end)
  local guest = M.guest()
  files["provium.toml"] = ([[
    [provium]
    cache_dir = "cache"
    [profiles.small]
    kernel = "%s/vmlinux"
    initrd = "%s/initrd.cpio"
    cmdline = "console=ttyS0 quiet"
    memory = "128M"
  ]]):format(guest, guest)
  for name, content in pairs(files) do
    local file <close> = assert(io.open(folder .. "/" .. name, "w"))
    file:write(content)
  end
  return folder
end

-- The result of a test file, as `--json` has it. `environment` is put before the command: `NAME='value' …`; `options` behind it.
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
