-- List the workers of the bucket, and the batches that were delivered and are not acknowledged.
--
-- Atomic so that each batch is listed once, with its holder.
--
-- KEYS[1]  batches   STREAM of sealed batches
-- KEYS[2]  attempts  HASH of what is remembered of each batch
-- KEYS[3]  workers   HASH of the workers, and when (ms) each wrote its last heartbeat
-- ARGV[1]  limit     most batches; with is_held, most batches of one worker
-- ARGV[2]  is_held   1 to leave out the batches that were released, else 0
--
-- Returns {list of names of workers, each followed by the ms since its last heartbeat; list of
-- batches, oldest first; with is_held, those of one worker after the other}. A batch is
--   1  its id
--   2  name of the worker that holds it, or '' when it was released
--   3  number of its last attempt, from 1; 0 for a piece of a split batch that was never delivered
--   4  ms since it was last claimed, or -1 when that is not known
--   5  ms since its lease was last renewed
--   6  how often the processor failed with it
--   7  how many workers died with it
--   8  the error that it last failed with, or ''
--   9  its token
-- Writes nothing.

-- @needs attempts clock group numbers

local batches, attempts, workers = KEYS[1], KEYS[2], KEYS[3]
local limit, is_held = ARGV[1], ARGV[2] == '1'

local now = now_ms()
local beats = redis.call('HGETALL', workers)
for i = 2, #beats, 2 do
  beats[i] = math.abs(now - (whole(beats[i]) or 0))
end
local listed = {}
local function list(delivery)
  local id, holder, idle_ms, attempt = delivery[1], delivery[2], delivery[3], delivery[4]
  local past = attempts_at(attempts, id)
  table.insert(listed, {
    id, holder == NOBODY and '' or holder, attempt,
    past.claimed_ms and math.max(0, now - past.claimed_ms) or -1, idle_ms, past.failures, past.deaths,
    past.error, past.token,
  })
end

if is_held then
  for _, holder in ipairs(deliveries_of(batches)[4] or {}) do
    if holder[1] ~= NOBODY then
      for _, delivery in ipairs(deliveries_of(batches, '-', '+', limit, holder[1])) do list(delivery) end
    end
  end
else
  for _, delivery in ipairs(deliveries_of(batches, '-', '+', limit)) do list(delivery) end
end
return { beats, listed }
