-- The few things that must be Lua: raising a plain string from a frame of Lua's own, so that `pcall` gives a test
-- a string it can search, and looking a key up without leaving Lua.

local error = error
local prelude = {}

local function settle(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

-- `raw` returns true and its results, or false and the value to raise.
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
