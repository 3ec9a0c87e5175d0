-- Look at the oldest pending events, and leave them where they are.
--
-- Atomic so that the events were all pending at one moment.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  appends  HASH of the open batch as it was left, and of the producers
-- ARGV[1]  limit    events that the caller wants
-- ARGV[2]  bytes    most bytes that the caller wants; 0 for any number
--
-- Returns JSON arrays, oldest first: as many as have `limit` events together. The last array is cut
-- when there are too many bytes. A long array from another client may turn out to be invalid further
-- on. Writes nothing.

-- @needs entries look_open_briefly noted_open

local open, batches, appends = KEYS[1], KEYS[2], KEYS[3]
local limit, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
if bytes == 0 then bytes = math.huge end

local arrays, total = {}, 0
each_entry(batches, 1, function(entry, is_claimed)
  local events, count = contents(entry)
  if events and not is_claimed then
    table.insert(arrays, #events > bytes and string.sub(events, 1, bytes) or events)
    total, bytes = total + count, bytes - #arrays[#arrays]
  end
  return total >= limit or bytes == 0
end)
local batch = look_open_briefly(open, noted_open(appends))
if total < limit and bytes > 0 and not (batch and batch.count == 0) then
  local events = redis.call('GETRANGE', open, 0, bytes == math.huge and -1 or bytes - 1)
  if batch or string.find(events, '^[ \t\r\n]*%[') then table.insert(arrays, events) end
end
return arrays
