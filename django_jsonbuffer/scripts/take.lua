-- Take all that is pending, or discard it: what is sealed and not claimed, and the open batch.
--
-- Atomic so that no event is taken twice or overtaken. Events are removed before their taker has
-- them: at most once. Batches that a worker holds, and dead letters, stay.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what became of each batch so far
-- ARGV[1]  counter  what to count the events as: processed, or purged
-- ARGV[2]  returns  1 to return the events
-- ARGV[3]  limit    most sealed batches of one call; 0 for all
--
-- Returns {rubbish, number of events, 1 when the limit was reached, list of JSON arrays}, oldest
-- first: `rubbish` is the number of values that were set aside as dead letters.
-- @include clock.lua counters.lua as_left.lua dead_letters.lua sealed_batches.lua open_batch.lua

local open, batches, dead, stats, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local counter, returns, limit = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])

local batch, held = look(open, stats), look_sealed(batches, stats)
redis.call('XLEN', dead)
redis.call('HLEN', attempts)
local ids, foreign, arrays, sealed, bytes = {}, {}, {}, 0, 0
each_entry(batches, 16, function(entry, is_claimed)
  if is_claimed then return false end
  local events, count = contents(entry)
  if events then
    table.insert(ids, entry[1])
    if returns then table.insert(arrays, events) end
    sealed, bytes = sealed + count, bytes + #events
  elseif #foreign < MOST_SET_ASIDE then
    table.insert(foreign, entry)
  end
  return limit > 0 and (#ids == limit or #foreign == MOST_SET_ASIDE)
end)
local is_limited = limit > 0 and (#ids == limit or #foreign == MOST_SET_ASIDE)

-- A write that needs no memory, and nothing from the key: a full server decides at the first write
-- of a script whether it may run, and this one must, since only draining frees memory.
redis.call('PERSIST', open)
local rubbish = #foreign
for _, entry in ipairs(foreign) do set_aside(batches, dead, stats, attempts, entry) end
for _, id in ipairs(ids) do remove(batches, attempts, id) end
local total = sealed
if not is_limited then
  if batch.rubbish then rubbish = rubbish + 1 end
  adopt(open, dead, stats, batch)
  total = total + batch.count
  if batch.count > 0 then
    if returns then table.insert(arrays, redis.call('GET', open)) end
    redis.call('DEL', open)
    remember(open, stats, { count = 0, bytes = 0 })
  end
end
if rubbish + #ids > 0 then
  held.sealed, held.bytes = held.sealed - sealed, held.bytes - bytes
  remember_sealed(batches, stats, held)
end
if counter == 'purged' then drop(stats, counter, total) else bump(stats, counter, total) end
return { rubbish, total, is_limited and 1 or 0, arrays }
