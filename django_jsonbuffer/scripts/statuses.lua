-- Report the statuses of several buckets, to save round trips and the start of a script for each.
--
-- Atomic so that the figures of each are of one moment and agree with each other. An error of one
-- bucket, whose keys another client has overwritten or this user may not read, is an error of the
-- call: then ask for each status by itself.
--
-- KEYS[1…]  keys  nine for each bucket: those of status.lua
--
-- Returns a list with the reply of status.lua for each bucket, where nobody has counted the events.
-- The reply is an empty list for a bucket without any key. Writes nothing.

-- @needs clock status_of

local FIRST_KEYS = 1
local KEYS_OF_BUCKET = 9

local now, found = now_ms(), {}
for at = FIRST_KEYS, #KEYS, KEYS_OF_BUCKET do
  local open, batches, dead, stats = KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3]
  local appends, attempts, workers = KEYS[at + 4], KEYS[at + 5], KEYS[at + 6]
  local history, paused = KEYS[at + 7], KEYS[at + 8]
  local keys = redis.call('EXISTS', open, batches, dead, stats, appends, attempts, workers, history,
    paused)
  table.insert(found, keys == 0 and {} or status_of(now, open, batches, dead, stats, appends, attempts,
    workers, history, paused, -1, 0))
end
return found
