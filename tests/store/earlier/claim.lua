-- Claim one batch: the batch that this worker holds already. If it holds none, and the bucket is
-- not paused: a piece of a batch that was split; else the oldest batch whose lease has run out or
-- whose backoff is over; else the oldest sealed batch that was never delivered; else the open batch,
-- if it is old enough. After failures, batches that were never delivered come first at times. In an
-- outage, no worker claims a batch before the pause is over, and tries differ: see sources().
--
-- Atomic so that no two workers ever hold one batch under valid leases. Repeatable: a worker that got
-- no reply claims the same batch again. A lease that ran out counts as the death of its worker.
--
-- KEYS[1]  open      STRING, the open batch
-- KEYS[2]  batches   STREAM of sealed batches
-- KEYS[3]  dead      STREAM of dead letters
-- KEYS[4]  stats     HASH of the bucket's counters
-- KEYS[5]  attempts  HASH of what is remembered of each batch
-- KEYS[6]  paused    STRING, since when (ms) the bucket is paused
-- ARGV[1]  worker     name of the worker
-- ARGV[2]  lease_ms   how long a claim holds
-- ARGV[3]  linger_ms  how old an open batch must be to be sealed; -1 leaves it open
-- ARGV[4]  after      where to begin among the batches that were delivered before: '-' for the
--                     oldest, or '(' and an id for batches behind this id
-- ARGV[5]  newest     id behind which to claim no batch that was never delivered: then this is a drain
--                     that comes to each batch once, and passes the newest id that it claimed as
--                     `after`. Or '+' for a worker that watches, and comes to those before `after` too
-- ARGV[6]  prefers_new 1 to begin with batches that were never delivered, else 0
-- ARGV[7]  token      field of the batch that this call seals
--
-- Returns {foreign, id, token, attempt, count, events, failures, deaths, suspicion, error, failed,
-- alone, by, tries}. `foreign` is the number of foreign values that became dead letters. `attempt` is
-- the number of this delivery, from 1. `suspicion` is 1 when the batch has failed, 2 when the
-- processor has succeeded with other batches since, 3 when also its error has changed since the last
-- failure that was counted, else 0. The success that ends an outage does not count here for what first
-- failed in it. The last four are those of outage_at(), with 0 for `tries` while workers do not wait.
-- If nothing was claimed, returns {foreign, wait_ms, reason}. When `foreign` is not 0, call again: one
-- call sets aside a limited number of foreign values. Otherwise wait so long, if the reason is
-- `outage`, or `doubt`: a lease has run out, but its worker may live. Else the reason is empty.

-- Shared: reads what is remembered of a batch that was delivered, or that is a piece of another.
-- Shared: numbers that Redis holds as text.

-- The number, or nil when the text is missing or is not a whole number of up to 15 digits.
local function whole(text)
  return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or nil
end


-- Returns a table:
--   failures    failures that count towards max_attempts
--   deaths      workers that died with it
--   first_ms    time of the first failure or death, or nil
--   successes   the bucket's successes at the first failure, or at a later one that may be due
--               to an outage; or nil
--   changed     'c' when its error has changed since the last attempt, else ''
--   outlived    'o' when others have succeeded since the first failure, else ''
--   opened      when it was opened, or nil
--   claimed_ms  when it was last claimed, or nil
--   token       its token, or ''
--   error       its last error, or ''
local function attempts_at(attempts, id)
  local text = redis.call('HGET', attempts, id) or ''
  local failures, deaths, first_ms, successes, changed, outlived, opened, claimed_ms, token, error =
    string.match(text, '^(%d+)/(%d+)/(%d*)/(%d*)/(c?)(o?)/(%d*)/(%d*)/(%x*)/(.*)$')
  return {
    failures = whole(failures) or 0, deaths = whole(deaths) or 0,
    first_ms = whole(first_ms), successes = whole(successes),
    changed = changed or '', outlived = outlived or '', opened = whole(opened),
    claimed_ms = whole(claimed_ms), token = token or '', error = error or '',
  }
end
-- Shared: the time of the server. All times are measured by it.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Shared: counts the deaths of workers.

-- Two more bury a single event. What kills every worker is an outage, so an event is buried only if it
-- kills again when its processor succeeds with others. The first of the two may be older, because a
-- death is noticed when the lease has run out.
local MOST_DEATHS_IN_OUTAGE = 3

-- Counts the death of a worker in `past`. `successes` are those of the bucket.
local function count_death(past, successes, now)
  local others_succeeded = past.successes and successes > past.successes
  if others_succeeded or past.deaths < MOST_DEATHS_IN_OUTAGE then past.deaths = past.deaths + 1 end
  past.first_ms, past.successes = past.first_ms or now, past.successes or successes
end
-- Shared: which batches were delivered.
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


-- The id of the last entry before the first one that was never delivered, or '0-0'. The stream must
-- exist. The second value is true when the group has not come to this entry: it is a piece of a batch
-- that was split, which is among the deliveries from the start.
local function delivered_until(batches)
  local last, is_ahead = '0-0', false
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', batches)) do
    if field(info, 'name') == GROUP then last = field(info, 'last-delivered-id') end
  end
  local piece = deliveries_of(batches, '(' .. last, '+', 1)[1]
  while piece and #redis.call('XRANGE', batches, '(' .. last, '(' .. piece[1], 'COUNT', 1) == 0 do
    last, is_ahead = piece[1], true
    piece = deliveries_of(batches, '(' .. last, '+', 1)[1]
  end
  return last, is_ahead
end
-- Shared: whether leases that have run out by the server's clock can be believed.

-- Workers write a heartbeat every 10 seconds, or three times in a shorter lease. So a longer time
-- without any heartbeat means that no worker lived, or that the clock was set, or that nobody could
-- reach the server. Then a living worker may not have renewed its lease, and gets time to do it.

-- Whether the last heartbeat, at `clock` by the server's clock, was too long ago. `clock` may be nil.
local function has_gap(clock, now, lease_ms)
  return not clock or now - clock > math.max(2000, math.min(lease_ms / 2, 15000))
end

-- Whether the clock was set back. Less than a second does not matter.
local function is_set_back(clock, now) return clock ~= nil and clock - now > 1000 end
-- Shared: makes the stream and its consumer group when they are missing.


-- The group begins at 0, so that it delivers all entries of the stream.
local function ensure_group(batches)
  if redis.pcall('XPENDING', batches, GROUP).err then
    redis.call('XGROUP', 'CREATE', batches, GROUP, '0', 'MKSTREAM')
  end
end
-- Shared: entries of the stream that another client put there and that are not batches.
-- Shared: adds a dead letter.
-- Shared: adds to a total of the bucket.

-- A total that another client has overwritten begins again, because an error here would stop the
-- script between the copy of an event and its removal.
local function bump(stats, total, by)
  if by == 0 then return end
  local reply = redis.pcall('HINCRBY', stats, total, by)
  if type(reply) == 'table' and reply.err then redis.call('HSET', stats, total, by) end
end


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
-- Shared: removes a sealed batch.


-- Returns 1, or 0 when another client has deleted the entry before.
local function remove(batches, attempts, id)
  redis.call('XACK', batches, GROUP, id)
  redis.call('HDEL', attempts, id)
  return redis.call('XDEL', batches, id)
end


local MOST_SET_ASIDE = 100 -- in one call, so that no call blocks Redis for long

-- Moves the whole entry to the dead letters.
local function set_aside(batches, dead, stats, attempts, entry)
  add_dead_letter(dead, stats, table.concat(entry[2], ' '),
    'The stream of sealed batches held an entry that is not a batch.', entry[1], 0)
  remove(batches, attempts, entry[1])
end
-- Shared: what the open batch holds, from the counters, or else by reading all of it.
-- Shared: what the open batch holds, if it is as the last script left it.


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


-- Returns the table of open_as_left() or of read_open(), never nil. Writes nothing.
local function look_open(open, stats)
  return open_as_left(open, stats) or read_open(open, stats)
end

-- Shared: what the stream of sealed batches holds, from the counters, or else from its entries.
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
-- Shared: reads the failures in a row of a bucket, and the outage that they may mean.


-- Returns a table with these fields:
--   failed  weight of the failures since the last success
--   alone   weight of the failures of single events, and of exceptions that mean an outage
--   since   when the outage began (ms), or nil when there is none
--   by      'x' when its last try failed with an exception that means an outage, else ''
--   retry   before when (ms) no worker may try again, or 0 when workers do not wait yet
--   tries   tries that failed in the outage
--   told    when a worker last logged this outage (ms), or 0
local function outage_at(stats)
  local text = redis.call('HGET', stats, 'outage') or ''
  local failed, alone, since, by, retry, tries, told =
    string.match(text, '^(%d+)/(%d+)/(%d*)/(x?)/(%d+)/(%d+)/(%d+)$')
  return {
    failed = whole(failed) or 0, alone = whole(alone) or 0, since = whole(since), by = by or '',
    retry = whole(retry) or 0, tries = whole(tries) or 0, told = whole(told) or 0,
  }
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
  local command = not may_run('DEL', key, key, key) and 'del' or not may_run('GET', key, key, key) and 'get' or not may_run('GETRANGE', key, key, key) and 'getrange' or not may_run('HDEL', key, key, key) and 'hdel' or not may_run('HGET', key, key, key) and 'hget' or not may_run('HINCRBY', key, key, key) and 'hincrby' or not may_run('HLEN', key, key, key) and 'hlen' or not may_run('HMGET', key, key, key) and 'hmget' or not may_run('HSET', key, key, key) and 'hset' or not may_run('PERSIST', key, key, key) and 'persist' or not may_run('SET', key, key, key) and 'set' or not may_run('TIME', key, key, key) and 'time' or not may_run('XACK', key, key, key) and 'xack' or not may_run('XADD', key, key, key) and 'xadd' or not may_run('XCLAIM', key, key, key) and 'xclaim' or not may_run('XDEL', key, key, key) and 'xdel' or not may_run('XGROUP', 'CREATE', key, key, key) and 'xgroup|create' or not may_run('XGROUP', 'SETID', key, key, key) and 'xgroup|setid' or not may_run('XINFO', 'GROUPS', key, key, key) and 'xinfo|groups' or not may_run('XLEN', key, key, key) and 'xlen' or not may_run('XPENDING', key, key, key) and 'xpending' or not may_run('XRANGE', key, key, key) and 'xrange' or not may_run('XREADGROUP', key, key, key) and 'xreadgroup' or not may_run('XREVRANGE', key, key, key) and 'xrevrange'
  if not command then return nil end
  return redis.error_reply([[NOPERM This user may not run ']] .. command
    .. [['. Nothing was written.]])
end
-- Shared: stores what is remembered of a batch.

-- `past` has the fields that attempts_at() returns.
local function remember_attempts(attempts, id, past)
  local function digits(number) return number and string.format('%.0f', number) or '' end
  redis.call('HSET', attempts, id, table.concat({
    digits(past.failures), digits(past.deaths), digits(past.first_ms), digits(past.successes),
    past.changed .. past.outlived, digits(past.opened), digits(past.claimed_ms), past.token,
    past.error,
  }, '/'))
end
-- Shared: stores the failures in a row of a bucket, and the outage that they may mean.

-- `outage` has the fields that outage_at() returns.
local function remember_outage(stats, outage)
  redis.call('HSET', stats, 'outage', string.format('%d/%d/%s/%s/%.0f/%d/%.0f', outage.failed,
    outage.alone, outage.since and string.format('%.0f', outage.since) or '', outage.by,
    outage.retry, outage.tries, outage.told))
end

-- Shared: stores the counters of the sealed batches, so that the next script need not count them.

-- `held` has the fields that look_sealed() returns.
local function remember_sealed(batches, stats, held)
  redis.call('HSET', stats, 'sealed', held.sealed, 'claimed', held.claimed,
    'sealed_bytes', held.bytes, 'sealed_batches', redis.call('XLEN', batches))
end
-- Shared: seals the open batch.


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
-- Shared: reads a total of the bucket.


-- The total, or 0 when it is missing or not a number.
local function total_of(stats, name)
  return whole(redis.call('HGET', stats, name)) or 0
end


local MOST_IN_TURN = 100 -- batches that take turns in an outage

local open, batches, dead, stats, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local paused = KEYS[6]
local worker, lease_ms, linger_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local after, newest, prefers_new, token = ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7]
local is_once = newest ~= '+'

local refusal = missing_permission(open)
if refusal then return refusal end

local batch = linger_ms >= 0 and look_open(open, stats) or { count = 0 }
local held = look_sealed(batches, stats)
local foreign = batch.is_foreign and 1 or 0
-- Keys of another type must fail here, before the first write.
redis.call('XLEN', dead)
redis.call('HLEN', attempts)
local now, outage, successes = now_ms(), outage_at(stats), total_of(stats, 'successes')
local tries = outage.retry > 0 and outage.tries or 0

-- How long (ms) a lease that has run out proves nothing, because the clock may have been set.
local function doubt_ms()
  local grace_ms = math.min(lease_ms, 15000)
  local known = redis.call('HMGET', stats, 'clock', 'resumed')
  local clock, resumed = whole(known[1]), whole(known[2])
  if has_gap(clock, now, lease_ms) or is_set_back(clock, now) then return grace_ms end
  return math.max(0, math.min((resumed or 0) + grace_ms - now, grace_ms))
end

-- Notes whether others have succeeded since the batch failed. The success that ends an outage proves
-- nothing about what first failed in it.
local function note_successes(past)
  if not past.successes then return end
  -- There are more than now only if the counters are lost.
  past.successes = math.min(past.successes, successes)
  if past.successes == successes then return end
  if past.outlived == '' then
    local acquitted = redis.call('HGET', stats, 'acquitted') or ''
    local number = string.format(' %.0f ', past.successes)
    if string.find(acquitted, number, 1, true) then past.successes = successes end
    past.outlived = 'o'
  end
end

local function suspicion_of(past)
  if not past.successes then return 0 end
  if successes == past.successes then return 1 end
  return past.changed == '' and 2 or 3
end

-- The reply for an entry that this worker holds. Or nil when the entry was not a batch: then it has
-- become a dead letter.
local function claimed(entry, attempt, was_claimed, has_died)
  local events, count = contents(entry)
  if not events then
    set_aside(batches, dead, stats, attempts, entry)
    foreign = foreign + 1
    return nil
  end
  if not was_claimed then
    held.sealed, held.claimed = held.sealed - count, held.claimed + count
  end
  local past = attempts_at(attempts, entry[1])
  -- Another client may have put the entry there, with any token.
  past.claimed_ms = now
  past.token = string.match(field(entry[2], 'token') or '', '^%x*$') or ''
  past.opened = whole(field(entry[2], 'opened'))
  note_successes(past)
  if has_died then count_death(past, successes, now) end
  remember_attempts(attempts, entry[1], past)
  return { foreign, entry[1], past.token, attempt, count, events, past.failures, past.deaths,
    suspicion_of(past), past.error, outage.failed, outage.alone, outage.by, tries }
end

local function with_fewest_deliveries(ready)
  local fewest = ready[1]
  for _, found in ipairs(ready) do
    if found[4] < fewest[4] then fewest = found end
  end
  return fewest
end

local function claim_delivered(is_own, ...)
  while foreign < MOST_SET_ASIDE do
    local found = with_fewest_deliveries(deliveries_of(batches, ...))
    if not found then return nil end
    local id, holder, deliveries = found[1], found[2], found[4]
    local entry = redis.call('XRANGE', batches, id, id)[1]
    local reply
    if not entry then
      remove(batches, attempts, id) -- another client deleted it
    elseif is_own then
      redis.call('XCLAIM', batches, GROUP, worker, 0, id, 'JUSTID')
      reply = claimed(entry, deliveries, true, false)
    else
      redis.call('XCLAIM', batches, GROUP, worker, 0, id)
      reply = claimed(entry, deliveries + 1, holder ~= NOBODY, holder ~= NOBODY)
    end
    if reply then return reply end
  end
end

local function claim_sealed()
  while foreign < MOST_SET_ASIDE do
    local last, is_ahead = delivered_until(batches)
    -- The group must not deliver pieces of split batches again.
    if is_ahead then redis.call('XGROUP', 'SETID', batches, GROUP, last) end
    if is_once and (last == LARGEST_ID
        or #redis.call('XRANGE', batches, '(' .. last, newest, 'COUNT', 1) == 0) then return nil end
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1,
      'STREAMS', batches, '>')
    if not read then return nil end
    local reply = claimed(read[1][2][1], 1, false, false)
    if reply then return reply end
  end
end

-- Claims the newest batch that was never delivered.
local function claim_newest()
  local last = delivered_until(batches)
  if last == LARGEST_ID then return nil end
  local before = newest
  for _ = 1, MOST_IN_TURN do -- pieces of split batches lie behind it
    local entry = redis.call('XREVRANGE', batches, before, '(' .. last, 'COUNT', 1)[1]
    if not entry then return nil end
    local id = entry[1]
    if not deliveries_of(batches, id, id, 1)[1] then
      redis.call('XCLAIM', batches, GROUP, worker, 0, id, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
      return claimed(entry, 1, false, false)
    end
    before = '(' .. id
  end
end

local function has_lingered()
  local age = batch.count > 0 and now - batch.opened
  -- A negative age: the clock of Redis was set back, perhaps by a long time. So do not wait.
  return age and (age >= linger_ms or age < 0)
end

local is_paused = redis.call('GET', paused) ~= false
local lingered = has_lingered()
if not (held.entries > 0 or lingered or batch.text) then return { 0, 0, '' } end

-- A full Redis decides at the first write of a script whether the script may run. This script must
-- run, because only draining frees memory. So its first write needs no memory, and removes nothing.
redis.call('PERSIST', open)
adopt(open, dead, stats, batch)

local doubt, reply = 0, nil
local function claim_behind(start)
  local most = tries > 0 and MOST_IN_TURN or 1
  if doubt > 0 then return claim_delivered(false, 'IDLE', lease_ms, start, '+', most, NOBODY) end
  return claim_delivered(false, 'IDLE', lease_ms, start, '+', most)
end

local function claim_ready()
  -- Going round, a worker comes to all of them, even if the oldest are always ready again.
  return claim_behind(after) or (not is_once and after ~= '-' and claim_behind('-')) or nil
end

local function claim_piece()
  -- A drain takes all in the order of their ids, except in an outage, which a good piece may end.
  if is_once and tries == 0 then return nil end
  return claim_delivered(false, 'IDLE', UNTRIED_MS, '-', '+', 1, NOBODY)
end

local function claim_open()
  if not lingered or foreign >= MOST_SET_ASIDE then return nil end
  local refusal = seal(open, batches, batch, held, token)
  if refusal then return refusal end
  remember_open(open, stats, batch)
  return claim_sealed()
end

-- Where to look for a batch, in this order. After failures, batches that were never delivered come
-- first at times: batches that fail for reasons of their own must not hold them up, look like an
-- outage, or hide its end. In an outage the newest of them comes at every other try, because the
-- oldest may be bad as well.
local function sources()
  if held.entries == 0 then return { claim_open } end
  if tries % 2 == 1 then return { claim_newest, claim_sealed, claim_open, claim_piece, claim_ready } end
  local is_turn_of_ready = tries > 0 and tries % 8 == 0
  local is_turn_of_new = tries > 0 or prefers_new or outage.alone % 40 > 19 and outage.alone > 20
  if is_turn_of_new and not is_turn_of_ready then
    return { claim_sealed, claim_open, claim_piece, claim_ready }
  end
  return { claim_piece, claim_ready, claim_sealed, claim_open }
end

if held.entries > 0 then
  ensure_group(batches)
  reply = claim_delivered(true, '-', '+', 1, worker)
end
-- A time that is further away than any backoff was written before the clock was set back.
local outage_ms = outage.retry - now
local waits = outage_ms > 0 and outage_ms <= lease_ms
if not reply and not is_paused and not waits then
  if held.entries > 0 then doubt = doubt_ms() end
  for _, claim_from in ipairs(sources()) do reply = reply or claim_from() end
  if reply and reply.err then return reply end
  if reply and outage.retry > 0 then
    outage.retry = now + lease_ms -- or until this worker reports how it went
    remember_outage(stats, outage)
  end
end
if reply or foreign > 0 then remember_sealed(batches, stats, held) end
if reply then return reply end
if waits and not is_paused then return { foreign, outage_ms, 'outage' } end
if doubt > 0 and deliveries_of(batches, 'IDLE', lease_ms, is_once and after or '-', '+', 1)[1] then
  return { foreign, doubt, 'doubt' }
end
return { foreign, 0, '' }
