-- Shared: what the open batch holds, if it is not as the last script left it.
-- @needs json_arrays opened_at

local function without_padding(text)
  local first, last = string.find(text, '[^ \t\r\n]') or 1, #text
  while last > first and string.find(text, '^[ \t\r\n]', last) do last = last - 1 end
  return string.sub(text, first, last)
end

-- Reads all of the open batch. Returns {count, bytes, opened, noted, text, is_foreign}. Another client
-- may have put its events anywhere, so they have no origin until they are sealed. `noted` is what
-- noted_open() returns as `count`. `text` is set when there was a value: the value without white space
-- around it, which must be written back. `is_foreign` is set when the value is not a JSON array of
-- events. Writes nothing.
local function read_open(open, noted)
  local batch = { count = 0, bytes = 0, noted = noted.noted }
  local text = redis.call('GET', open)
  if not text or text == '' then return batch end
  text = without_padding(text)
  -- A client that merges arrays with cjson writes an empty array as {}.
  local found = string.find(text, '^{[ \t\r\n]*}$') and 0
    or (string.byte(text, 1) == 91 and count_events(text))
  batch.text, batch.is_foreign = '', not found
  if not found or found == 0 then return batch end
  batch.count, batch.bytes, batch.text = found, #text, text
  batch.opened = opened_at(noted, found)
  return batch
end
