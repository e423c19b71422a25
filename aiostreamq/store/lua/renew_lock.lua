-- renew_lock.lua: renew the lease of the holder of a lock.
--
-- KEYS[1]  lock
-- KEYS[2]  its line
-- ARGV[1]  token of the holder
-- ARGV[2]  lease_ms
--
-- Returns 1, or 0 if the caller does not hold the lock. A lease that is over is renewed if the lock was not
-- taken since. Cost O(1).
--
-- uses: lock
-- flags: allow-oom

local lock = load_lock(KEYS[1], KEYS[2])
if lock.owner ~= ARGV[1] then
  return 0
end
lock.until_ms = lock.now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'lease', ARGV[2], 'until', string.format('%.0f', lock.until_ms))
keep_lock(lock)
return 1
