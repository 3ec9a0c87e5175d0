-- Shared: the stream of sealed batches. Takes no KEYS and no ARGV of its own. Needs clock.lua,
-- counters.lua, as_left.lua and dead_letters.lua.
--
-- The counters of the stream are those of the last script that changed it. When they do not fit it
-- any more, a foreign hand was in between: it is counted anew.

local GROUP = 'drain'
local NOBODY = 'released' -- the consumer that holds released batches: no ack of a worker fits it
local MOST_SET_ASIDE = 100
local LARGEST_ID = '18446744073709551615-18446744073709551615'

-- The value behind a name in a list of names and values, as streams and XINFO have them, or nil.
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
  return nil
end

-- The events of an entry and their number, or nil when a foreign client put it there.
local function contents(entry)
  local events, count = field(entry[2], 'events'), whole(field(entry[2], 'count'))
  if events and count and whole(field(entry[2], 'opened')) then return events, count end
  return nil
end

-- Deliveries that are not acknowledged, as XPENDING lists them; none when there is no group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end

-- Whether the worker holds this delivery of the batch, and not a later one.
local function is_held(batches, consumer, id, deliveries)
  local held = deliveries_of(batches, id, id, 1, consumer)[1]
  return held ~= nil and held[4] == deliveries
end

-- Makes the stream and its group where they are missing. From 0: it delivers all that is there.
local function ensure_group(batches)
  if redis.pcall('XPENDING', batches, GROUP).err then
    redis.call('XGROUP', 'CREATE', batches, GROUP, '0', 'MKSTREAM')
  end
end

-- Calls visit(entry, is_claimed) for each entry, oldest first, until it returns true.
local function each_entry(batches, portion, visit)
  local claimed = {}
  local total = deliveries_of(batches)[1] or 0
  if total > 0 then
    for _, held in ipairs(deliveries_of(batches, '-', '+', total)) do
      if held[2] ~= NOBODY then claimed[held[1]] = true end
    end
  end
  local from = '-'
  while true do
    local entries = redis.call('XRANGE', batches, from, '+', 'COUNT', portion)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      -- Behind the largest id there is, Redis refuses to look.
      if visit(entry, claimed[entry[1]]) or entry[1] == LARGEST_ID then return end
      from = '(' .. entry[1]
    end
  end
end

-- What the stream holds, as sealed_as_left() tells it. Writes nothing.
local function count_sealed(batches)
  local held = { sealed = 0, claimed = 0, bytes = 0, entries = redis.call('XLEN', batches) }
  each_entry(batches, 16, function(entry, is_claimed)
    local events, count = contents(entry)
    if events then
      local state = is_claimed and 'claimed' or 'sealed'
      held[state] = held[state] + count
      held.bytes = held.bytes + #events
    end
  end)
  return held
end

local function look_sealed(batches, stats)
  return sealed_as_left(batches, stats) or count_sealed(batches)
end

local function remember_sealed(batches, stats, held)
  redis.call('HSET', stats, 'sealed', held.sealed, 'claimed', held.claimed,
    'sealed_bytes', held.bytes, 'sealed_batches', redis.call('XLEN', batches))
end

-- Returns 1, or 0 when somebody has deleted the entry already.
local function remove(batches, attempts, id)
  redis.call('XACK', batches, GROUP, id)
  redis.call('HDEL', attempts, id)
  return redis.call('XDEL', batches, id)
end

-- Moves an entry that is no batch to the dead letters, whole.
local function set_aside(batches, dead, stats, attempts, entry)
  add_dead_letter(dead, stats, table.concat(entry[2], ' '),
    'The stream of sealed batches held an entry that is no batch.', entry[1], 0)
  remove(batches, attempts, entry[1])
end
