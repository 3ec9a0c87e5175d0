-- Move events of a claimed batch to the dead letters, and acknowledge the other events.
--
-- Atomic so that each event is in the batch, or in a dead letter, or processed. A copy of the call
-- that arrives later finds another holder, or another delivery, and does nothing.
--
-- KEYS[1]  batches    STREAM of sealed batches
-- KEYS[2]  dead       STREAM of dead letters
-- KEYS[3]  stats      HASH of the bucket's counters
-- KEYS[4]  attempts   HASH of what is remembered of each batch
-- ARGV[1]  worker     name of the worker that holds the lease
-- ARGV[2]  batch      id of the batch, with its token
-- ARGV[3]  attempt    number of the delivery that the worker holds, from 1
-- ARGV[4]  processed  how many events of the batch have been processed
-- ARGV[5]  failures   failures of the processor, for the field `attempts` of the dead letters
-- ARGV[6…] letters    six for each event: its first and its last byte in the batch, error, traceback,
--                     origin, trace
--
-- Returns {how long the outage was that ends with a success of the processor (ms), or -1}, or an
-- empty list when another worker holds the lease or the batch is gone. If the processor rejected all
-- events in an outage, this tells nothing about it, and the next try need not wait.

-- @needs attempts counters dead_letters end_pause entries leases look_sealed permissions
-- @needs remember_sealed remove success

local batches, dead, stats, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local worker, batch, attempt = ARGV[1], ARGV[2], tonumber(ARGV[3])
local processed, failures = tonumber(ARGV[4]), ARGV[5]
local FIRST_ARGV = 6

local refusal = missing_permission(batches)
if refusal then return refusal end

local id = held_id(batches, attempts, worker, batch, attempt)
local entry = id and redis.call('XRANGE', batches, id, id)[1]
if not entry then return {} end
local events, count = contents(entry)
local held, past = look_sealed(batches, stats), attempts_at(attempts, id)

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', batches)
for at = FIRST_ARGV, #ARGV, 6 do
  local event = string.sub(events, tonumber(ARGV[at]), tonumber(ARGV[at + 1]))
  add_dead_letter(dead, stats, event, ARGV[at + 2], batch, failures,
    { traceback = ARGV[at + 3], first_failed = past.first_ms, origin = ARGV[at + 4],
      trace = ARGV[at + 5] })
end
remove(batches, attempts, id)
held.claimed, held.bytes = held.claimed - count, held.bytes - #events
remember_sealed(batches, stats, held)
bump(stats, 'processed', processed)
if processed > 0 then return { note_success(stats) } end
end_pause(stats)
return { -1 }
