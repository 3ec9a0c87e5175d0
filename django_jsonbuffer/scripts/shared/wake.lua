-- Shared: tells the workers that wait that a bucket has something for them.

-- `what` is 'o' when an open batch begins, which lingers first, 's' when a batch can be claimed, or 'n'
-- when that is so although workers wait because of an outage. A message that is lost costs only time,
-- because workers also look for themselves: so a user who may not publish is no error. The key of the
-- open batch is `<prefix>:{<name>}`.
local function wake(open, what)
  local prefix, name = string.match(open, '^(.*):{([^}]*)}')
  local channel, may_run = prefix .. ':wake', redis.acl_check_cmd
  -- Asked first, because Redis would log each refusal.
  if may_run and not may_run('PUBLISH', channel, name) then return end
  redis.pcall('PUBLISH', channel, what .. name)
end
