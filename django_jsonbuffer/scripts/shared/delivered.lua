-- Shared: which batches were delivered.
-- @needs fields group

-- The id of the last entry before the first one that was never delivered, or '0-0'. The stream must
-- exist. The second value is true when the group has not come to this entry: it is a piece of a batch
-- that was split, which is among the deliveries from the start.
local function delivered_until(batches)
  local last, is_ahead = '0-0', false
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', batches)) do
    if field(info, 'name') == GROUP then last = field(info, 'last-delivered-id') end
  end
  local piece = deliveries_of(batches, '(' .. last, '+', 1)[1]
  while piece and #redis.call('XRANGE', batches, '(' .. last, '(' .. piece[1], 'COUNT', 1) == 0 do
    last, is_ahead = piece[1], true
    piece = deliveries_of(batches, '(' .. last, '+', 1)[1]
  end
  return last, is_ahead
end
