-- Shared: checks JSON arrays of events and counts the events, without decoding them.

local MAX_DEPTH = 200 -- json.loads of CPython fails at about 1,000 levels, and its frames count
local MAX_DIGITS = 4300 -- int() of CPython refuses more

local find, byte, gsub = string.find, string.byte, string.gsub

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
    -- A space replaces each sequence, so that the bytes around it do not become neighbours.
    text = gsub(text, sequence, ' ')
  end
  return not find(text, '[\128-\255]')
end

-- Returns a function. It returns the position behind the string whose opening quote is at `at`, or
-- nil when that is not a string of JSON. It must be called from left to right, because it searches
-- for a kind of character only when `at` has passed the last character of that kind.
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
      if first == control then return nil end -- also when the text has none of the three
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

-- The position behind the number, true, false or null at `at`, or nil when none is there.
local function behind_plain(text, at)
  local first = byte(text, at) == 45 and at + 1 or at -- past a minus sign
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

-- The number of events in the text, or nil when CPython would not read the text as a JSON array.
-- The text must begin with a bracket.
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
