-- Remove the oldest dead letters that are too many, or too old.
--
-- Atomic so that each dead letter is counted once, however many workers remove them.
--
-- KEYS[1]  dead     STREAM of dead letters
-- KEYS[2]  stats    HASH of the bucket's counters
-- ARGV[1]  most     most dead letters to keep, or -1 for any number
-- ARGV[2]  age_ms   for how long to keep a dead letter, or -1 for ever
-- ARGV[3]  portion  most dead letters that one call removes. It removes fewer when they are large,
--                   because it reads each letter to learn its group
--
-- Returns how many it removed. If that is not 0, there may be more to remove.

-- @needs clock drops leave_groups letter_size permissions

local MOST_BYTES = 4 * 1024 * 1024
local READ_AT_ONCE = 10 -- letters that one XRANGE copies

local dead, stats = KEYS[1], KEYS[2]
local most, age_ms, portion = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local refusal = missing_permission(dead)
if refusal then return refusal end

-- A key of another type must fail here, before the first write.
redis.call('HLEN', stats)
local length = redis.call('XLEN', dead)
local too_many = most >= 0 and length - most or 0
-- An id begins with the time when the letter was buried.
local oldest = age_ms >= 0 and math.max(0, now_ms() - age_ms) or 0

local expired, bytes, left, from = 0, 0, {}, '-'
while expired < portion and bytes < MOST_BYTES do
  -- Redis refuses a range that begins behind the largest possible id. Then this is an error, and
  -- has no letters.
  local letters = redis.pcall('XRANGE', dead, from, '+', 'COUNT', READ_AT_ONCE)
  local before = expired
  for _, letter in ipairs(letters) do
    local is_old = tonumber(string.match(letter[1], '%d+')) < oldest
    if expired == portion or not (is_old or expired < too_many) then break end
    expired, bytes, from = expired + 1, bytes + letter_size(letter), '(' .. letter[1]
    note_left(left, letter)
  end
  if expired - before < READ_AT_ONCE then break end
end
if expired == 0 then return 0 end
-- XTRIM needs no memory, so a full Redis lets the script run to its end.
redis.call('XTRIM', dead, 'MAXLEN', '=', length - expired)
leave_groups(dead, stats, left)
drop(stats, 'expired', expired)
return expired
