-- Tell how the bucket stands.
--
-- Atomic so that its figures are of one moment and agree with each other.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  dead     STREAM of dead letters
-- KEYS[4]  stats    HASH of the bucket's counters
-- KEYS[5]  workers  HASH of the workers, and when each was last heard of
--
-- Returns {events in the open batch, events sealed and not claimed, events claimed, batches, bytes
-- in them, dead letters, ms that the oldest pending event has waited or -1, workers, events lost in
-- all, and dropped as the newest, dropped as the oldest, purged, discarded}. Writes nothing.
-- @include clock.lua counters.lua dead_letters.lua sealed_batches.lua open_batch.lua workers.lua

local open, batches, dead, stats, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- The oldest entry that no worker holds. A released one is older than any never delivered.
local function oldest_pending()
  for _, released in ipairs(deliveries_of(batches, '-', '+', 100, NOBODY)) do
    local entry = redis.call('XRANGE', batches, released[1], released[1])[1]
    if entry then return entry end -- or somebody deleted it
  end
  local from = '-'
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', batches)) do
    if field(info, 'name') == GROUP then from = '(' .. field(info, 'last-delivered-id') end
  end
  return redis.call('XRANGE', batches, from, '+', 'COUNT', 1)[1]
end

local function total(name)
  return whole(redis.call('HGET', stats, name)) or 0
end

local batch, held = look(open, stats), look_sealed(batches, stats)
local opened = batch.opened
if held.entries > 0 then
  local entry = oldest_pending()
  opened = entry and whole(field(entry[2], 'opened')) or opened
end
return {
  batch.count, held.sealed, held.claimed, held.entries + (batch.count > 0 and 1 or 0),
  held.bytes + batch.bytes, redis.call('XLEN', dead),
  opened and math.max(0, now_ms() - opened) or -1, count_workers(workers),
  total('lost'), total('dropped_newest'), total('dropped_oldest'), total('dropped_purged'),
  total('dropped_discarded'),
}
