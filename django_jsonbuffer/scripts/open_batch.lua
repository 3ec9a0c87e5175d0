-- Shared: the open batch. Takes no KEYS and no ARGV of its own. Needs clock.lua,
-- counters.lua, as_left.lua, dead_letters.lua and sealed_batches.lua.
--
-- The open batch belongs to whoever can write to its key, so the bucket's counters may be out of
-- date: another client may have taken it, or appended to it. Then it is read through.

local MAX_DEPTH = 200               -- json.loads of CPython gives up at about 1,000, frames included
local MAX_DIGITS = 4300             -- int() of CPython refuses more

local find, byte, sub, gsub = string.find, string.byte, string.sub, string.gsub

local function is_utf8(text)
  for _, sequence in ipairs({
    '[\194-\223][\128-\191]',
    '[\225-\236\238\239][\128-\191][\128-\191]',
    '\240[\144-\191][\128-\191][\128-\191]',
    '\224[\160-\191][\128-\191]',
    '\237[\128-\159][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]',
    '\244[\128-\143][\128-\191][\128-\191]',
  }) do
    if not find(text, '[\128-\255]') then return true end
    -- A space in place of each, and not nothing: what is left must not become neighbours.
    text = gsub(text, sequence, ' ')
  end
  return not find(text, '[\128-\255]')
end

-- A function that finds the position behind the string whose opening quote is at `at`, or nil. It
-- is asked from left to right, and looks for each kind of character only when it is past the last.
local function string_reader(text)
  local quote, backslash, control = 0, 0, 0
  local nowhere = #text + 1
  return function(at)
    at = at + 1
    while true do
      if quote < at then quote = find(text, '"', at, true) or nowhere end
      if backslash < at then backslash = find(text, '\\', at, true) or nowhere end
      if control < at then control = find(text, '[%z\1-\31]', at) or nowhere end
      local first = math.min(quote, backslash, control)
      if first == control then return nil end -- or all are nowhere
      if first == quote then return quote + 1 end
      if find(text, '^["\\/bfnrt]', backslash + 1) then
        at = backslash + 2
      elseif find(text, '^u%x%x%x%x', backslash + 1) then
        at = backslash + 6
      else
        return nil
      end
    end
  end
end

-- The position behind the number, true, false or null at `at`, or nil.
local function behind_plain(text, at)
  local first = byte(text, at) == 45 and at + 1 or at -- behind a minus
  local _, last = find(text, '^%d+', first)
  if last then
    if find(text, '^0%d', first) then return nil end
    local _, fraction = find(text, '^%.%d+', last + 1)
    local _, exponent = find(text, '^[eE][+-]?%d+', (fraction or last) + 1)
    if not fraction and not exponent and last - first >= MAX_DIGITS then return nil end
    return (exponent or fraction or last) + 1
  end
  for _, word in ipairs({ '^true', '^false', '^null' }) do
    _, last = find(text, word, at)
    if last then return last + 1 end
  end
  return nil
end

-- The number of events in a JSON array, or nil when the text, which begins with a bracket, is no
-- JSON array that CPython reads.
local function count_events(text)
  if not is_utf8(text) then return nil end
  local behind_string = string_reader(text)
  local closers, depth, count = {}, 0, 0
  local expects = 'value'
  local at = 1
  while true do
    local char = byte(text, at)
    while char == 32 or char == 10 or char == 13 or char == 9 do
      at = at + 1
      char = byte(text, at)
    end
    if not char or expects == 'end' then
      return not char and expects == 'end' and count or nil
    elseif (char == 93 or char == 125) and expects ~= 'value' and expects ~= 'key' then -- ] }
      if expects == 'colon' or closers[depth] ~= char then return nil end
      depth = depth - 1
      expects = depth == 0 and 'end' or 'comma'
      at = at + 1
    elseif expects == 'comma' then
      if char ~= 44 then return nil end
      expects = closers[depth] == 93 and 'value' or 'key'
      at = at + 1
    elseif expects == 'colon' then
      if char ~= 58 then return nil end
      expects = 'value'
      at = at + 1
    elseif expects == 'key' or expects == 'key or close' then
      if char ~= 34 then return nil end
      at = behind_string(at)
      if not at then return nil end
      expects = 'colon'
    else -- a value
      if depth == 1 then count = count + 1 end
      if char == 91 or char == 123 then -- [ {
        if depth == MAX_DEPTH then return nil end
        depth = depth + 1
        closers[depth] = char == 91 and 93 or 125
        expects = char == 91 and 'value or close' or 'key or close'
        at = at + 1
      else
          at = char == 34 and behind_string(at) or behind_plain(text, at)
        if not at then return nil end
        expects = 'comma'
      end
    end
  end
end

local function without_padding(text)
  local first, last = find(text, '[^ \t\r\n]') or 1, #text
  while last > first and find(text, '^[ \t\r\n]', last) do last = last - 1 end
  return sub(text, first, last)
end

-- What the open batch holds that is not as a script left it: {count, bytes, opened, text, rubbish}.
-- `text` is set when there was a value, which must be written back without its padding, `rubbish` when
-- it is no array of events. Writes nothing.
local function read_through(open, stats)
  local text = redis.call('GET', open)
  if not text or text == '' then return { count = 0, bytes = 0 } end
  text = without_padding(text)
  -- cjson of the seed's kind of client writes an empty array as {}.
  local found = find(text, '^{[ \t\r\n]*}$') and 0 or (byte(text, 1) == 91 and count_events(text))
  if not found then return { count = 0, bytes = 0, text = '', rubbish = true } end
  if found == 0 then return { count = 0, bytes = 0, text = '' } end
  local known = redis.call('HMGET', stats, 'open', 'opened')
  local count, opened = whole(known[1]), whole(known[2])
  -- A batch that has grown still holds the event that it was opened with.
  if not (count and opened and count > 0 and found > count) then opened = now_ms() end
  return { count = found, bytes = #text, opened = opened, text = text }
end

local function look(open, stats)
  return open_as_left(open, stats) or read_through(open, stats)
end

-- Writes down what the open batch holds, so that the next script need not read it.
local function remember(open, stats, batch)
  redis.call('HSET', stats, 'open', batch.count, 'open_bytes', batch.bytes,
    'open_tail', redis.call('GETRANGE', open, -TAIL, -1), 'opened', batch.opened or 0)
end

-- Makes the open batch ours again: without padding, or gone to the dead letters when it is
-- rubbish. Copies before it removes.
local function adopt(open, dead, stats, batch)
  if not batch.text then return end
  if batch.rubbish then
    add_dead_letter(dead, stats, redis.call('GET', open),
      'The value at the key of the open batch was no JSON array of events.', '', 0)
  end
  if batch.count == 0 then
    redis.call('DEL', open)
  else
    redis.call('SET', open, batch.text)
  end
  remember(open, stats, batch)
end

-- Moves the open batch to the end of the stream, and leaves an empty one. What the caller looked
-- up is brought up to date; it has to remember both. Returns nil, or the error of a stream whose
-- last id is the largest there is: then the open batch stays as it was.
local function seal(open, batches, batch, held)
  ensure_group(batches)
  local added = redis.pcall('XADD', batches, '*', 'events', redis.call('GET', open),
    'count', batch.count, 'opened', batch.opened)
  if added.err then return added end
  redis.call('DEL', open)
  held.sealed, held.bytes = held.sealed + batch.count, held.bytes + batch.bytes
  batch.count, batch.bytes, batch.opened = 0, 0, nil
  return nil
end
