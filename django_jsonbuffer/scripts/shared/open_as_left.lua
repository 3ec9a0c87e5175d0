-- Shared: what the open batch holds, if it is as the last script left it.
-- @needs noted

-- Returns the table `noted` of noted_open(). Another client may have taken the open batch, or appended
-- to it. The open batch is unchanged when its length and its last bytes are those that a script
-- noted last. Otherwise returns nil, and read_open() must read all of the open batch: it also raises
-- the error of a key that cannot be read. Writes nothing.
local function open_as_left(open, noted)
  local bytes, is_empty = noted.bytes, noted.bytes == 0
  if (noted.count == 0) ~= is_empty or (noted.opened == nil) ~= is_empty then return nil end
  local from = math.max(bytes - TAIL, 0)
  -- One byte more than the tail shows that the open batch has grown, however long it is.
  return redis.pcall('GETRANGE', open, from, bytes) == noted.tail and noted or nil
end
