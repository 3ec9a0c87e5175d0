-- Shared: what the open batch holds, from the counters or else read through.
-- @needs open_as_left read_open

-- Returns what open_as_left() or read_open() returns, and never nil. Writes nothing.
local function look_open(open, stats)
  return open_as_left(open, stats) or read_open(open, stats)
end
