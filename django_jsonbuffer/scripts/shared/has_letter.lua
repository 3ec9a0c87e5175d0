-- Shared: which dead letters are counted in a group.

-- Whether the letter with this id is counted in the group. If the counters were lost, letters that
-- are older than the first one are not, although their errors have the same shape.
local function has_letter(group, id)
  local ms, number = string.match(id, '^(%d+)%-(%d+)$')
  local first_ms, first_number = string.match(group.first, '^(%d+)%-(%d+)$')
  local ahead = tonumber(ms) - tonumber(first_ms)
  return ahead > 0 or (ahead == 0 and tonumber(number) >= tonumber(first_number))
end
