-- Shared: what the open batch holds, from what is noted, or else by reading all of it.
-- @needs noted_open open_as_left read_open

-- Returns the table of open_as_left() or of read_open(), never nil. Writes nothing.
local function look_open(open, appends)
  local noted = noted_open(appends)
  return open_as_left(open, noted) or read_open(open, noted)
end
