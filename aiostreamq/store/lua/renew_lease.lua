-- renew_lease.lua: show that a worker is alive.
--
-- KEYS[1]  workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]  status of the worker; only if it reports one
-- ARGV[1]  name
-- ARGV[2]  lease_ms
-- ARGV[3]  1 to register, 0 to renew
-- ARGV[4]  lanes that it serves, separated by spaces; only to register
-- ARGV[5]  status, JSON; only with KEYS[2]
--
-- Returns 1, or 0 if the worker was taken for dead: its deliveries belong to other workers now, and
-- it needs a new name. Cost O(1).
--
-- flags: allow-oom

local workers, name, lease_ms = KEYS[1], ARGV[1], ARGV[2]
-- A counter instead of a time: observers use their own clocks, so a step of Redis's clock makes no
-- worker look dead.
local counter, rest = 0, ' ' .. lease_ms .. (ARGV[4] == '' and '' or ' ' .. ARGV[4])

if ARGV[3] == '0' then
  local beat = redis.call('HGET', workers, name)
  local before, same = string.match(beat or '', '^(%d+)(.*)$')
  if not before then
    return 0
  end
  counter, rest = tonumber(before) + 1, same
end
-- First a write that needs no memory: a script that has written is not stopped when memory is
-- full, and that must not make a worker look dead.
redis.call('HDEL', workers, name)
redis.call('HSET', workers, name, string.format('%d', counter) .. rest)
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[5], 'PX', 2 * lease_ms)
end
return 1
