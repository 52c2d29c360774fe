-- What a test file's own code finds in place of `provium` when the file is listed: one value that stands for
-- every handle and for everything that a guest says. It can be called, indexed, set and calculated with, and is
-- itself what comes of it. Reading it as text gives a mark, by which a name that depends on a guest is known.

local mark, in_place = ...

local MOST = 10000
local count, guest, meta = 0, {}, {}

local function once_more()
  count = count + 1
  if count > MOST then
    error("it goes on for as long as a guest says something", 0)
  end
  return guest
end

for _, name in ipairs {
  "call", "concat", "unm", "bnot", "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr",
} do
  meta["__" .. name] = once_more
end
function meta.__index() return once_more() end
function meta.__newindex() once_more() end
function meta.__len() once_more() return 0 end
function meta.__lt() once_more() return false end
function meta.__le() once_more() return false end
function meta.__tostring() once_more() return mark end
meta.__name = "guest"
meta.__close = once_more
setmetatable(guest, meta)

-- `provium` itself: the calls of the classic dialect make the file one that runs its tests at once.
local root = {}
local root_meta = {__call = once_more, __name = "guest"}
function root_meta.__index(_, key)
  if key == "create" or key == "fixture" then in_place() end
  return once_more()
end
function root_meta.__newindex() once_more() end
setmetatable(root, root_meta)

return root, guest
