-- Look at the oldest pending events, and leave them where they are.
--
-- Atomic so that what it shows was pending all at one moment.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  stats    HASH of the bucket's counters
-- ARGV[1]  limit    events that the caller wants
--
-- Returns as many JSON arrays, oldest first, as hold that many events. Writes nothing.
-- @include clock.lua counters.lua dead_letters.lua sealed_batches.lua open_batch.lua

local open, batches, stats = KEYS[1], KEYS[2], KEYS[3]
local limit = tonumber(ARGV[1])

local arrays, total = {}, 0
each_entry(batches, 1, function(entry, is_claimed)
  local events, count = contents(entry)
  if events and not is_claimed then
    table.insert(arrays, events)
    total = total + count
  end
  return total >= limit
end)
if total < limit and look(open, stats).count > 0 then
  table.insert(arrays, redis.call('GET', open))
end
return arrays
