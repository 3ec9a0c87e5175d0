-- Split a claimed batch: replace it by two pieces, so that the event that fails can be found. The
-- pieces can be claimed at once, before all batches that were never delivered. If the worker keeps
-- none of them in an outage, the next try need not wait for the lease.
--
-- Atomic so that every event is in the batch or in one of the pieces, never in both. A copy of the
-- call that arrives later finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches    STREAM of sealed batches
-- KEYS[2]  stats      HASH of the bucket's counters
-- KEYS[3]  attempts   HASH of what is remembered of each batch
-- ARGV[1]  worker     name of the worker that holds the lease
-- ARGV[2]  batch      id of the batch, with its token
-- ARGV[3]  attempt    number of the delivery that the worker holds, from 1
-- ARGV[4]  last       last byte of the first piece
-- ARGV[5]  following  first byte of the second piece
-- ARGV[6]  left       events of the first piece
-- ARGV[7]  right      events of the second piece
-- ARGV[8]  deaths     that both pieces begin with
-- ARGV[9]  keeps      1 or 2 for the piece that the worker keeps and tries next, 0 for none
-- ARGV[10] weight     how much the failure tells about an outage: 0 when it did not fail
-- ARGV[11] error      the error that the batch failed with
-- ARGV[12] token      field of the pieces
-- ARGV[13] origins    of the events of the first piece
-- ARGV[14] others     origins of the events of the second piece
-- ARGV[15] traces     of the first piece
-- ARGV[16] rest       traces of the second piece
--
-- Returns 1, or 0 when another worker holds the lease or the batch is gone.

-- @needs attempts clock end_pause entries fields group leases look_sealed numbers outage permissions
-- @needs remember_attempts remember_outage remember_sealed remove totals

local batches, stats, attempts = KEYS[1], KEYS[2], KEYS[3]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local last, following = tonumber(ARGV[4]), tonumber(ARGV[5])
local left, right = tonumber(ARGV[6]), tonumber(ARGV[7])
local deaths, keeps, weight = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local error, token, origins, others = ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local traces, rest = ARGV[15], ARGV[16]

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
local entry = id and redis.call('XRANGE', batches, id, id)[1]
if not entry then return 0 end
local events, count = contents(entry)
local opened = field(entry[2], 'opened')
local held, past, outage = look_sealed(batches, stats), attempts_at(attempts, id), outage_at(stats)
past.failures, past.deaths, past.opened, past.token = 0, deaths, whole(opened), token
past.claimed_ms, past.changed = nil, ''
if error ~= '' then
  past.first_ms, past.error = past.first_ms or now_ms(), error
  past.successes = past.successes or total_of(stats, 'successes')
end

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', batches)
for place, piece in ipairs({
  { string.sub(events, 1, last) .. ']', left, origins, traces },
  { '[' .. string.sub(events, following), right, others, rest },
}) do
  local array, number = piece[1], piece[2]
  local added = redis.call('XADD', batches, '*', 'events', array, 'count', number,
    'opened', opened, 'token', token, 'origins', piece[3], 'traces', piece[4])
  remember_attempts(attempts, added, past)
  held.bytes = held.bytes + #array
  if place == keeps then
    redis.call('XCLAIM', batches, GROUP, worker, 0, added, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
    held.claimed = held.claimed + number
  else
    redis.call('XCLAIM', batches, GROUP, NOBODY, 0, added, 'IDLE', 2 * UNTRIED_MS,
      'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
    held.sealed = held.sealed + number
  end
end
remove(batches, attempts, id)
held.claimed, held.bytes = held.claimed - count, held.bytes - #events
remember_sealed(batches, stats, held)
outage.failed = outage.failed + weight
if weight > 0 then remember_outage(stats, outage) end
if keeps == 0 then end_pause(stats) end
return 1
