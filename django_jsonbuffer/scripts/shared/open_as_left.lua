-- Shared: what the open batch holds, if it is as the last script left it.
-- @needs numbers

local TAIL = 32 -- bytes of the open batch that the counters repeat, so that a change is noticed

-- Returns {count, bytes, opened, tail, appended}: `appended` is the bucket's total, or nil when that
-- is not a number. Another client may have taken the open batch, or appended to it. The open batch
-- is unchanged when its length and its last bytes are those that a script wrote last. Otherwise
-- returns nil, and read_open() must read all of the open batch: it also raises the error of a key
-- that cannot be read. Writes nothing.
local function open_as_left(open, stats)
  local known = redis.pcall('HMGET', stats, 'open', 'open_bytes', 'open_tail', 'opened', 'appended')
  local count, bytes, tail, opened = whole(known[1]), whole(known[2]), known[3], whole(known[4])
  if not (count and bytes and tail and opened) or (count == 0) ~= (bytes == 0) then return nil end
  local from = math.max(bytes - TAIL, 0)
  -- One byte more than the tail shows that the open batch has grown, however long it is.
  if #tail ~= bytes - from or redis.pcall('GETRANGE', open, from, bytes) ~= tail then return nil end
  return {
    count = count, bytes = bytes, tail = tail, opened = count > 0 and opened or nil,
    appended = whole(known[5]),
  }
end
