-- Shared: what the open batch holds, if it is not as the last script left it.
-- @needs json_arrays opened_at

local function without_padding(text)
  local first, last = string.find(text, '[^ \t\r\n]') or 1, #text
  while last > first and string.find(text, '^[ \t\r\n]', last) do last = last - 1 end
  return string.sub(text, first, last)
end

-- Reads all of the open batch. Returns {count, bytes, opened, text, is_foreign}. `text` is set when
-- there was a value: the value without white space around it, which must be written back.
-- `is_foreign` is set when the value is not a JSON array of events. Writes nothing.
local function read_open(open, stats)
  redis.call('HLEN', stats) -- a key of another type must fail here
  local text = redis.call('GET', open)
  if not text or text == '' then return { count = 0, bytes = 0 } end
  text = without_padding(text)
  -- A client that merges arrays with cjson writes an empty array as {}.
  local found = string.find(text, '^{[ \t\r\n]*}$') and 0
    or (string.byte(text, 1) == 91 and count_events(text))
  if not found then return { count = 0, bytes = 0, text = '', is_foreign = true } end
  if found == 0 then return { count = 0, bytes = 0, text = '' } end
  return { count = found, bytes = #text, opened = opened_at(stats, found), text = text }
end
