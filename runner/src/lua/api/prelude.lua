-- The few things that must be Lua: raising a plain string from a frame of Lua's own, so that `pcall` gives a test
-- a string it can search, and looking a key up without leaving Lua.

local error, setmetatable = error, setmetatable
local isyieldable, yield = coroutine.isyieldable, coroutine.yield
local prelude = {}

-- `look(may_block)` is called until it returns true, then once more without an argument, whatever ended the wait: a
-- result, an error or `coroutine.close`. Only Lua can yield from here.
local function wait(look)
  local leave <close> = setmetatable({}, {__close = function() look() end})
  while not look(not isyieldable()) do
    yield()
  end
end

local function settle(ok, ...)
  if ok then
    return ...
  elseif ok == nil then
    return wait(...)
  end
  error((...), 0)
end

-- `raw` returns true and its results, or false and the value to raise, or nil and what to wait for.
function prelude.wrap(raw)
  return function(...)
    return settle(raw(...))
  end
end

function prelude.index(methods, fields, missing)
  return function(self, key)
    local method = methods[key]
    if method then
      return method
    end
    local get = fields[key]
    if get then
      return get(self)
    end
    return missing(self, key)
  end
end

return prelude
