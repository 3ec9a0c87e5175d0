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
  local command = nil -- filled in when the script is put together, for each command of the script
  if not command then return nil end
  return redis.error_reply([[NOPERM This user may not run ']] .. command
    .. [['. Nothing was written.]])
end
