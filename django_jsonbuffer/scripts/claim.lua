-- Claim one batch: the batch that this worker holds already. If it holds none, and the bucket is
-- not paused: the oldest batch whose lease has run out or whose backoff is over; else the oldest
-- sealed batch that was never delivered; else the open batch, if it is old enough.
--
-- Atomic so that no two workers ever hold one batch under valid leases. Repeatable: a worker that got
-- no reply claims the same batch again. A lease that ran out counts as the death of its worker.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of each batch's failures, deaths and outages
-- KEYS[6]  paused    STRING, since when (ms) the bucket is paused
-- ARGV[1]  worker     name of the worker
-- ARGV[2]  lease_ms   how long a claim holds
-- ARGV[3]  linger_ms  how old an open batch must be to be sealed; -1 leaves it open
-- ARGV[4]  after      where to begin among the batches that were delivered before: '-' for the
--                     oldest, or '(' and an id for batches behind this id. A drain passes the id
--                     that it claimed last, so that it claims no batch twice
-- ARGV[5]  token      field of the batch that this call seals
--
-- Returns {foreign, id, attempt, count, events, failures, deaths, outages}. `foreign` is the number of
-- foreign values that became dead letters. The other values are absent when nothing was claimed. If
-- nothing was claimed and `foreign` is not 0, call again: one call sets aside a limited number of
-- foreign values. `attempt` is the number of this delivery, from 1.

-- @needs attempts clock ensure_group entries foreign_entries group look_open look_sealed open_batch
-- @needs permissions remember_attempts remember_sealed remove sealing

local open, batches, dead, stats, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local paused = KEYS[6]
local worker, lease_ms, linger_ms, after = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local token = ARGV[5]

local refusal = missing_permission(open)
if refusal then return refusal end

local batch = linger_ms >= 0 and look_open(open, stats) or { count = 0 }
local held = look_sealed(batches, stats)
local foreign = batch.is_foreign and 1 or 0
-- Keys of another type must fail here, before the first write.
redis.call('XLEN', dead)
redis.call('HLEN', attempts)

-- The reply for an entry that this worker holds. Or nil when the entry was not a batch: then it has
-- become a dead letter.
local function claimed(entry, attempt, was_claimed, has_died)
  local events, count = contents(entry)
  if not events then
    set_aside(batches, dead, stats, attempts, entry)
    foreign = foreign + 1
    return nil
  end
  if not was_claimed then
    held.sealed, held.claimed = held.sealed - count, held.claimed + count
  end
  local past = attempts_at(attempts, entry[1])
  past.claimed_ms = now_ms()
  if has_died then
    past.deaths, past.first_ms = past.deaths + 1, past.first_ms or past.claimed_ms
  end
  remember_attempts(attempts, entry[1], past)
  return { foreign, entry[1], attempt, count, events, past.failures, past.deaths, past.outages }
end

local function claim_delivered(is_own, ...)
  while foreign < MOST_SET_ASIDE do
    local found = deliveries_of(batches, ...)[1]
    if not found then return nil end
    local id, holder, deliveries = found[1], found[2], found[4]
    local entry = redis.call('XRANGE', batches, id, id)[1]
    local reply
    if not entry then
      remove(batches, attempts, id) -- another client deleted it
    elseif is_own then
      redis.call('XCLAIM', batches, GROUP, worker, 0, id, 'JUSTID')
      reply = claimed(entry, deliveries, true, false)
    else
      redis.call('XCLAIM', batches, GROUP, worker, 0, id)
      reply = claimed(entry, deliveries + 1, holder ~= NOBODY, holder ~= NOBODY)
    end
    if reply then return reply end
  end
end

local function claim_sealed()
  while foreign < MOST_SET_ASIDE do
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1,
      'STREAMS', batches, '>')
    if not read then return nil end
    local reply = claimed(read[1][2][1], 1, false, false)
    if reply then return reply end
  end
end

local function has_lingered()
  local age = batch.count > 0 and now_ms() - batch.opened
  -- A negative age: the clock of Redis was set back, perhaps by a long time. So do not wait.
  return age and (age >= linger_ms or age < 0)
end

local is_paused = redis.call('GET', paused) ~= false
local lingered = not is_paused and has_lingered()
if not (held.entries > 0 or lingered or batch.text) then return { 0 } end

-- A full Redis decides at the first write of a script whether the script may run. This script must
-- run, because only draining frees memory. So its first write needs no memory, and removes nothing.
redis.call('PERSIST', open)
adopt(open, dead, stats, batch)

local reply
if held.entries > 0 then
  ensure_group(batches)
  reply = claim_delivered(true, '-', '+', 1, worker)
  if not reply and not is_paused then
    reply = claim_delivered(false, 'IDLE', lease_ms, after, '+', 1) or claim_sealed()
  end
end
if not reply and lingered and foreign < MOST_SET_ASIDE then
  local refusal = seal(open, batches, batch, held, token)
  if refusal then return refusal end
  remember_open(open, stats, batch)
  reply = claim_sealed()
end
if reply or foreign > 0 then remember_sealed(batches, stats, held) end
return reply or { foreign }
