-- Append events to the open batch, and seal it when it is full.
--
-- Atomic so that all events of one call are stored, or none, and in one piece of the order. Its
-- cost does not depend on what is waiting: the events are spliced over the closing bracket.
--
-- KEYS[1]  open     STRING, the open batch
-- KEYS[2]  batches  STREAM of sealed batches
-- KEYS[3]  dead     STREAM of dead letters
-- KEYS[4]  stats    HASH of the bucket's counters
-- ARGV[1]  batch_size   most events of a batch; 0 never seals
-- ARGV[2]  batch_bytes  most bytes of a batch, unless one event alone has more
-- ARGV[3]  counts       events in each splice, separated by spaces
-- ARGV[4…] splices      each `,<event>,<event>]`, no larger than a batch may be
--
-- Returns {1 when the bucket had no counters before, 1 when rubbish was set aside}, or {-1} when
-- the open batch would be larger than a string can be: nothing was written.
-- @include counters.lua dead_letters.lua sealed_batches.lua open_batch.lua

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local batch_size, batch_bytes, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local FIRST_ARGV = 4

-- All reads come before the first write: a key of another type must fail here.
local batch = look(open, stats)
local is_new = redis.call('EXISTS', stats) == 0
local seals = batch_size > 0
local first_count, first_splice = tonumber(string.match(counts, '%d+')), ARGV[FIRST_ARGV]
if not seals and batch.bytes + #first_splice > MAX_BYTES then return { -1 } end
if batch.rubbish then redis.call('XLEN', dead) end
local held
if seals and (#ARGV > FIRST_ARGV or batch.count + first_count >= batch_size
    or batch.bytes + #first_splice >= batch_bytes) then
  held = look_sealed(batches, stats)
end

local rubbish = batch.rubbish
-- A full server decides at the first write, and removing an empty array of theirs needs no memory.
if batch.text then redis.call('HSET', stats, 'open', batch.count) end
adopt(open, dead, stats, batch)
local at, total = FIRST_ARGV, 0
for digits in string.gmatch(counts, '%d+') do
  local splice, count = ARGV[at], tonumber(digits)
  if held and batch.count > 0 and (batch.count + count > batch_size
      or batch.bytes + #splice - 1 > batch_bytes) then
    seal(open, batches, batch, held)
  end
  if batch.count == 0 then
    redis.call('SETRANGE', open, 0, splice)
    redis.call('SETRANGE', open, 0, '[')
    batch.bytes, batch.opened = #splice, now_ms()
  else
    redis.call('SETRANGE', open, batch.bytes - 1, splice)
    batch.bytes = batch.bytes + #splice - 1
  end
  batch.count, total = batch.count + count, total + count
  if held and (batch.count >= batch_size or batch.bytes >= batch_bytes) then
    seal(open, batches, batch, held)
  end
  at = at + 1
end
-- A foreign client may have let its value expire, and ours is now in it.
redis.call('PERSIST', open)
remember(open, stats, batch)
if held then remember_sealed(batches, stats, held) end
bump(stats, 'appended', total)
return { is_new and 1 or 0, rubbish and 1 or 0 }
