-- Shared: stores the counters of the open batch, and repairs it after another client.
-- @needs dead_letters open_as_left

-- Stores the counters, so that the next script need not read the open batch.
local function remember_open(open, stats, batch)
  redis.call('HSET', stats, 'open', batch.count, 'open_bytes', batch.bytes,
    'open_tail', redis.call('GETRANGE', open, -TAIL, -1), 'opened', batch.opened or 0)
end

-- Repairs the value that read_open() found: writes it back without white space around it, or moves
-- it to the dead letters when it is not a JSON array of events. Copies before it removes.
local function adopt(open, dead, stats, batch)
  if not batch.text then return end
  if batch.is_foreign then
    add_dead_letter(dead, stats, redis.call('GET', open),
      'The value at the key of the open batch was not a JSON array of events.', '', 0)
  end
  if batch.count == 0 then
    redis.call('DEL', open)
  else
    redis.call('SET', open, batch.text)
  end
  remember_open(open, stats, batch)
end
