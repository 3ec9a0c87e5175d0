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

-- Shared: what the open batch holds, if it is as the last script left it.
-- Shared: numbers that Redis holds as text.

-- The number, or nil when the text is missing or is not a whole number of up to 15 digits.
local function whole(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end


local TAIL = 32 -- bytes of the open batch that the counters repeat, so that a change is noticed

-- Returns {count, bytes, opened, tail, appended}: `appended` is the bucket's total, or nil when that
-- is not a number. Another client may have taken the open batch, or appended to it. The open batch
-- is unchanged when its length and its last bytes are those that a script wrote last. Otherwise
-- returns nil, and read_open() must read all of the open batch: it also raises the error of a key
-- that cannot be read. Writes nothing.
local function open_as_left(open, stats)
  local known = redis.pcall('HMGET', stats, 'open', 'open_bytes', 'open_tail', 'opened', 'appended')
  local count, bytes, tail, opened = whole(known[1]), whole(known[2]), known[3], whole(known[4])
  if not (count and bytes and tail and opened) or (count == 0) ~= (bytes == 0) then return nil end
  local from = math.max(bytes - TAIL, 0)
  -- One byte more than the tail shows that the open batch has grown, however long it is.
  if #tail ~= bytes - from or redis.pcall('GETRANGE', open, from, bytes) ~= tail then return nil end
  return {
    count = count, bytes = bytes, tail = tail, opened = count > 0 and opened or nil,
    appended = whole(known[5]),
  }
end
-- Shared: what the stream of sealed batches holds, if it is as the last script left it.


-- Returns {sealed, claimed, bytes, entries}: `sealed` and `claimed` are numbers of events. Returns nil
-- when the entries must be counted: another client has added or deleted entries, or the counters
-- are missing or not numbers, or the stream cannot be read. Writes nothing.
local function sealed_as_left(batches, stats)
  local entries = redis.pcall('XLEN', batches)
  if entries == 0 then return { sealed = 0, claimed = 0, bytes = 0, entries = 0 } end
  local known = redis.call('HMGET', stats, 'sealed', 'claimed', 'sealed_bytes', 'sealed_batches')
  local sealed, claimed, bytes = whole(known[1]), whole(known[2]), whole(known[3])
  if not (sealed and claimed and bytes) or whole(known[4]) ~= entries then return nil end
  return { sealed = sealed, claimed = claimed, bytes = bytes, entries = entries }
end


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
-- Shared: the time of the server. All times are measured by it.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Shared: adds to a total of the bucket.

-- A total that another client has overwritten begins again, because an error here would stop the
-- script between the copy of an event and its removal.
local function bump(stats, total, by)
  if by == 0 then return end
  local reply = redis.pcall('HINCRBY', stats, total, by)
  if type(reply) == 'table' and reply.err then redis.call('HSET', stats, total, by) end
end
-- Shared: counts dropped events.


-- Adds to the total of all drops, and to the total of this reason.
local function drop(stats, reason, by)
  bump(stats, 'dropped', by)
  bump(stats, 'dropped_' .. reason, by)
end
-- Shared: the entries of the stream of sealed batches.
-- Shared: the consumer group of the stream, which knows who holds each batch.

local GROUP = 'drain'
local NOBODY = 'released' -- holds the released batches: no worker has this name, so no ack fits
-- A new piece of a split batch gets an idle time of two years. So a claim finds the pieces among the
-- other batches by asking for more than one year, even if the clock was set meanwhile.
local UNTRIED_MS = 365 * 24 * 60 * 60 * 1000

-- Deliveries that are not acknowledged, as XPENDING lists them. An empty list when there is no
-- group.
local function deliveries_of(batches, ...)
  local found = redis.pcall('XPENDING', batches, GROUP, ...)
  return found.err and {} or found
end


local LARGEST_ID = '18446744073709551615-18446744073709551615'

-- The value of a name in a list of names and values, the form of stream entries and of XINFO; or nil.
local function field(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
  return nil
end

-- The events of an entry and their number, or nil when the entry is not a batch, because another
-- client put it there.
local function contents(entry)
  local events, count = field(entry[2], 'events'), whole(field(entry[2], 'count'))
  if events and count and whole(field(entry[2], 'opened')) then return events, count end
  return nil
end

-- Calls visit(entry, is_claimed) for each entry, oldest first, until visit returns true. Reads
-- `portion` entries at a time.
local function each_entry(batches, portion, visit)
  local claimed = {}
  local total = deliveries_of(batches)[1] or 0
  if total > 0 then
    for _, held in ipairs(deliveries_of(batches, '-', '+', total)) do
      if held[2] ~= NOBODY then claimed[held[1]] = true end
    end
  end
  local from = '-'
  while true do
    local entries = redis.call('XRANGE', batches, from, '+', 'COUNT', portion)
    if #entries == 0 then return end
    for _, entry in ipairs(entries) do
      -- Redis refuses a range that begins behind the largest possible id.
      if visit(entry, claimed[entry[1]]) or entry[1] == LARGEST_ID then return end
      from = '(' .. entry[1]
    end
  end
end
-- Shared: what the stream of sealed batches holds, from the counters, or else from its entries.


local function count_sealed(batches)
  local held = { sealed = 0, claimed = 0, bytes = 0, entries = redis.call('XLEN', batches) }
  each_entry(batches, 16, function(entry, is_claimed)
    local events, count = contents(entry)
    if events then
      local state = is_claimed and 'claimed' or 'sealed'
      held[state] = held[state] + count
      held.bytes = held.bytes + #events
    end
  end)
  return held
end

-- Returns a table like sealed_as_left(), never nil. Writes nothing.
local function look_sealed(batches, stats)
  return sealed_as_left(batches, stats) or count_sealed(batches)
end
-- Shared: stores the counters of the open batch, and repairs it after another client.
-- Shared: adds a dead letter.


-- `event` is kept byte for byte, with the error that says why it cannot be processed. `batch` is the
-- id of the batch that the event was in, or ''. `traceback` and `first_failed` (ms) come from a
-- processor that failed with the event, or are nil.
local function add_dead_letter(dead, stats, event, error, batch, attempts, traceback, first_failed)
  local now = now_ms()
  redis.call('XADD', dead, '*', 'event', event, 'error', error, 'batch', batch,
    'attempts', attempts, 'traceback', traceback or '', 'first_failed', first_failed or now,
    'last_failed', now)
  bump(stats, 'buried', 1)
end


-- Stores the counters, so that the next script need not read the open batch.
local function remember_open(open, stats, batch)
  redis.call('HSET', stats, 'open', batch.count, 'open_bytes', batch.bytes,
    'open_tail', redis.call('GETRANGE', open, -TAIL, -1), 'opened', batch.opened or 0)
end

-- Repairs the value that read_open() found: writes it back without white space around it, or moves
-- it to the dead letters when it is not a JSON array of events. Copies before it removes.
local function adopt(open, dead, stats, batch)
  if not batch.text then return end
  if batch.is_foreign then
    add_dead_letter(dead, stats, redis.call('GET', open),
      'The value at the key of the open batch was not a JSON array of events.', '', 0)
  end
  if batch.count == 0 then
    redis.call('DEL', open)
  else
    redis.call('SET', open, batch.text)
  end
  remember_open(open, stats, batch)
end
-- Shared: checks that the Redis user may run each command of the script.

-- Returns nil, or the error that names a command which this user may not run. A script that writes
-- asks before its first write, because an error in the middle undoes nothing. Redis itself checks
-- the keys before a script begins. Before 7.0, Redis cannot tell, and this returns nil.
--
-- `key` is a key of the script. It stands for all arguments of each command: without any, servers
-- read beyond the end of the list and crash.
local function missing_permission(key)
  local may_run = redis.acl_check_cmd
  if not may_run then return nil end
  local command = not may_run('DEL', key, key, key) and 'del' or not may_run('GET', key, key, key) and 'get' or not may_run('GETRANGE', key, key, key) and 'getrange' or not may_run('HDEL', key, key, key) and 'hdel' or not may_run('HGET', key, key, key) and 'hget' or not may_run('HINCRBY', key, key, key) and 'hincrby' or not may_run('HLEN', key, key, key) and 'hlen' or not may_run('HMGET', key, key, key) and 'hmget' or not may_run('HSET', key, key, key) and 'hset' or not may_run('PERSIST', key, key, key) and 'persist' or not may_run('SET', key, key, key) and 'set' or not may_run('SETRANGE', key, key, key) and 'setrange' or not may_run('TIME', key, key, key) and 'time' or not may_run('XACK', key, key, key) and 'xack' or not may_run('XADD', key, key, key) and 'xadd' or not may_run('XDEL', key, key, key) and 'xdel' or not may_run('XGROUP', 'CREATE', key, key, key) and 'xgroup|create' or not may_run('XLEN', key, key, key) and 'xlen' or not may_run('XPENDING', key, key, key) and 'xpending' or not may_run('XRANGE', key, key, key) and 'xrange'
  if not command then return nil end
  return redis.error_reply([[NOPERM This user may not run ']] .. command
    .. [['. Nothing was written.]])
end
-- Shared: what the open batch holds, if it is not as the last script left it.
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
-- Shared: when an open batch was opened that another client has changed.


-- When (ms) the first of these events was appended, as far as the counters tell. A batch that has
-- grown still has its first event, and so the same age.
local function opened_at(stats, found)
  local known = redis.call('HMGET', stats, 'open', 'opened')
  local count, opened = whole(known[1]), whole(known[2])
  return count and opened and count > 0 and found > count and opened or now_ms()
end


local function without_padding(text)
  local first, last = string.find(text, '[^ \t\r\n]') or 1, #text
  while last > first and string.find(text, '^[ \t\r\n]', last) do last = last - 1 end
  return string.sub(text, first, last)
end

-- Reads all of the open batch. Returns {count, bytes, opened, text, is_foreign}. `text` is set when
-- there was a value: the value without white space around it, which must be written back.
-- `is_foreign` is set when the value is not a JSON array of events. Writes nothing.
local function read_open(open, stats)
  redis.call('HLEN', stats) -- a key of another type must fail here
  local text = redis.call('GET', open)
  if not text or text == '' then return { count = 0, bytes = 0 } end
  text = without_padding(text)
  -- A client that merges arrays with cjson writes an empty array as {}.
  local found = string.find(text, '^{[ \t\r\n]*}$') and 0
    or (string.byte(text, 1) == 91 and count_events(text))
  if not found then return { count = 0, bytes = 0, text = '', is_foreign = true } end
  if found == 0 then return { count = 0, bytes = 0, text = '' } end
  return { count = found, bytes = #text, opened = opened_at(stats, found), text = text }
end
-- Shared: stores the counters of the sealed batches, so that the next script need not count them.

-- `held` has the fields that look_sealed() returns.
local function remember_sealed(batches, stats, held)
  redis.call('HSET', stats, 'sealed', held.sealed, 'claimed', held.claimed,
    'sealed_bytes', held.bytes, 'sealed_batches', redis.call('XLEN', batches))
end

-- Shared: removes a sealed batch.


-- Returns 1, or 0 when another client has deleted the entry before.
local function remove(batches, attempts, id)
  redis.call('XACK', batches, GROUP, id)
  redis.call('HDEL', attempts, id)
  return redis.call('XDEL', batches, id)
end
-- Shared: seals the open batch.
-- Shared: makes the stream and its consumer group when they are missing.


-- The group begins at 0, so that it delivers all entries of the stream.
local function ensure_group(batches)
  if redis.pcall('XPENDING', batches, GROUP).err then
    redis.call('XGROUP', 'CREATE', batches, GROUP, '0', 'MKSTREAM')
  end
end


-- Moves the open batch to the end of the stream, with the token of the call. Updates the tables
-- `batch` and `held`, which the caller must store. Returns nil, or the error of a stream whose last id is the largest possible
-- id. In that case the open batch stays as it was.
local function seal(open, batches, batch, held, token)
  ensure_group(batches)
  local added = redis.pcall('XADD', batches, '*', 'events', redis.call('GET', open),
    'count', batch.count, 'opened', batch.opened, 'token', token)
  if added.err then return added end
  redis.call('DEL', open)
  held.sealed, held.bytes = held.sealed + batch.count, held.bytes + batch.bytes
  batch.count, batch.bytes, batch.opened = 0, 0, nil
  return nil
end


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
