-- Claim one batch: what this worker holds already, else, unless the bucket is paused, the oldest whose
-- lease has run out or whose backoff is over, else the oldest sealed one, else the open batch if it
-- has lingered.
--
-- Atomic so that no two workers ever hold one batch under valid leases. Repeatable: a worker that
-- did not learn what it claimed claims the same again. A lease that ran out counts as the death of
-- its worker.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what became of each batch so far
-- KEYS[6]  paused    STRING, since when (ms) the bucket is paused
-- ARGV[1]  consumer   name of the worker
-- ARGV[2]  lease_ms   how long a claim holds
-- ARGV[3]  linger_ms  how old an open batch must be to be sealed; -1 leaves it open
-- ARGV[4]  after      where to begin: '-', or '(' and the id of a batch
--
-- Returns {rubbish, id, deliveries, count, events, failures, deaths, outages}: `rubbish` is the number
-- of values that were set aside as dead letters; the others are absent when nothing was claimed.
-- After many values of rubbish there may be more to claim.
-- @include clock.lua counters.lua as_left.lua attempts.lua dead_letters.lua sealed_batches.lua open_batch.lua

local open, batches, dead, stats, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local paused = KEYS[6]
local consumer, lease_ms, linger_ms, after = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local batch = linger_ms >= 0 and look(open, stats) or { count = 0 }
local held = look_sealed(batches, stats)
local rubbish = batch.rubbish and 1 or 0
redis.call('XLEN', dead)
redis.call('HLEN', attempts)

-- The reply for an entry that this worker holds, or nil when it was no batch and is gone.
local function claimed(entry, deliveries, was_claimed, has_died)
  local events, count = contents(entry)
  if not events then
    set_aside(batches, dead, stats, attempts, entry)
    rubbish = rubbish + 1
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
  return {
    rubbish, entry[1], deliveries, count, events, past.failures, past.deaths, past.outages,
  }
end

local function claim_delivered(is_own, ...)
  while rubbish < MOST_SET_ASIDE do
    local found = deliveries_of(batches, ...)[1]
    if not found then return nil end
    local id, holder, deliveries = found[1], found[2], found[4]
    local entry = redis.call('XRANGE', batches, id, id)[1]
    local reply
    if not entry then
      remove(batches, attempts, id) -- somebody deleted it
    elseif is_own then
      redis.call('XCLAIM', batches, GROUP, consumer, 0, id, 'JUSTID')
      reply = claimed(entry, deliveries, true, false)
    else
      redis.call('XCLAIM', batches, GROUP, consumer, 0, id)
      reply = claimed(entry, deliveries + 1, holder ~= NOBODY, holder ~= NOBODY)
    end
    if reply then return reply end
  end
end

local function claim_sealed()
  while rubbish < MOST_SET_ASIDE do
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1,
      'STREAMS', batches, '>')
    if not read then return nil end
    local reply = claimed(read[1][2][1], 1, false, false)
    if reply then return reply end
  end
end

local function has_lingered()
  local age = batch.count > 0 and now_ms() - batch.opened
  -- Opened in the future: the server's clock was set back, and may be for long.
  return age and (age >= linger_ms or age < 0)
end

local is_paused = redis.call('GET', paused) ~= false
local lingered = not is_paused and has_lingered()
if not (held.entries > 0 or lingered or batch.text) then return { 0 } end

-- A write that needs no memory, and nothing from the key: a full server decides at the first write
-- of a script whether it may run, and this one must, since only draining frees memory.
redis.call('PERSIST', open)
adopt(open, dead, stats, batch)

local reply
if held.entries > 0 then
  ensure_group(batches)
  reply = claim_delivered(true, '-', '+', 1, consumer)
  if not reply and not is_paused then
    reply = claim_delivered(false, 'IDLE', lease_ms, after, '+', 1) or claim_sealed()
  end
end
if not reply and lingered and rubbish < MOST_SET_ASIDE then
  local stuck = seal(open, batches, batch, held)
  if stuck then return stuck end
  remember(open, stats, batch)
  reply = claim_sealed()
end
if reply or rubbish > 0 then remember_sealed(batches, stats, held) end
return reply or { rubbish }
