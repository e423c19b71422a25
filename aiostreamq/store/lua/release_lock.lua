-- release_lock.lua: release a lock, or leave its line; then call the next waiter.
--
-- KEYS[1]  lock
-- KEYS[2]  its line
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  token of the caller
--
-- Returns 1 if the caller held the lock until now, or has released it with a call before; else 0. Cost
-- O(log waiters), and more for each waiter that has gone.
--
-- uses: lock
-- flags: allow-oom

local prefix, token = ARGV[1], ARGV[2]
local lock = load_lock(KEYS[1], KEYS[2])
local was_held = lock.owner == token or lock.last == token

leave_lock_line(lock, token)
if lock.owner == token then
  redis.call('HDEL', KEYS[1], 'owner', 'fence', 'lease', 'until', 'since', 'who')
  redis.call('HSET', KEYS[1], 'last', token)
  lock.is_held, lock.until_ms = false, 0
elseif not was_held then
  redis.call('HSET', KEYS[1], 'left', token)
end
if not lock.is_held then
  call_next(lock, prefix)
end
keep_lock(lock)
return was_held and 1 or 0
