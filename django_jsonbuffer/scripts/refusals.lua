-- Find the commands that this user of Redis may not run.
--
-- Atomic so that the answers are about one state of the user.
--
-- KEYS[1]  catalog   SET, the name of every bucket that was ever appended to
-- ARGV[1…] commands  names of commands, a subcommand behind a bar: 'GET', 'XGROUP|CREATE'
--
-- Returns the places of the commands that the user may not run, from 1. Empty before Redis 7.0, which
-- cannot say. Writes nothing.

local catalog = KEYS[1]
local FIRST_ARGV = 1

local refused = {}
local check = redis.acl_check_cmd
if not check then return refused end
for at = FIRST_ARGV, #ARGV do
  local command, subcommand = string.match(ARGV[at], '^([^|]+)|?(.*)$')
  -- Redis looks for the keys of the command without counting its arguments. If too few are given, it
  -- reads beyond them, and may crash: seen with EVALSHA alone, on Redis 7.0 and Valkey 9.1. So each
  -- command gets enough arguments, and each argument is a key that this user may use.
  local is_known, is_allowed
  if subcommand == '' then
    is_known, is_allowed = pcall(check, command, catalog, catalog, catalog)
  else
    is_known, is_allowed = pcall(check, command, subcommand, catalog, catalog, catalog)
  end
  if not (is_known and is_allowed) then table.insert(refused, at - FIRST_ARGV + 1) end
end
return refused
