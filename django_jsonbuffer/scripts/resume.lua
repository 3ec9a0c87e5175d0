-- Resume a paused bucket: its batches can be claimed again.
--
-- Atomic so that exactly one of several calls ends the pause.
--
-- KEYS[1]  paused  STRING, since when (ms) the bucket is paused
--
-- Returns 1, or 0 when it was not paused.

-- @needs permissions wake

local paused = KEYS[1]

local refusal = missing_permission(paused)
if refusal then return refusal end

redis.call('GET', paused) -- a key of another type must fail here
local ended = redis.call('DEL', paused)
if ended == 1 then wake(paused, 's') end
return ended
