-- renew_lease.lua: show that a worker is alive.
--
-- KEYS[1]  workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]  alive: name -> when its lease is over, by the lease clock
-- KEYS[3]  leases: the lease clock, and how to disconnect each worker
-- KEYS[4]  status of the worker; only if it reports one
-- ARGV[1]  name
-- ARGV[2]  lease_ms
-- ARGV[3]  1 to register, 0 to renew
-- ARGV[4]  lanes that it serves, separated by spaces; only to register
-- ARGV[5]  id of the connection on which it reads; 0 if there is none yet
-- ARGV[6]  status, JSON; only with KEYS[4]
--
-- Returns 1, or 0 if the worker was taken for dead: its deliveries belong to other workers now, and
-- it needs a new name. Cost O(log workers).
--
-- uses: lease_clock
-- flags: allow-oom

local workers, alive, leases = KEYS[1], KEYS[2], KEYS[3]
local name, lease_ms, reader = ARGV[1], ARGV[2], ARGV[5]
-- Workers of the release before watch the counter, each by its own clock.
local counter, rest = 0, ' ' .. lease_ms .. (ARGV[4] == '' and '' or ' ' .. ARGV[4])

if ARGV[3] == '0' then
  local beat = redis.call('HGET', workers, name)
  local before, same = string.match(beat or '', '^(%d+)(.*)$')
  if not before then
    return 0
  end
  counter, rest = tonumber(before) + 1, same
end
local now, _, changes = raise_lease_clock(leases, alive, tonumber(lease_ms))
changes[#changes + 1] = lease_field(name)
changes[#changes + 1] = reader
-- First a write that needs no memory: a script that has written is not stopped when memory is
-- full, and that must not make a worker look dead.
redis.call('HDEL', workers, name)
redis.call('HSET', workers, name, string.format('%d', counter) .. rest)
redis.call('ZADD', alive, as_integer(now + tonumber(lease_ms)), name)
redis.call('HSET', leases, unpack(changes))
if KEYS[4] then
  redis.call('SET', KEYS[4], ARGV[6], 'PX', 2 * lease_ms)
end
return 1
