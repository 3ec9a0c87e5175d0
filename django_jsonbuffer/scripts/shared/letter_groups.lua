-- Shared: reads the groups of dead letters. A group has the letters whose errors have the same shape.
-- @needs numbers

local GROUP_FIELD = 'group:' -- and the shape: the names of the fields of `stats`

-- What is known of a group, from the value of its field. Returns a table, or nil when there is none:
--   count   how many letters it has
--   first   id of its first letter, which may be gone
--   last    id of its last letter, which may be gone
--   raised  'x' when the error of its first letter is an exception, else ''
local function letter_group(text)
  local count, first, last, raised =
    string.match(text or '', '^(%d+) (%d+%-%d+) (%d+%-%d+) (x?)$')
  count = whole(count)
  return count and { count = count, first = first, last = last, raised = raised }
end
