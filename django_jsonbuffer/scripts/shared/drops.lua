-- Shared: counts dropped events.
-- @needs counters

-- Adds to the total of all drops, and to the total of this reason.
local function drop(stats, reason, by)
  bump(stats, 'dropped', by)
  bump(stats, 'dropped_' .. reason, by)
end
