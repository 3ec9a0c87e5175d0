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
-- KEYS[5]  appends   HASH of the open batch as it was left, of the server that it was opened at, and of
--                    the producers: the stamp of the last append of each
-- KEYS[6]  attempts  HASH of what is remembered of each batch
-- KEYS[7]  old       HASH, the appends until their producers were last forgotten
-- KEYS[8]  earlier   STRING, the stamp of this producer's last append by an older version of this
--                    app; only of a call that the older version may have sent
-- ARGV[1]  limits    five numbers of 8 bytes, which may be infinite, a byte and a word. How long (ms)
--                    the bucket remembers a producer at least. The most events and bytes of a batch
--                    (but one event alone may have more bytes). The most events that may be pending,
--                    and the most bytes of all batches. The byte is 1 for a bucket with receipts:
--                    after a restart or a failover, its first append seals the open batch, even if
--                    that append says 0. And for a full bucket: raise (refuse this call),
--                    drop_newest, drop_oldest. With an infinite number of events, a batch is never
--                    full, and has at most the bytes of a string in Redis
-- ARGV[2]  producer  id of the producer
-- ARGV[3]  stamp     16 digits, the number of this call among those of the producer; a space; and the
--                    nonce of this call, or nothing if no other process has a copy of the producer
-- ARGV[4]  token     field of the batches that this call seals
-- ARGV[5]  counts    number of events in each of the splices below, with spaces between
-- ARGV[6…] splices   each `,<event>,<event>]`, no larger than a batch may be. Behind them, if the call
--                    is traced, the traces of each splice: see MOST_TRACES_BYTES
--
-- Returns `stored` in the usual case. Otherwise {outcome, 1 when the bucket had no total of appended
-- events (then the caller writes its name into the catalog again), 1 when a foreign value became a
-- dead letter, events dropped}. The outcome is one of these:
--   stored     the events are stored
--   repeated   this call was stored or dropped before; nothing was written but its stamp again
--   overtaken  another call of the producer has this sequence number or a later one: a copy of the
--              producer sent it, or this call arrives late; nothing was written
--   dropped    the events are dropped, by drop_newest
--   full       the bucket has no room; nothing was written
--   large      the string of the open batch has no room; nothing was written
-- Returns an error if the Redis user may not run one of the commands; nothing was written.

-- @needs noted sealed_as_left

local FIRST_ARGV = 6
local DIGITS = 16

local open, batches, dead, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local appends, attempts, old, earlier = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local limits, producer, stamp, token, counts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local first_splice = ARGV[FIRST_ARGV]
local remembered_ms, batch_size, batch_bytes, max_pending, max_pending_bytes, has_receipts, behind =
  struct.unpack('<dddddB', limits)
local has_cap = max_pending < math.huge or max_pending_bytes < math.huge

-- All three are nil after an error.
local known = redis.pcall('HMGET', appends, 'open', producer, 'server')
local noted, last, noted_server = known[1], known[2], known[3]

-- A server that restarts, or another one after a failover, may lack the last writes, and with them
-- events of the open batch that have a receipt already. An event that takes the place of one of them
-- needs another origin. Each restart and each failover gives the server another replication id.
local has_restarted, server, refusal = false, nil, nil
if has_receipts == 1 or noted_server then
  local info = redis.pcall('INFO', 'replication')
  if info.err then refusal = info else server = string.match(info, 'master_replid:(%x+)') or '' end
  has_restarted = server ~= noted_server
end

-- In the usual case, the events need only be spliced into the open batch, which is as a script left
-- it: one splice, which may have traces. Comparing texts is enough for numbers of the same length.
if noted and #noted > NOTED_BYTES and last and last < string.sub(stamp, 1, DIGITS)
    and (#ARGV == FIRST_ARGV or #ARGV == FIRST_ARGV + 1 and tonumber(counts))
    and not earlier and not has_restarted then
  local count, bytes, at = struct.unpack(NOTED, noted)
  local from, size = bytes > TAIL and bytes - TAIL or 0, #first_splice
  local new_count, new_bytes = count + counts, bytes + size - 1
  local is_usual = count > 0 and new_count < batch_size and new_bytes < batch_bytes
    and #noted == NOTED_BYTES + bytes - from
    and redis.pcall('GETRANGE', open, from, '-1') == string.sub(noted, at)
  if is_usual and has_cap then
    local held = sealed_as_left(batches, stats)
    is_usual = held and new_count + held.sealed <= max_pending
      and bytes + size + held.bytes <= max_pending_bytes
  end
  if is_usual then
    local tail = size >= TAIL and first_splice or string.sub(noted, at, -2) .. first_splice
    -- The first write needs memory, so that a full Redis refuses it. The events come last: when
    -- Redis refuses them, the other values are put back.
    refusal = redis.pcall('HSET', appends, 'open',
      struct.pack(NOTED_WITH_TAIL, new_count, new_bytes, string.sub(tail, -TAIL)), producer, stamp)
    if refusal == 0 then refusal = redis.pcall('SETRANGE', open, bytes - 1, first_splice) end
    if refusal == new_bytes and #ARGV > FIRST_ARGV then
      local more = ' ' .. count .. ' ' .. ARGV[FIRST_ARGV + 1]
      local present = redis.pcall('HSTRLEN', appends, 'traces')
      -- The events are stored, so an error must not come out. To read the field takes time.
      if type(present) == 'number' and present + #more <= MOST_TRACES_BYTES then
        local traces = redis.pcall('HGET', appends, present > 0 and 'traces' or 'origin')
        if type(traces) == 'string' then redis.pcall('HSET', appends, 'traces', traces .. more) end
      end
    end
    if refusal == new_bytes then return 'stored' end
    redis.pcall('HSET', appends, 'open', noted, producer, last)
  end
end

-- The usual append has returned above. Creating these functions would double the time that it takes.
-- @needs adopt appended clock drops entries look_open look_sealed numbers origins permissions
-- @needs remember_open remember_sealed remove sealing wake

refusal = missing_permission(open) or refusal
if refusal then return refusal end

local sequence, nonce = tonumber(string.sub(stamp, 1, DIGITS)), string.sub(stamp, DIGITS + 2)

-- The outcome, if this stamp of the producer's last append shows that this call comes too late, or nil.
local function outcome_after(last)
  local number, rest = string.match(last or '', '^(%d+)(.*)$')
  -- A number below the last one is too late as well: this is a copy of a call, and arrives late.
  if not number or tonumber(number) < sequence then return nil end
  -- Older versions of this app stored the sequence number alone.
  local is_same = tonumber(number) == sequence and (rest == '' or rest == ' ' .. nonce)
  local is_repeated = is_same or nonce == '' and (rest == '' or rest == ' ')
  return { is_repeated and 'repeated' or 'overtaken', 0, 0, 0 }
end

-- All reads come before the first write: a key of another type must fail here.
last = redis.call('HGET', appends, producer) or redis.call('HGET', old, producer)
local too_late = outcome_after(last) or earlier and outcome_after(redis.call('GET', earlier))
if too_late then
  -- A command behind this one may wait until a replica or the disk has the append. It waits for the last
  -- write of its connection, and the append may have come on another one. So write the stamp again. The
  -- first write needs no memory, so that a full Redis lets the script run to its end.
  if too_late[1] == 'repeated' then
    redis.call('PERSIST', open)
    redis.call('HSET', appends, producer, last or stamp)
  end
  return too_late
end

local batch = look_open(open, appends)
if batch.is_foreign then redis.call('XLEN', dead) end
local is_new = appended_total(stats, batch.noted) == 0 and 1 or 0
if batch_size == math.huge and batch.bytes + #first_splice > batch_bytes then
  return { 'large', 0, 0, 0 }
end
local total, total_bytes, splices = 0, 0, 0
for digits in string.gmatch(counts, '%d+') do
  total, total_bytes = total + tonumber(digits), total_bytes + #ARGV[FIRST_ARGV + splices]
  splices = splices + 1
end
local held
if has_cap or splices > 1 or batch.count + total >= batch_size
    or batch.bytes + total_bytes >= batch_bytes or has_restarted then
  held = look_sealed(batches, stats)
end
local overflow = string.sub(limits, behind)
local now, since = now_ms(), whole(redis.call('HGET', appends, 'since'))

-- Whether the events of this call have room beside `pending` events with so many bytes.
local function has_room(pending, bytes)
  return pending + total <= max_pending and bytes + total_bytes <= max_pending_bytes
end

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

-- The first write, and it needs memory: so a full Redis refuses the append before anything is removed.
-- When all producers have been remembered for long enough, those that append no more are forgotten the
-- next time.
local function remember_stamp()
  redis.call('HSET', appends, producer, stamp, 'since', since or now)
  if since and math.abs(now - since) > remembered_ms then
    redis.call('RENAME', appends, old)
    redis.call('HSET', appends, producer, stamp, 'since', now, 'open', noted or '',
      'opened', batch.opened or '', 'origin', batch.origin or '', 'traces', batch.traces or '')
    if noted_server then redis.call('HSET', appends, 'server', noted_server) end
  end
end

local dropped, ids, drops_open = 0, {}, false
if has_cap and not has_room(batch.count + held.sealed, batch.bytes + held.bytes) then
  if overflow == 'drop_newest' then
    remember_stamp()
    drop(stats, 'newest', total)
    return { 'dropped', is_new, 0, total }
  end
  local pending = held.sealed
  if overflow == 'drop_oldest' then ids, drops_open = to_drop() end
  if overflow == 'raise' or not ids then return { 'full', 0, 0, 0 } end
  dropped = pending - held.sealed + (drops_open and batch.count or 0)
end

remember_stamp()
local foreign = batch.is_foreign and 1 or 0
adopt(open, dead, appends, stats, batch)
for _, id in ipairs(ids) do remove(batches, attempts, id) end
if drops_open then
  redis.call('DEL', open)
  batch.count, batch.bytes, batch.opened, batch.origin = 0, 0, nil, nil
end
drop(stats, 'oldest', dropped)
local was_empty, sealed_before = batch.count == 0, held and held.sealed
if has_restarted then
  if batch.count > 0 and (batch_size == math.huge or seal(open, batches, batch, held, token)) then
    -- where the open batch cannot be sealed
    batch.origin, batch.traces = new_origin(batch.opened, token, 0), nil
  end
  redis.call('HSET', appends, 'server', server)
end

local at = FIRST_ARGV
for digits in string.gmatch(counts, '%d+') do
  local splice, count, traces = ARGV[at], tonumber(digits), ARGV[at + splices] or ''
  if batch.count > 0 and (batch.count + count > batch_size
      or batch.bytes + #splice - 1 > batch_bytes) then
    seal(open, batches, batch, held, token)
  end
  if batch.count == 0 then
    redis.call('SETRANGE', open, 0, splice)
    redis.call('SETRANGE', open, 0, '[')
    batch.bytes, batch.opened = #splice, now
    batch.origin, batch.traces = new_origin(now, token, at), nil
  else
    redis.call('SETRANGE', open, batch.bytes - 1, splice)
    batch.bytes = batch.bytes + #splice - 1
  end
  local earlier_traces, more = batch.traces or batch.origin, ' ' .. batch.count .. ' ' .. traces
  if traces ~= '' and earlier_traces and #earlier_traces + #more <= MOST_TRACES_BYTES then
    batch.traces = earlier_traces .. more
  end
  batch.count = batch.count + count
  if batch.count >= batch_size or batch.bytes >= batch_bytes then
    seal(open, batches, batch, held, token)
  end
  at = at + 1
end
-- Another client may have set an expiry on the key, which would remove our events.
redis.call('PERSIST', open)
batch.noted = batch.noted + total
remember_open(open, appends, stats, batch)
if held then remember_sealed(batches, stats, held) end
if held and held.sealed > sealed_before then wake(open, 's') elseif was_empty then wake(open, 'o') end
return { 'stored', is_new, foreign, dropped }
