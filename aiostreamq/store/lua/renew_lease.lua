-- renew_lease.lua: show that a worker lives.
--
-- KEYS[1]  workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]  what this worker is and runs, for those who look; only where it is told
-- ARGV[1]  name
-- ARGV[2]  lease_ms
-- ARGV[3]  1 to join, 0 to go on
-- ARGV[4]  lanes: those that it serves, with spaces between; to join
-- ARGV[5]  what it is and runs, JSON; only with KEYS[2]
--
-- Returns 1, or 0 where the worker has been taken for dead: what it was sent
-- belongs to others by now, and its name is of no use any more. Cost O(1).
--
-- flags: allow-oom

local workers, name, lease_ms = KEYS[1], ARGV[1], ARGV[2]
-- A counter and no time: whoever watches it has a clock of its own, so that a
-- step of Redis's clock makes nobody look dead.
local counter, rest = 0, ' ' .. lease_ms .. (ARGV[4] == '' and '' or ' ' .. ARGV[4])

if ARGV[3] == '0' then
  local beat = redis.call('HGET', workers, name)
  local before, same = string.match(beat or '', '^(%d+)(.*)$')
  if not before then
    return 0
  end
  counter, rest = tonumber(before) + 1, same
end
-- First a write that needs no memory: a script that has written is not stopped when
-- there is none, and a full Redis must not make the living look dead.
redis.call('HDEL', workers, name)
redis.call('HSET', workers, name, string.format('%d', counter) .. rest)
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[5], 'PX', 2 * lease_ms)
end
return 1
