-- Pause a bucket: it still takes appends, but no worker claims a batch of it.
--
-- Atomic so that a bucket that is already paused keeps the time at which its pause began.
--
-- KEYS[1]  paused  STRING, since when (ms) the bucket is paused
--
-- Returns 1, or 0 when it was already paused.

-- @needs clock permissions

local paused = KEYS[1]

local refusal = missing_permission(paused)
if refusal then return refusal end

local is_paused = redis.call('GET', paused)

-- The first write needs no memory, so that a full Redis lets the script run to its end.
redis.call('PERSIST', paused)
if is_paused then return 0 end
redis.call('SET', paused, now_ms())
return 1
