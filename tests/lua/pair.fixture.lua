-- Two guests, saved at one instant.

local one = provium:vm("one", "small")
local two = provium:vm("two", "small")
provium:boot()
one:write_file("/run/name", "one")
two:write_file("/run/name", "two")
return provium:snapshot()
