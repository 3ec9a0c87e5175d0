-- Append events to the open batch, once, and seal it when it is full.
--
-- Atomic so that all events of one call are stored next to each other, or none. They are stored
-- together with the sequence number, so that a call that is sent again is recognized. The cost does
-- not depend on the pending events, because the script writes over the closing bracket of the open
-- batch.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what is remembered of each batch
-- KEYS[6]  producer  STRING, the sequence number of this producer's last append, and its nonce
-- ARGV[1]  remembered_ms      how long the bucket remembers the producer
-- ARGV[2]  batch_size         most events of a batch; 0 never seals
-- ARGV[3]  batch_bytes        most bytes of a batch, unless one event alone has more
-- ARGV[4]  max_pending        most events that may be pending; 0 for any number
-- ARGV[5]  max_pending_bytes  most bytes of all batches; 0 for any number
-- ARGV[6]  overflow           for a full bucket: raise (refuse this call), drop_newest, drop_oldest
-- ARGV[7]  sequence           number of this call among those of the producer, from 1
-- ARGV[8]  nonce              of this call; '' if no other process has a copy of the producer
-- ARGV[9]  token              field of the batches that this call seals
-- ARGV[10] counts             number of events in each of the splices below, with spaces between
-- ARGV[11…] splices           each `,<event>,<event>]`, no larger than a batch may be
--
-- Returns `stored` in the usual case. Otherwise {outcome, 1 when the bucket had no total of appended
-- events (then the caller writes its name into the catalog again), 1 when a foreign value became a
-- dead letter, events dropped}. The outcome is one of these:
--   stored     the events are stored
--   repeated   this call was stored or dropped before; nothing was written
--   overtaken  another call of the producer has this sequence number or a later one: a copy of the
--              producer sent it, or this call arrives late; nothing was written
--   dropped    the events are dropped, by drop_newest
--   full       the bucket has no room; nothing was written
--   large      the string of the open batch has no room; nothing was written
-- Returns an error if the Redis user may not run one of the commands; nothing was written.

-- @needs open_as_left sealed_as_left

local MAX_BYTES = 512 * 1024 * 1024 -- of a string in Redis
local FIRST_ARGV = 11

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local attempts, producer = KEYS[5], KEYS[6]
local remembered_ms, batch_size, batch_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_pending, max_pending_bytes, overflow = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local sequence, nonce, token, counts = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local stamp = sequence .. ' ' .. nonce

local last = redis.pcall('GET', producer)
local refusal = last and last.err and last -- the script goes on, to find out which command it was
local last_sequence = last and not refusal and tonumber(string.match(last, '^%d+'))
-- Not ==, because a copy of the call may arrive after later appends of its producer.
if last_sequence and last_sequence >= tonumber(sequence) then
  -- Older versions of this app stored the sequence number alone.
  local is_repeated = last == stamp or last == sequence
    or nonce == '' and string.find(last, '^%d+ ?$')
  return { is_repeated and 'repeated' or 'overtaken', 0, 0, 0 }
end

local seals, has_cap = batch_size > 0, max_pending > 0 or max_pending_bytes > 0
local first_splice = ARGV[FIRST_ARGV]
local first_count = tonumber(counts) or tonumber(string.match(counts, '%d+'))
local batch = open_as_left(open, stats)

local function may_fill_a_batch()
  return seals and (#ARGV > FIRST_ARGV or batch.count + first_count >= batch_size
    or batch.bytes + #first_splice >= batch_bytes)
end

-- Whether the events of this call have room beside `pending` events with so many bytes.
local function has_room(pending, bytes)
  for digits in string.gmatch(counts, '%d+') do pending = pending + tonumber(digits) end
  for at = FIRST_ARGV, #ARGV do bytes = bytes + #ARGV[at] end
  return not (max_pending > 0 and pending > max_pending
    or max_pending_bytes > 0 and bytes > max_pending_bytes)
end

-- Whether the events need only be spliced into the open batch, which is as a script left it.
local is_usual = not refusal and batch and batch.count > 0 and batch.appended and #ARGV == FIRST_ARGV
  and not may_fill_a_batch() and batch.bytes + #first_splice <= MAX_BYTES
if is_usual and has_cap then
  local held = sealed_as_left(batches, stats)
  is_usual = held and has_room(batch.count + held.sealed, batch.bytes + held.bytes)
end

if is_usual then
  local tail = #first_splice >= TAIL and first_splice or string.sub(batch.tail, 1, -2) .. first_splice
  -- The first write needs memory, so that a full Redis refuses it. The events come last: when Redis
  -- refuses them or one of the commands before, the other values are put back.
  refusal = redis.pcall('SET', producer, stamp, 'PX', remembered_ms)
  if not refusal.err then
    refusal = redis.pcall('HSET', stats, 'open', batch.count + first_count, 'open_bytes',
      batch.bytes + #first_splice - 1, 'open_tail', string.sub(tail, -TAIL),
      'appended', batch.appended + first_count)
  end
  -- Another client may have set an expiry on the key, which would remove our events.
  if type(refusal) ~= 'table' then refusal = redis.pcall('PERSIST', open) end
  if type(refusal) ~= 'table' then
    refusal = redis.pcall('SETRANGE', open, batch.bytes - 1, first_splice)
  end
  if type(refusal) ~= 'table' then return 'stored' end
  redis.pcall('HSET', stats, 'open', batch.count, 'open_bytes', batch.bytes, 'open_tail', batch.tail,
    'appended', batch.appended)
  redis.pcall('SET', producer, last or 0, 'PX', remembered_ms)
end

-- The usual append has returned above. Creating these functions would double the time that it takes.
-- @needs clock counters drops entries look_sealed open_batch permissions read_open remember_sealed
-- @needs remove sealing

refusal = missing_permission(open) or refusal
if refusal then return refusal end

-- All reads come before the first write: a key of another type must fail here.
batch = batch or read_open(open, stats)
local is_new = redis.call('HGET', stats, 'appended') and 0 or 1
if not seals and batch.bytes + #first_splice > MAX_BYTES then return { 'large', 0, 0, 0 } end
if batch.is_foreign then redis.call('XLEN', dead) end
local held
if has_cap or may_fill_a_batch() then held = look_sealed(batches, stats) end

-- The batches to drop, oldest first: their ids, and whether the open one is dropped as well. Or nil
-- when even that does not make room.
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
    redis.call('SET', producer, stamp, 'PX', remembered_ms)
    drop(stats, 'newest', dropped)
    return { 'dropped', is_new, 0, dropped }
  end
  local pending = held.sealed
  if overflow == 'drop_oldest' then ids, drops_open = to_drop() end
  if overflow == 'raise' or not ids then return { 'full', 0, 0, 0 } end
  dropped = pending - held.sealed + (drops_open and batch.count or 0)
end

local foreign = batch.is_foreign and 1 or 0
-- A full Redis decides at the first write of a script whether the script may run, and it would
-- allow a removal. So the first write needs memory: Redis refuses the append before anything is
-- removed.
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
    seal(open, batches, batch, held, token)
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
    seal(open, batches, batch, held, token)
  end
  at = at + 1
end
redis.call('PERSIST', open)
remember_open(open, stats, batch)
if held then remember_sealed(batches, stats, held) end
bump(stats, 'appended', total)
redis.call('SET', producer, stamp, 'PX', remembered_ms)
return { 'stored', is_new, foreign, dropped }
