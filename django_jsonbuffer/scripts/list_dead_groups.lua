-- List the groups of dead letters: those whose errors differ only in values have one group.
--
-- Atomic so that the numbers of letters are of one moment.
--
-- KEYS[1]  dead   STREAM of dead letters
-- KEYS[2]  stats  HASH of the bucket's counters
-- ARGV[1]  most   most letters to look at, at each end, for one without a group
--
-- Returns {number of all dead letters, id of the first letter without a group, id of the last, a list}.
-- The ids are '' when none was found. The list has five values for each group: its shape, the number of
-- its letters, the ids of its first and of its last letter, and 'x' when the first error was an
-- exception, else ''. Writes nothing.

-- @needs fields has_letter letter_groups

local READ_AT_ONCE = 10

local dead, stats = KEYS[1], KEYS[2]
local most = tonumber(ARGV[1])

local length, listed, groups, grouped = redis.call('XLEN', dead), {}, {}, 0
local values = redis.call('HGETALL', stats)
for i = 1, #values, 2 do
  local shape = string.match(values[i], '^' .. GROUP_FIELD .. '(.+)$')
  local group = shape and letter_group(values[i + 1])
  if group then
    for _, value in ipairs({ shape, group.count, group.first, group.last, group.raised }) do
      table.insert(listed, value)
    end
    groups[shape], grouped = group, grouped + group.count
  end
end

-- The letter without a group that is next to one end of the stream; or nil.
local function nearest_without_group(is_from_newest)
  local from = is_from_newest and '+' or '-'
  for _ = 1, most / READ_AT_ONCE do
    -- Redis refuses a range that begins behind the largest possible id. Then this is an error, and
    -- has no letters.
    local letters = is_from_newest
      and redis.pcall('XREVRANGE', dead, from, '-', 'COUNT', READ_AT_ONCE)
      or redis.pcall('XRANGE', dead, from, '+', 'COUNT', READ_AT_ONCE)
    for _, letter in ipairs(letters) do
      local its = groups[field(letter[2], 'group') or '']
      if not (its and has_letter(its, letter[1])) then return letter[1] end
      from = '(' .. letter[1]
    end
    if #letters < READ_AT_ONCE then return nil end
  end
end

if length <= grouped then return { length, '', '', listed } end
local first, last = nearest_without_group(false), nearest_without_group(true)
return { length, first or last or '', last or first or '', listed }
