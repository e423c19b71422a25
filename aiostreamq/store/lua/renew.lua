-- renew.lua: show that a worker lives.
--
-- KEYS[1]  workers: name -> "<counter> <lease_ms>", or "dead"
-- KEYS[2]  what this worker is and runs, for those who look; only where it is told
-- ARGV[1]  name
-- ARGV[2]  lease_ms
-- ARGV[3]  1 to join, 0 to go on
-- ARGV[4]  what it is and runs, JSON; only with KEYS[2]
--
-- Returns 1, or 0 where the worker has been taken for dead: what it was sent
-- belongs to others by now, and its name is of no use any more. Cost O(1).

local workers, name, lease_ms = KEYS[1], ARGV[1], ARGV[2]
local counter = 0

if ARGV[3] == '0' then
  local beat = redis.call('HGET', workers, name)
  if not beat or beat == 'dead' then
    return 0
  end
  counter = tonumber(string.match(beat, '^%d+')) + 1
end
-- First a write that needs no memory: a script that has written is not stopped when
-- there is none, and a full Redis must not make the living look dead.
redis.call('HDEL', workers, name)
-- A counter and no time: whoever watches it has a clock of its own, so that a
-- step of Redis's clock makes nobody look dead.
redis.call('HSET', workers, name, string.format('%d %s', counter, lease_ms))
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', 2 * lease_ms)
end
return 1
