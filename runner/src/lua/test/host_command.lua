-- What `io.popen` returns is a file of Lua's own. Only closing it is different: it waits for the command.

local meta, waits = getmetatable(io.stderr), setmetatable({}, {__mode = "k"})
local methods = meta.__index

local function and_wait(close)
  return function(file, ...)
    local wait = file ~= nil and waits[file]
    if not wait then
      return close(file, ...)
    end
    waits[file] = nil
    close(file)
    return wait()
  end
end

methods.close = and_wait(methods.close)
meta.__close = and_wait(meta.__close)

function io.close(file)
  if file == nil then
    file = io.output()
  end
  return methods.close(file)
end

return waits
