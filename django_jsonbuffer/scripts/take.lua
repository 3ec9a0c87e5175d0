-- Take or discard all pending events: those that are sealed and not claimed, and the open batch.
--
-- Atomic so that no event is taken twice, or after a later event. Events are removed before the
-- caller has them, so they are lost if the reply is lost. Batches that a worker holds, and dead
-- letters, stay.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  appends   HASH of the open batch as it was left, and of the producers
-- KEYS[6]  attempts  HASH of what is remembered of each batch
-- ARGV[1]  counter   the total that counts the events: processed, or purged
-- ARGV[2]  returns   1 to return the events
-- ARGV[3]  limit     most sealed batches of one call; 0 for all
--
-- Returns {foreign, number of events, 1 when the limit was reached, list of JSON arrays, oldest
-- first}. `foreign` is the number of foreign values that became dead letters.

-- @needs adopt counters drops entries foreign_entries look_open look_sealed permissions
-- @needs remember_open remember_sealed remove

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, attempts = KEYS[5], KEYS[6]
local counter, returns, limit = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])

local refusal = missing_permission(open)
if refusal then return refusal end

local batch, held = look_open(open, appends), look_sealed(batches, stats)
-- Keys of another type must fail here, before the first write.
redis.call('XLEN', dead)
redis.call('HLEN', stats)
redis.call('HLEN', attempts)
local ids, foreign_entries, arrays, sealed, bytes = {}, {}, {}, 0, 0
each_entry(batches, 16, function(entry, is_claimed)
  if is_claimed then return false end
  local events, count = contents(entry)
  if events then
    table.insert(ids, entry[1])
    if returns then table.insert(arrays, events) end
    sealed, bytes = sealed + count, bytes + #events
  elseif #foreign_entries < MOST_SET_ASIDE then
    table.insert(foreign_entries, entry)
  end
  return limit > 0 and (#ids == limit or #foreign_entries == MOST_SET_ASIDE)
end)
local is_limited = limit > 0 and (#ids == limit or #foreign_entries == MOST_SET_ASIDE)

-- A full Redis decides at the first write of a script whether the script may run. This script must
-- run, because only draining frees memory. So its first write needs no memory, and removes nothing.
redis.call('PERSIST', open)
local foreign = #foreign_entries
for _, entry in ipairs(foreign_entries) do set_aside(batches, dead, stats, attempts, entry) end
for _, id in ipairs(ids) do remove(batches, attempts, id) end
local total = sealed
if not is_limited then
  if batch.is_foreign then foreign = foreign + 1 end
  adopt(open, dead, appends, stats, batch)
  total = total + batch.count
  if batch.count > 0 then
    if returns then table.insert(arrays, redis.call('GET', open)) end
    redis.call('DEL', open)
    batch.count, batch.bytes, batch.opened, batch.origin = 0, 0, nil, nil
    remember_open(open, appends, stats, batch)
  end
end
if foreign + #ids > 0 then
  held.sealed, held.bytes = held.sealed - sealed, held.bytes - bytes
  remember_sealed(batches, stats, held)
end
if counter == 'purged' then drop(stats, counter, total) else bump(stats, counter, total) end
return { foreign, total, is_limited and 1 or 0, arrays }
