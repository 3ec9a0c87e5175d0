-- Shared: puts a dead letter into the group of its error.
-- @needs counters error_shape letter_groups numbers remember_group

local MOST_GROUPS = 100

local latest_error, latest_shape = nil, nil -- the letters of one call often have the same error

-- The shape of the error, and its group; or nil for the group when there is none yet. The shape is ''
-- when there are too many groups.
local function group_to_join(stats, error)
  if error ~= latest_error then latest_error, latest_shape = error, error_shape(error) end
  if latest_shape == '' then return '', nil end
  local known = redis.call('HMGET', stats, GROUP_FIELD .. latest_shape, 'groups')
  local group = letter_group(known[1])
  if not group and (whole(known[2]) or 0) >= MOST_GROUPS then return '', nil end
  return latest_shape, group
end

-- `shape` and `group` are the results of group_to_join().
local function join_group(stats, shape, group, id, was_raised)
  if shape == '' then return end
  if not group then
    group = { count = 0, first = id, raised = was_raised and 'x' or '' }
    bump(stats, 'groups', 1)
  end
  group.count, group.last = group.count + 1, id
  remember_group(stats, shape, group)
end
