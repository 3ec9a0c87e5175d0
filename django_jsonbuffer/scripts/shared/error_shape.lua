-- Shared: the shape of an error, which errors with the same cause share.

local LONGEST_ERROR, LONGEST_SHAPE = 400, 200 -- bytes

local BEFORE_CODES = { 'http', 'status', 'code', 'respon', 'return', 'error $' }

-- Whether a word is the code of an HTTP error: 422 is a bad request, 503 a server that is down. The id
-- of an order may be such a number too, so the text before it must speak of HTTP.
local function is_http_code(text, start, last)
  if last - start ~= 2 or not string.find(text, '^[45]%d%d', start) then return false end
  if string.find(text, '^[.,]%d', last + 1) then return false end
  local before = string.lower(string.sub(text, math.max(1, start - 24), start - 1))
  if string.find(before, '[.,/#]$') then return false end
  for _, words in ipairs(BEFORE_CODES) do
    if string.find(before, words) then return true end
  end
  return false
end

-- The first value in a text at or behind `from`: its first position, and the position behind it. Or nil
-- when there is none. A value is a text in quotes, or a word with a digit.
local function next_value(text, from, was_cut)
  local seek, part = string.find, string.sub
  while true do
    local first = seek(text, '[%d\'"]', from)
    if not first then return nil end
    -- The word that it is in, or that precedes the quote.
    local start, last = from - 1 + seek(part(text, from, first - 1), '[%w_\128-\255-]*$'), first
    local quote = string.match(part(text, first, first), '%p')
    if not quote then
      last = first - 1 + #string.match(part(text, first), '^[%w_\128-\255-]*')
      if not is_http_code(text, start, last) then return start, last + 1 end
    elseif start == first or part(text, start, first - 1) == 'b' then
      -- Behind another letter it is an apostrophe.
      local closing = seek(text, quote, first + 1, true) or was_cut and #text
      if closing then return start, closing + 1 end
    end
    from = last + 1
  end
end

-- The text from a position on, with a * for each value. Values in a row are one, so that lists and
-- times have the same shape whatever their length.
local function without_values(text, from, was_cut)
  local parts, at = {}, from
  while true do
    local start, behind = next_value(text, at, was_cut)
    if not start then break end
    local _, last = string.find(text, '^[ .,:;/+@#-]*', at)
    if at == from or last + 1 < start then
      table.insert(parts, string.sub(text, at, start - 1))
      table.insert(parts, '*')
    end
    at = behind
  end
  table.insert(parts, string.sub(text, at))
  return table.concat(parts)
end

-- As in Http404 and S3Error, a digit may belong to the name of a class.
local function without_number(kind)
  local digits = string.match(kind, '%d*$')
  if digits == '' or string.find(digits, '^[45]%d%d$') then return kind end
  return string.sub(kind, 1, #kind - #digits) .. '*'
end

-- The beginning of the text, without a part of a character at its end.
local function first_bytes(text, most)
  local last = math.min(#text, most)
  -- The bytes of a character behind its first are 128 to 191.
  while string.find(text, '^[\128-\191]', last + 1) do last = last - 1 end
  return string.sub(text, 1, last)
end

-- The class of the error and its message, without the values in it, in one line of limited length.
local function error_shape(error)
  local text = string.gsub(first_bytes(error, LONGEST_ERROR), '%s+', ' ')
  text = string.match(text, '^ ?(.-) ?$')
  local kind, behind = string.match(text, '^([%a_][%w_.<>]*)(.*)$')
  local has_kind = kind and (behind == '' or string.find(behind, '^: '))
  local start = has_kind and without_number(kind) or ''
  local from = has_kind and #kind + 1 or 1
  local shape = start .. without_values(text, from, #error > LONGEST_ERROR)
  return first_bytes(shape, LONGEST_SHAPE)
end
