-- Functions of Lua's own as a state has them whose code can be ended from outside. Lua runs a message handler, a
-- finalizer, and `__close` of a coroutine that the ending error has killed, with its hooks off: nothing would end a loop
-- in one of those. A handler is called after the error, a finalizer in a coroutine, which has hooks of its own, and a
-- coroutine's body in `pcall`, which closes its variables with the hooks on.

local error, pcall, rawget, select, type = error, pcall, rawget, select, type
local raw_setmetatable = setmetatable
local create, wrap = coroutine.create, coroutine.wrap
local guards = {}

local function check(value, wanted, at, name)
  if type(value) ~= wanted then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(at, name, wanted, type(value)), 3)
  end
end

local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  return false, (select(2, pcall(handler, ...)))
end

function guards.xpcall(body, handler, ...)
  check(handler, "function", 2, "xpcall")
  return handled(handler, pcall(body, ...))
end

local function passed(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

local function guarded(body)
  return function(...)
    return passed(pcall(body, ...))
  end
end

function guards.create(body)
  check(body, "function", 1, "create")
  return create(guarded(body))
end

function guards.wrap(body)
  check(body, "function", 1, "wrap")
  return wrap(guarded(body))
end

-- Finalizers that are guarded already: a metatable is used more than once.
local known = raw_setmetatable({}, {__mode = "k"})

function guards.setmetatable(value, meta)
  check(value, "table", 1, "setmetatable")
  if meta ~= nil then
    check(meta, "table", 2, "setmetatable")
    local finalizer = rawget(meta, "__gc")
    if type(finalizer) == "function" and not known[finalizer] then
      local function in_coroutine(...)
        return wrap(finalizer)(...)
      end
      known[in_coroutine] = true
      meta.__gc = in_coroutine
    end
  end
  local ok, result = pcall(raw_setmetatable, value, meta)
  if not ok then
    error(result, 2)
  end
  return result
end

-- What `require` returns for a module that returned nothing.
function guards.no_value(name)
  local function refuse()
    error(("require(%q) gave no value: end the file with `return M`"):format(name), 2)
  end
  local function describe()
    return ("module `%s`, which gave no value"):format(name)
  end
  return raw_setmetatable({}, {
    __index = refuse, __newindex = refuse, __call = refuse, __len = refuse, __pairs = refuse, __concat = refuse,
    __tostring = describe, __metatable = false,
  })
end

-- A module's chunk as `require` runs it. One that sets itself in `package.loaded` needs no value.
function guards.module(chunk, loaded)
  return function(name, path)
    local value = chunk(name, path)
    if value == nil and loaded[name] == nil then
      return guards.no_value(name)
    end
    return value
  end
end

return guards
