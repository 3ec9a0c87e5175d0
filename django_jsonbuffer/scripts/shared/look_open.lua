-- Shared: what the open batch holds, from the counters, or else by reading all of it.
-- @needs open_as_left read_open

-- Returns the table of open_as_left() or of read_open(), never nil. Writes nothing.
local function look_open(open, stats)
  return open_as_left(open, stats) or read_open(open, stats)
end
