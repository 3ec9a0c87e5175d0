-- Shared: takes dead letters out of their groups.
-- @needs counters fields has_letter letter_groups numbers remember_group

-- Notes a letter that is removed, in a table of lists of ids by the shapes of their groups. Letters
-- of older versions of this app have no group.
local function note_left(left, letter)
  local shape = field(letter[2], 'group') or ''
  if shape ~= '' then
    left[shape] = left[shape] or {}
    table.insert(left[shape], letter[1])
  end
end

-- Removes groups without letters: another client has removed the letters.
local function forget_groups(stats)
  local values = redis.call('HGETALL', stats)
  for i = 1, #values, 2 do
    if string.sub(values[i], 1, #GROUP_FIELD) == GROUP_FIELD then
      redis.call('HDEL', stats, values[i])
    end
  end
  redis.call('HDEL', stats, 'groups')
end

-- The letters that note_left() has noted must be gone.
local function leave_groups(dead, stats, left)
  for shape, ids in pairs(left) do
    local group, number = letter_group(redis.call('HGET', stats, GROUP_FIELD .. shape)), 0
    for _, id in ipairs(group and ids or {}) do
      if has_letter(group, id) then number = number + 1 end
    end
    if group and group.count > number then
      group.count = group.count - number
      remember_group(stats, shape, group)
    else
      bump(stats, 'groups', -redis.call('HDEL', stats, GROUP_FIELD .. shape))
    end
  end
  local is_empty = redis.call('XLEN', dead) == 0
  if is_empty and whole(redis.call('HGET', stats, 'groups')) ~= 0 then forget_groups(stats) end
end
