-- Split a claimed batch: replace it by its two halves, so that the event that fails can be found.
--
-- Atomic so that every event is in the batch or in one of the halves, never in both. A copy of the
-- call that arrives later finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches    STREAM of sealed batches
-- KEYS[2]  stats      HASH of the bucket's counters
-- KEYS[3]  attempts   HASH of each batch's failures, deaths and outages
-- ARGV[1]  worker     name of the worker that holds the lease
-- ARGV[2]  id         id of the batch
-- ARGV[3]  attempt    number of the delivery that the worker holds, from 1
-- ARGV[4]  last       last byte of the first half
-- ARGV[5]  following  first byte of the second half
-- ARGV[6]  left       events of the first half
-- ARGV[7]  right      events of the second half
-- ARGV[8]  failures   that both halves begin with
-- ARGV[9]  deaths     that both halves begin with
-- ARGV[10] outages    that both halves begin with
-- ARGV[11] error      class of the exception that the batch failed with
--
-- Returns {id of the second half}, or an empty list when another worker holds the lease or the batch
-- is gone.

-- @needs attempts entries leases look_sealed numbers permissions remember_attempts remember_sealed
-- @needs remove undelivered

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, id, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local last, following = tonumber(ARGV[4]), tonumber(ARGV[5])
local left, right = tonumber(ARGV[6]), tonumber(ARGV[7])
local failures, deaths, outages, error = ARGV[8], ARGV[9], ARGV[10], ARGV[11]

local refusal = missing_permission(batches)
if refusal then return refusal end

if not is_held(batches, worker, id, attempt) then return {} end
local entry = redis.call('XRANGE', batches, id, id)[1]
if not entry then return {} end
local events, count = contents(entry)
local opened = field(entry[2], 'opened')
local held, first = look_sealed(batches, stats), first_undelivered(batches)
local halves_opened = first and oldest_halves(stats, first[1])
local past = {
  failures = failures, deaths = deaths, outages = outages,
  first_ms = attempts_at(attempts, id).first_ms, error = error,
}

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', batches)
local newest
for _, half in ipairs({
  { string.sub(events, 1, last) .. ']', left },
  { '[' .. string.sub(events, following), right },
}) do
  newest = redis.call('XADD', batches, '*', 'events', half[1], 'count', half[2], 'opened', opened)
  remember_attempts(attempts, newest, past)
  held.sealed, held.bytes = held.sealed + half[2], held.bytes + #half[1]
end
remove(batches, attempts, id)
redis.call('HSET', stats, 'split_last', newest,
  'split_opened', math.min(whole(opened) or 0, halves_opened or math.huge))
held.claimed, held.bytes = held.claimed - count, held.bytes - #events
remember_sealed(batches, stats, held)
return { newest }
