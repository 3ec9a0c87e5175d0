-- Search dead letters, oldest first. Looks at a limited number of them, and says where to go on.
--
-- Atomic so that the dead letters that it finds all existed at one moment.
--
-- KEYS[1]  dead    STREAM of dead letters
-- KEYS[2]  stats   HASH of the bucket's counters
-- ARGV[1]  first   where to begin: '-', the id of a dead letter, or '(' and an id to begin behind it
-- ARGV[2]  last    where to end: '+', the id of a dead letter, or '(' and an id to end before it
-- ARGV[3]  limit   most dead letters to find
-- ARGV[4]  bytes   how many bytes of each event, from its first; 0 for all of it, -1 for the ids alone
-- ARGV[5]  most    most dead letters to look at. It looks at fewer when they are large
-- ARGV[6]  is_of_group  1 to find only letters of one group, else 0
-- ARGV[7]  group   shape of the errors of this group; '' for letters without a group
-- ARGV[8]  text    what the error, the event or the id must contain, in lower case; or ''. Small and
--                  capital letters of ASCII are the same
-- ARGV[9]  is_public  1 to look for the text only in the class of an exception, and in the id; else 0
-- ARGV[10] suffix  what follows each id in the name of a letter of this shard
--
-- Returns {at how many letters it has looked, id of the last of these, or '' when it came to the end; a
-- list}. The list is like that of list_dead.lua. Writes nothing.

-- @needs cut_event fields has_letter letter_groups letter_size

local MOST_BYTES = 4 * 1024 * 1024
local READ_AT_ONCE = 10 -- letters that one XRANGE copies

local dead, stats = KEYS[1], KEYS[2]
local first, last, limit, bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most, is_of_group, group = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7]
local text, is_public, suffix = ARGV[8], ARGV[9] == '1', ARGV[10]

local function holds(value)
  return value and string.find(string.lower(value), text, 1, true)
end

-- A message that is not of an exception may be a value of an event.
local function class_in(error, traceback)
  if (traceback or '') == '' then return '' end
  local class, behind = string.match(error, '^([%a_][%w_.]*)(.?)')
  return class and string.find(behind, '^[:\n]?$') and class or ''
end

-- The group of a letter; '' when the counters do not know it, because they were lost.
local known = {}
local function group_of(letter)
  local shape = field(letter[2], 'group') or ''
  if shape ~= '' and known[shape] == nil then
    known[shape] = letter_group(redis.call('HGET', stats, GROUP_FIELD .. shape)) or false
  end
  return known[shape] and has_letter(known[shape], letter[1]) and shape or ''
end

local function is_sought(letter)
  local fields = letter[2]
  if is_of_group and group_of(letter) ~= group then return false end
  if text == '' or holds(letter[1] .. suffix) then return true end
  local error = field(fields, 'error')
  if is_public then return holds(class_in(error or '', field(fields, 'traceback'))) end
  return holds(error) or holds(field(fields, 'event'))
end

local function ms_of(id) return tonumber(string.match(id, '%d+')) end

redis.call('XLEN', dead) -- a key of another type must fail here
-- The letters of a group are between its first and its last.
if is_of_group and group ~= '' then
  local its = letter_group(redis.call('HGET', stats, GROUP_FIELD .. group))
  if not its then return { 0, '', {} } end
  if first == '-' or ms_of(first) < ms_of(its.first) then first = its.first end
  if last == '+' or ms_of(last) > ms_of(its.last) then last = its.last end
end

local looked_at, size, found = 0, 0, {}
local from, letters = first, nil
repeat
  -- Redis refuses a range that begins behind the largest possible id. Then this is an error, and has
  -- no letters.
  letters = redis.pcall('XRANGE', dead, from, last, 'COUNT', math.min(READ_AT_ONCE, most - looked_at))
  for _, letter in ipairs(letters) do
    looked_at, size, from = looked_at + 1, size + letter_size(letter), '(' .. letter[1]
    if is_sought(letter) then
      cut_event(letter[2], bytes)
      table.insert(found, bytes < 0 and letter[1] or letter)
      if #found == limit then return { looked_at, letter[1], found } end
    end
  end
  if #letters < READ_AT_ONCE and looked_at < most then return { looked_at, '', found } end
until looked_at >= most or size >= MOST_BYTES
return { looked_at, string.sub(from, 2), found }
