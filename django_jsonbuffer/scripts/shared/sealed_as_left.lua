-- Shared: what the stream of sealed batches holds, if it is as the last script left it.
-- @needs numbers

-- Returns {sealed, claimed, bytes, entries}: `sealed` and `claimed` are numbers of events. Returns nil
-- when the entries must be counted: another client has added or deleted entries, or the counters
-- are missing or not numbers, or the stream cannot be read. Writes nothing.
local function sealed_as_left(batches, stats)
  local entries = redis.pcall('XLEN', batches)
  if entries == 0 then return { sealed = 0, claimed = 0, bytes = 0, entries = 0 } end
  local known = redis.call('HMGET', stats, 'sealed', 'claimed', 'sealed_bytes', 'sealed_batches')
  local sealed, claimed, bytes = whole(known[1]), whole(known[2]), whole(known[3])
  if not (sealed and claimed and bytes) or whole(known[4]) ~= entries then return nil end
  return { sealed = sealed, claimed = claimed, bytes = bytes, entries = entries }
end
