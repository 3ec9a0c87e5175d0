-- Tell how the bucket stands.
--
-- Atomic so that its figures are of one moment and agree with each other.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what became of each batch so far
-- KEYS[6]  workers   HASH of the workers, and when each was last heard of
-- KEYS[7]  history   LIST of samples of how the bucket stood
-- KEYS[8]  paused    STRING, since when (ms) the bucket is paused
--
-- Returns events in the open batch, sealed and not claimed, claimed; batches, those claimed; bytes in
-- them; dead letters; ms that the oldest pending event has waited, or -1; workers; ms that the bucket
-- has been paused, or -1; batches that have failed and not succeeded since, of 100 at the most, and
-- how often the oldest of them was delivered; ms since the newest sample, or -1; ms since the one before, or else
-- the newest, and the totals appended and processed then, or -1; the totals appended, processed,
-- buried, replayed, lost, and dropped as the newest, dropped as the oldest, purged, discarded; and the
-- kind of the error that the oldest failing batch last failed with. Writes nothing.
-- @include clock.lua counters.lua as_left.lua attempts.lua dead_letters.lua sealed_batches.lua undelivered.lua open_batch.lua workers.lua history.lua

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local attempts, workers, history, paused = KEYS[5], KEYS[6], KEYS[7], KEYS[8]

local now = now_ms()
local function ms_since(ms) return ms and math.max(0, now - ms) or -1 end

-- Since when the oldest event waits of those that are sealed and that no worker holds, or nil. A released
-- batch is older than any never delivered, except for halves.
local function oldest_sealed()
  local entry = first_undelivered(batches)
  local halves_opened = entry and oldest_halves(stats, entry[1])
  for _, released in ipairs(deliveries_of(batches, '-', '+', 100, NOBODY)) do
    local found = redis.call('XRANGE', batches, released[1], released[1])[1]
    if found then -- or somebody deleted it
      entry = found
      break
    end
  end
  local opened = entry and whole(field(entry[2], 'opened'))
  return opened and halves_opened and math.min(opened, halves_opened) or opened
end

-- How many batches workers hold, how many have failed, how often the oldest of these was delivered,
-- and what it last failed with.
local function deliveries()
  local summary = deliveries_of(batches)
  local held, failing, times, error = summary[1] or 0, 0, 0, ''
  for _, consumer in ipairs(summary[4] or {}) do
    if consumer[1] == NOBODY then held = held - consumer[2] end
  end
  for _, delivery in ipairs((summary[1] or 0) > 0 and deliveries_of(batches, '-', '+', 100) or {}) do
    local past = attempts_at(attempts, delivery[1])
    if past.error ~= '' or past.deaths > 0 then
      if failing == 0 then times, error = delivery[4], past.error end
      failing = failing + 1
    end
  end
  return held, failing, times, error
end

local batch, held = look(open, stats), look_sealed(batches, stats)
redis.call('HLEN', attempts)
local opened, claimed, failing, times, error = batch.opened, 0, 0, 0, ''
if held.entries > 0 then
  opened = oldest_sealed() or opened
  claimed, failing, times, error = deliveries()
end
local paused_ms = redis.call('GET', paused)
local newest = sample_at(history, -1)
local before = sample_at(history, -2) or newest
return {
  batch.count, held.sealed, held.claimed, held.entries + (batch.count > 0 and 1 or 0), claimed,
  held.bytes + batch.bytes, redis.call('XLEN', dead), ms_since(opened), count_workers(workers),
  ms_since(paused_ms and (whole(paused_ms) or now)), failing, times, ms_since(newest and newest.ms), ms_since(before and before.ms),
  before and before.appended or -1, before and before.processed or -1,
  total(stats, 'appended'), total(stats, 'processed'), total(stats, 'buried'),
  total(stats, 'replayed'), total(stats, 'lost'), total(stats, 'dropped_newest'),
  total(stats, 'dropped_oldest'), total(stats, 'dropped_purged'), total(stats, 'dropped_discarded'),
  error,
}
