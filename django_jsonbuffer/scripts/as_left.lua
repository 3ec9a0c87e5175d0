-- Shared: what a bucket holds, as long as it is as the last script left it. Takes no KEYS and no ARGV
-- of its own. Needs counters.lua.

local TAIL = 32
local MAX_BYTES = 512 * 1024 * 1024 -- of a string in Redis

-- The open batch: {count, bytes, opened, tail}, and the total `appended` if that is a number; or nil
-- when it must be read through. It is ours, and its count is known, when it is as long and ends as it
-- did when a script last wrote it. Writes nothing.
local function open_as_left(open, stats)
  local known = redis.call('HMGET', stats, 'open', 'open_bytes', 'open_tail', 'opened', 'appended')
  local count, bytes, tail, opened = whole(known[1]), whole(known[2]), known[3], whole(known[4])
  if not (count and bytes and tail and opened) or (count == 0) ~= (bytes == 0) then return nil end
  local from = math.max(bytes - TAIL, 0)
  if #tail ~= bytes - from or redis.call('GETRANGE', open, from, -1) ~= tail then return nil end
  return {
    count = count, bytes = bytes, tail = tail, opened = count > 0 and opened or nil,
    appended = whole(known[5]),
  }
end

-- The stream: {sealed, claimed, bytes, entries}, the first two in events; or nil when it must be
-- counted anew, since it has another length, or its counters are gone or spoilt. Writes nothing.
local function sealed_as_left(batches, stats)
  local entries = redis.call('XLEN', batches)
  if entries == 0 then return { sealed = 0, claimed = 0, bytes = 0, entries = 0 } end
  local known = redis.call('HMGET', stats, 'sealed', 'claimed', 'sealed_bytes', 'sealed_batches')
  local sealed, claimed, bytes = whole(known[1]), whole(known[2]), whole(known[3])
  if not (sealed and claimed and bytes) or whole(known[4]) ~= entries then return nil end
  return { sealed = sealed, claimed = claimed, bytes = bytes, entries = entries }
end
