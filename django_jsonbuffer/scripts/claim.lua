-- Claim one batch: the batch that this worker holds already. If it holds none, and the bucket is
-- not paused: a piece of a batch that was split; else the oldest batch whose lease has run out or
-- whose backoff is over; else the oldest sealed batch that was never delivered; else the open batch,
-- if it is old enough. After failures, batches that were never delivered come first at times. In an
-- outage, no worker claims a batch before the pause is over, and tries differ: see sources().
--
-- Atomic so that no two workers ever hold one batch under valid leases. Repeatable: a worker that got
-- no reply claims the same batch again. A lease that ran out counts as the death of its worker.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  appends   HASH of the open batch as it was left, and of the producers
-- KEYS[6]  attempts  HASH of what is remembered of each batch
-- KEYS[7]  paused    STRING, since when (ms) the bucket is paused
-- KEYS[8]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- KEYS[9]  history   LIST of samples of the bucket's counters
-- ARGV[1]  worker     name of the worker
-- ARGV[2]  lease_ms   how long a claim holds
-- ARGV[3]  linger_ms  how old an open batch must be to be sealed; -1 leaves it open
-- ARGV[4]  after      where to begin among the batches that were delivered before: '-' for the
--                     oldest, or '(' and an id for batches behind this id
-- ARGV[5]  newest     id behind which to claim no batch that was never delivered: then this is a drain
--                     that comes to each batch once, and passes the newest id that it claimed as
--                     `after`. Or '+' for a worker that watches, and comes to those before `after` too
-- ARGV[6]  prefers_new 1 to begin with batches that were never delivered, else 0
-- ARGV[7]  token      field of the batch that this call seals
-- ARGV[8]  beats      1 when this is a heartbeat as well, else 0
--
-- Returns {foreign, id, token, attempt, count, events, failures, deaths, suspicion, error, failed,
-- alone, by, tries, origins, traces, next_ms}. `foreign` is the number of foreign values that became dead
-- letters. `attempt` is the number of this delivery, from 1. `suspicion` is 1 when the batch has
-- failed, 2 when the processor has succeeded with other batches since, 3 when also its error has
-- changed since the last failure that was counted, else 0. The success that ends an outage does not
-- count here for what first failed in it. `failed`, `alone`, `by` and `tries` are those of
-- outage_at(), with 0 for `tries` while workers do not wait. `origins` and `traces` are those of the
-- entry. `next_ms` is 0 when there are more sealed batches, or how long an open batch still lingers, or -1.
-- If nothing was claimed, returns {foreign, wait_ms, reason}. When `foreign` is not 0, call again: one
-- call sets aside a limited number of foreign values. Otherwise wait so long, if there is a reason:
--   outage  the pause of an outage is not over
--   doubt   a lease has run out, but its worker may live
--   held    workers hold batches, or a backoff is not over
--   open    an open batch lingers
--   paused  the bucket is paused; nobody knows for how long
-- The reason is empty when the bucket has no batch.

-- @needs adopt attempts clock deaths delivered doubt ensure_group entries fields foreign_entries group heartbeat
-- @needs look_open look_sealed numbers outage permissions remember_attempts remember_open
-- @needs remember_outage remember_sealed remove sealing totals

local MOST_IN_TURN = 100 -- batches that take turns in an outage

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, attempts, paused, workers, history = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local worker, lease_ms, linger_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local after, newest, prefers_new, token = ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7]
local beats = ARGV[8] == '1'
local is_once = newest ~= '+'

local refusal = missing_permission(open)
if refusal then return refusal end

local batch = linger_ms >= 0 and look_open(open, appends) or { count = 0 }
local held = look_sealed(batches, stats)
local foreign = batch.is_foreign and 1 or 0
-- Keys of another type must fail here, before the first write.
redis.call('XLEN', dead)
redis.call('HLEN', attempts)
if beats then
  beat(open, batches, dead, stats, appends, workers, history, worker, lease_ms)
end
local now, outage, successes = now_ms(), outage_at(stats), total_of(stats, 'successes')
local tries = outage.retry > 0 and outage.tries or 0

-- How long (ms) a lease that has run out proves nothing, because the clock may have been set.
local function doubt_ms()
  local grace_ms = math.min(lease_ms, 15000)
  local known = redis.call('HMGET', stats, 'clock', 'resumed')
  local clock, resumed = whole(known[1]), whole(known[2])
  if has_gap(clock, now, lease_ms) or is_set_back(clock, now) then return grace_ms end
  return math.max(0, math.min((resumed or 0) + grace_ms - now, grace_ms))
end

-- Notes whether others have succeeded since the batch failed. The success that ends an outage proves
-- nothing about what first failed in it.
local function note_successes(past)
  if not past.successes then return end
  -- There are more than now only if the counters are lost.
  past.successes = math.min(past.successes, successes)
  if past.successes == successes then return end
  if past.outlived == '' then
    local acquitted = redis.call('HGET', stats, 'acquitted') or ''
    local number = string.format(' %.0f ', past.successes)
    if string.find(acquitted, number, 1, true) then past.successes = successes end
    past.outlived = 'o'
  end
end

local function suspicion_of(past)
  if not past.successes then return 0 end
  if successes == past.successes then return 1 end
  return past.changed == '' and 2 or 3
end

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
  -- Another client may have put the entry there, with any token.
  past.claimed_ms = now
  past.token = string.match(field(entry[2], 'token') or '', '^%x*$') or ''
  past.opened = whole(field(entry[2], 'opened'))
  note_successes(past)
  if has_died then count_death(past, successes, now) end
  remember_attempts(attempts, entry[1], past)
  return { foreign, entry[1], past.token, attempt, count, events, past.failures, past.deaths,
    suspicion_of(past), past.error, outage.failed, outage.alone, outage.by, tries,
    field(entry[2], 'origins') or '', field(entry[2], 'traces') or '' }
end

local function with_fewest_deliveries(ready)
  local fewest = ready[1]
  for _, found in ipairs(ready) do
    if found[4] < fewest[4] then fewest = found end
  end
  return fewest
end

local function claim_delivered(is_own, ...)
  while foreign < MOST_SET_ASIDE do
    local found = with_fewest_deliveries(deliveries_of(batches, ...))
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
    local last, is_ahead = delivered_until(batches)
    -- The group must not deliver pieces of split batches again.
    if is_ahead then redis.call('XGROUP', 'SETID', batches, GROUP, last) end
    if is_once and (last == LARGEST_ID
        or #redis.call('XRANGE', batches, '(' .. last, newest, 'COUNT', 1) == 0) then return nil end
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1,
      'STREAMS', batches, '>')
    if not read then return nil end
    local reply = claimed(read[1][2][1], 1, false, false)
    if reply then return reply end
  end
end

-- Claims the newest batch that was never delivered.
local function claim_newest()
  local last = delivered_until(batches)
  if last == LARGEST_ID then return nil end
  local before = newest
  for _ = 1, MOST_IN_TURN do -- pieces of split batches lie behind it
    local entry = redis.call('XREVRANGE', batches, before, '(' .. last, 'COUNT', 1)[1]
    if not entry then return nil end
    local id = entry[1]
    if not deliveries_of(batches, id, id, 1)[1] then
      redis.call('XCLAIM', batches, GROUP, worker, 0, id, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
      return claimed(entry, 1, false, false)
    end
    before = '(' .. id
  end
end

-- How long (ms) the open batch still lingers; -1 when there is none.
local function linger_left_ms()
  if batch.count == 0 then return -1 end
  local age_ms = now - batch.opened
  -- A negative age: the clock of Redis was set back, perhaps by a long time. So do not wait.
  return age_ms < 0 and 0 or math.max(0, linger_ms - age_ms)
end

local is_paused = redis.call('GET', paused) ~= false
local lingered = linger_left_ms() == 0
if not (held.entries > 0 or lingered or batch.text) then
  if is_paused then return { 0, 0, 'paused' } end
  if batch.count > 0 then return { 0, linger_left_ms(), 'open' } end
  return { 0, 0, '' }
end

-- A full Redis decides at the first write of a script whether the script may run. This script must
-- run, because only draining frees memory. So its first write needs no memory, and removes nothing.
redis.call('PERSIST', open)
adopt(open, dead, appends, stats, batch)

local doubt, reply = 0, nil
local function claim_behind(start)
  local most = tries > 0 and MOST_IN_TURN or 1
  if doubt > 0 then return claim_delivered(false, 'IDLE', lease_ms, start, '+', most, NOBODY) end
  return claim_delivered(false, 'IDLE', lease_ms, start, '+', most)
end

local function claim_ready()
  -- Going round, a worker comes to all of them, even if the oldest are always ready again.
  return claim_behind(after) or (not is_once and after ~= '-' and claim_behind('-')) or nil
end

local function claim_piece()
  -- A drain takes all in the order of their ids, except in an outage, which a good piece may end.
  if is_once and tries == 0 then return nil end
  return claim_delivered(false, 'IDLE', UNTRIED_MS, '-', '+', 1, NOBODY)
end

local function claim_open()
  if not lingered or foreign >= MOST_SET_ASIDE then return nil end
  local refusal = seal(open, batches, batch, held, token)
  if refusal then return refusal end
  remember_open(open, appends, stats, batch)
  return claim_sealed()
end

-- Where to look for a batch, in this order. After failures, batches that were never delivered come
-- first at times: batches that fail for reasons of their own must not hold them up, look like an
-- outage, or hide its end. In an outage the newest of them comes at every other try, because the
-- oldest may be bad as well.
local function sources()
  if held.entries == 0 then return { claim_open } end
  if tries % 2 == 1 then return { claim_newest, claim_sealed, claim_open, claim_piece, claim_ready } end
  local is_turn_of_ready = tries > 0 and tries % 8 == 0
  local is_turn_of_new = tries > 0 or prefers_new or outage.alone % 40 > 19 and outage.alone > 20
  if is_turn_of_new and not is_turn_of_ready then
    return { claim_sealed, claim_open, claim_piece, claim_ready }
  end
  return { claim_piece, claim_ready, claim_sealed, claim_open }
end

if held.entries > 0 then
  ensure_group(batches)
  reply = claim_delivered(true, '-', '+', 1, worker)
end
-- A time that is further away than any backoff was written before the clock was set back.
local outage_ms = outage.retry - now
local waits = outage_ms > 0 and outage_ms <= lease_ms
if not reply and not is_paused and not waits then
  if held.entries > 0 then doubt = doubt_ms() end
  for _, claim_from in ipairs(sources()) do reply = reply or claim_from() end
  if reply and reply.err then return reply end
  if reply and outage.retry > 0 then
    outage.retry = now + lease_ms -- or until this worker reports how it went
    remember_outage(stats, outage)
  end
end
if reply or foreign > 0 then remember_sealed(batches, stats, held) end
if reply then
  table.insert(reply, held.sealed > 0 and 0 or linger_left_ms())
  return reply
end
if is_paused then return { foreign, 0, 'paused' } end
if waits then return { foreign, outage_ms, 'outage' } end
if doubt > 0 and deliveries_of(batches, 'IDLE', lease_ms, is_once and after or '-', '+', 1)[1] then
  return { foreign, doubt, 'doubt' }
end
local wait_ms, reason = linger_left_ms(), 'open'
-- The time until the first of the leases and backoffs is over. The oldest hundred are enough, because
-- the worker then asks again.
for _, found in ipairs(held.entries > 0 and deliveries_of(batches, '-', '+', MOST_IN_TURN) or {}) do
  local left_ms = math.max(0, lease_ms - found[3])
  if wait_ms < 0 or left_ms < wait_ms then wait_ms, reason = left_ms, 'held' end
end
if wait_ms < 0 then return { foreign, 0, '' } end
return { foreign, wait_ms, reason }
