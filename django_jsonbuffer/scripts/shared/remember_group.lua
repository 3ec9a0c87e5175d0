-- Shared: stores a group of dead letters.
-- @needs letter_groups

-- `group` has the fields that letter_group() returns.
local function remember_group(stats, shape, group)
  redis.call('HSET', stats, GROUP_FIELD .. shape, string.format('%.0f %s %s %s', group.count,
    group.first, group.last, group.raised))
end
