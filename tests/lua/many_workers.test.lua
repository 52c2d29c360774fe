-- Sixty-four workers of one guest, each with credentials of its own.

provium.timeout = "180s"

local vm = provium:vm_fixture("base")
local SETRESUID, GETRESUID = 117, 118

test("each keeps its own identity while the others change theirs", function(t)
  local workers = {}
  for at = 1, 64 do
    workers[at] = vm:spawn_worker({thread = at % 2 == 0})
  end
  local function check(at, real, effective, saved)
    local r = workers[at]:syscall(GETRESUID, {bufs = {"....", "....", "...."}, ptrs = {0, 1, 2}})
    t:assert_eq(r.ret, 0)
    local got = {}
    for id = 1, 3 do got[id] = string.unpack("I4", r.out_bufs[id]) end
    t:assert_eq(got, {real, effective, saved}, "worker " .. at)
  end
  for at, worker in ipairs(workers) do
    -- The effective id stays root's for now, so that it can change again.
    t:assert_eq(worker:syscall(SETRESUID, 1000 + at, 0, 2000 + at).ret, 0)
    check(at, 1000 + at, 0, 2000 + at)
  end
  for at in ipairs(workers) do check(at, 1000 + at, 0, 2000 + at) end
  for at = 64, 1, -1 do
    t:assert_eq(workers[at]:syscall(SETRESUID, 3000 + at, 4000 + at, 5000 + at).ret, 0)
  end
  -- All at work at the same time, each as who it is.
  local procs = {}
  for at, worker in ipairs(workers) do
    -- A busybox gives up an effective id that is not the real one, so the real one is what it says.
    procs[at] = worker:run_async("id", {"-u"})
  end
  for at in ipairs(workers) do check(at, 3000 + at, 4000 + at, 5000 + at) end
  for at, proc in ipairs(procs) do
    t:assert_eq(proc:wait("60s").stdout, (3000 + at) .. "\n", "worker " .. at)
  end
  for at, worker in ipairs(workers) do
    t:assert_eq(worker:syscall(SETRESUID, 0, 0, 0).errno, 1, "nobody gets back to root")
    check(at, 3000 + at, 4000 + at, 5000 + at)
  end
  t:assert_eq(vm:run("id -u").stdout, "0\n")
end)

test("none of them is left", function(t)
  t:assert(vm:is_quiescent())
  t:assert_eq(vm:run("echo here").stdout, "here\n")
end)
