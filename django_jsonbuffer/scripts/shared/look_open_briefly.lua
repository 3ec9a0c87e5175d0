-- Shared: what the open batch holds, unless it would take a script long to find out.
-- @needs open_as_left read_open

local LONGEST_READ = 16 * 1024 -- bytes whose events a script counts within a few ms

-- Returns the table of look_open(), or nil when the open batch is longer and not as the last script
-- left it. `noted` is the table of noted_open(). Writes nothing.
local function look_open_briefly(open, noted)
  local batch = open_as_left(open, noted)
  if batch or redis.call('GETRANGE', open, LONGEST_READ, LONGEST_READ) ~= '' then return batch end
  return read_open(open, noted)
end
