-- Append events to the open batch, once, and seal it when it is full.
--
-- Atomic so that all events of one call are stored, or none, and in one piece of the order; and so
-- that a repeat of the call finds it done. Its cost does not depend on what is waiting: the events
-- are spliced over the closing bracket.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what became of each batch so far
-- KEYS[6]  producer  STRING, the sequence number of what this producer appended last
-- ARGV[1]  remembered_ms      how long the bucket remembers the producer
-- ARGV[2]  batch_size         most events of a batch; 0 never seals
-- ARGV[3]  batch_bytes        most bytes of a batch, unless one event alone has more
-- ARGV[4]  max_pending        most events that may be pending; 0 for any number
-- ARGV[5]  max_pending_bytes  most bytes of all batches; 0 for any number
-- ARGV[6]  overflow           what gives way beyond that: raise (this call), drop_newest, drop_oldest
-- ARGV[7]  sequence           number of this call among those of the producer, from 1
-- ARGV[8]  counts             events in each splice, separated by spaces
-- ARGV[9…] splices            each `,<event>,<event>]`, no larger than a batch may be
--
-- Returns `stored` when there is no more to tell, as is usual. Otherwise {outcome, 1 when the bucket
-- had no counters before, 1 when rubbish was set aside, events dropped}. The outcome is `stored`;
-- `repeated` when it was stored before; `dropped` for drop_newest; `full` when the bucket, or `large`
-- when the string of the open batch, has no room: in these two cases nothing was written.
-- @include counters.lua as_left.lua

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local attempts, producer = KEYS[5], KEYS[6]
local remembered_ms, batch_size, batch_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_pending, max_pending_bytes, overflow = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local sequence, counts = tonumber(ARGV[7]), ARGV[8]
local FIRST_ARGV = 9

-- A late copy may come behind what the producer appended since, hence "up to".
local last = redis.call('GET', producer)
if last and sequence <= (whole(last) or 0) then return { 'repeated', 0, 0, 0 } end

local seals, has_cap = batch_size > 0, max_pending > 0 or max_pending_bytes > 0
local first_count, first_splice = tonumber(string.match(counts, '%d+')), ARGV[FIRST_ARGV]
local batch = open_as_left(open, stats)

local function may_fill_a_batch()
  return seals and (#ARGV > FIRST_ARGV or batch.count + first_count >= batch_size
    or batch.bytes + #first_splice >= batch_bytes)
end

-- Whether the events of this call have room beside so many events and bytes.
local function has_room(pending, bytes)
  for digits in string.gmatch(counts, '%d+') do pending = pending + tonumber(digits) end
  for at = FIRST_ARGV, #ARGV do bytes = bytes + #ARGV[at] end
  return not (max_pending > 0 and pending > max_pending
    or max_pending_bytes > 0 and bytes > max_pending_bytes)
end

-- Whether all that there is to do is to splice the events into the batch that a script left.
local function is_usual()
  if not batch or batch.count == 0 or not batch.appended or #ARGV > FIRST_ARGV then return false end
  if may_fill_a_batch() or batch.bytes + #first_splice > MAX_BYTES then return false end
  local held = has_cap and sealed_as_left(batches, stats)
  return not has_cap or held and has_room(batch.count + held.sealed, batch.bytes + held.bytes)
end

-- It ends here, since to make all the functions that the other calls need takes as long.
if is_usual() then
  local tail = #first_splice >= TAIL and first_splice or string.sub(batch.tail, 1, -2) .. first_splice
  redis.call('SETRANGE', open, batch.bytes - 1, first_splice)
  -- A foreign client may have let its value expire, and ours is now in it.
  redis.call('PERSIST', open)
  redis.call('HSET', stats, 'open', batch.count + first_count, 'open_bytes',
    batch.bytes + #first_splice - 1, 'open_tail', string.sub(tail, -TAIL),
    'appended', batch.appended + first_count)
  -- Last, so that it is never on record that something was stored which was not.
  redis.call('SET', producer, sequence, 'PX', remembered_ms)
  return 'stored'
end
-- @include clock.lua dead_letters.lua sealed_batches.lua open_batch.lua

-- All reads come before the first write: a key of another type must fail here.
batch = batch or read_through(open, stats)
local is_new = redis.call('EXISTS', stats) == 0 and 1 or 0
if not seals and batch.bytes + #first_splice > MAX_BYTES then return { 'large', 0, 0, 0 } end
if batch.rubbish then redis.call('XLEN', dead) end
local held
if has_cap or may_fill_a_batch() then held = look_sealed(batches, stats) end

-- What has to go, oldest first: ids of batches, and whether the open one goes as well; or nil when
-- not even that makes room.
local function to_drop()
  redis.call('HLEN', attempts)
  local pending, bytes, ids = batch.count + held.sealed, batch.bytes + held.bytes, {}
  each_entry(batches, 1, function(entry, is_claimed)
    local events, count = contents(entry)
    if is_claimed or not events then return false end
    table.insert(ids, entry[1])
    pending, bytes = pending - count, bytes - #events
    held.sealed, held.bytes = held.sealed - count, held.bytes - #events
    return has_room(pending, bytes)
  end)
  if has_room(pending, bytes) then return ids, false end
  if has_room(pending - batch.count, bytes - batch.bytes) then return ids, true end
end

local dropped, ids, drops_open = 0, {}, false
if has_cap and not has_room(batch.count + held.sealed, batch.bytes + held.bytes) then
  if overflow == 'drop_newest' then
    for digits in string.gmatch(counts, '%d+') do dropped = dropped + tonumber(digits) end
    redis.call('SET', producer, sequence, 'PX', remembered_ms)
    drop(stats, 'newest', dropped)
    return { 'dropped', is_new, 0, dropped }
  end
  local pending = held.sealed
  if overflow == 'drop_oldest' then ids, drops_open = to_drop() end
  if overflow == 'raise' or not ids then return { 'full', 0, 0, 0 } end
  dropped = pending - held.sealed + (drops_open and batch.count or 0)
end

local rubbish = batch.rubbish and 1 or 0
-- A full server decides at the first write, and removing an empty array of theirs, or what is
-- dropped, needs no memory.
if batch.text or dropped > 0 then redis.call('HSET', stats, 'open', batch.count) end
adopt(open, dead, stats, batch)
for _, id in ipairs(ids) do remove(batches, attempts, id) end
if drops_open then
  redis.call('DEL', open)
  batch.count, batch.bytes, batch.opened = 0, 0, nil
end
drop(stats, 'oldest', dropped)

local at, total = FIRST_ARGV, 0
for digits in string.gmatch(counts, '%d+') do
  local splice, count = ARGV[at], tonumber(digits)
  if seals and held and batch.count > 0 and (batch.count + count > batch_size
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
  if seals and held and (batch.count >= batch_size or batch.bytes >= batch_bytes) then
    seal(open, batches, batch, held)
  end
  at = at + 1
end
redis.call('PERSIST', open)
remember(open, stats, batch)
if held then remember_sealed(batches, stats, held) end
bump(stats, 'appended', total)
redis.call('SET', producer, sequence, 'PX', remembered_ms)
return { 'stored', is_new, rubbish, dropped }
