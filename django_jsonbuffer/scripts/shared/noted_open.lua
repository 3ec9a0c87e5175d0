-- Shared: what the last script has noted about the open batch.
-- @needs noted numbers

-- Returns {count, bytes, tail, opened, origin, traces, noted}. The numbers are 0 when nothing is noted,
-- or when another client has damaged it. `opened` (ms) and `origin` are nil for an empty batch. `origin`
-- is also nil when an older version of this app has opened the batch. `traces` is the text in
-- noted.lua, or nil when no append was traced. `noted` is `count`, and stays when a script changes
-- `count`. Writes nothing.
local function noted_open(appends)
  local known = redis.call('HMGET', appends, 'open', 'opened', 'origin', 'traces')
  local text, count, bytes = known[1] or '', 0, 0
  if #text >= NOTED_BYTES then count, bytes = struct.unpack(NOTED, text) end
  if #text ~= NOTED_BYTES + math.min(bytes, TAIL) then count, bytes = 0, 0 end
  local opened = count > 0 and whole(known[2]) or nil
  local opened_by_origin = string.match(known[3] or '', '^(%d+)%-')
  local origin = opened and opened_by_origin == known[2] and known[3] or nil
  local has_traces = origin and known[4] and string.find(known[4], origin .. ' ', 1, true) == 1
  return {
    count = count, bytes = bytes, tail = string.sub(text, NOTED_BYTES + 1), noted = count,
    opened = opened, origin = origin, traces = has_traces and known[4] or nil,
  }
end
