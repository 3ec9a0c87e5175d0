-- Shared: repairs the open batch after another client.
-- @needs dead_letters remember_open

-- Repairs the value that read_open() found: writes it back without white space around it, or moves
-- it to the dead letters when it is not a JSON array of events. Copies before it removes.
local function adopt(open, dead, appends, stats, batch)
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
  remember_open(open, appends, stats, batch)
end
