-- What the page for beginners says is typed, is typed here, one line after the other, and answers as the page shows.

provium.timeout = "120s"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

local page = read("../../docs/getting-started/first-test.md")

-- The page's blocks of a language.
local function blocks(language)
  local found = {}
  for block in page:gmatch("\n```" .. language .. "\n(.-)\n```") do found[#found + 1] = block end
  return found
end

local function new_folder(t)
  local made <close> = io.popen("mktemp -d")
  local folder = made:read("l")
  t:defer(function() os.execute("rm -rf " .. folder) end)
  return folder
end

-- Runs this very command there; what it says.
local function provium_in(folder, arguments)
  local run = io.popen(("cd %s && exec /proc/$PPID/exe %s 2>&1"):format(folder, arguments))
  local text = run:read("a")
  return text, (run:close())
end

test("its commands do what it says", function(t)
  local folder, typed = new_folder(t), {}
  for _, block in ipairs(blocks("console")) do
    for line, shown in (block .. "\n$ "):gmatch("%$ (%C+)\n(.-)%f[$\0]") do
      local arguments = line:match("^provium%s*(.*)$")
      if line:find("^cd ") then
        folder = folder .. "/" .. line:sub(4)
      elseif arguments then
        if arguments:find("second") then
          -- As the reader is told to change it.
          local source = blocks("lua")[1]:gsub('stdout, "hello\\n"', 'stdout, "goodbye\\n"', 1)
          write(folder .. "/tests/second.test.lua", source .. "\n")
        end
        local text = provium_in(folder, arguments)
        local first = shown:match("^%C*")
        t:assert_contains(text, first, line)
        typed[#typed + 1] = line
      end
    end
  end
  t:assert_eq(typed, {"provium doctor", "provium init first", "provium", "provium tests/second.test.lua"})
end)

test("its project is the one that is made, and passes on Debian's kernel", function(t)
  local folder = new_folder(t)
  provium_in(folder, "init --kernel guest:debian")
  local shown, made = blocks("toml")[1], read(folder .. "/provium.toml")
  local keys = function(text) return (text:gsub("#%C*", ""):gsub("%s+", " ")) end
  t:assert_eq(keys(made), keys(shown .. "\n"))
  local text, passed = provium_in(folder, "-v")
  t:assert(passed, text)
  t:assert_contains(text, "-cloud-amd64")
end)
