-- take_lock.lua: take a lock, or wait in its line.
--
-- KEYS[1]  lock
-- KEYS[2]  its line
-- KEYS[3]  the last fence of any lock
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  token of the caller
-- ARGV[3]  lease_ms
-- ARGV[4]  who calls, for operators
-- ARGV[5]  for how many ms the caller has waited; -1 if it does not wait
--
-- Returns {1, fence} if the caller holds the lock, {0, ms} if another has it or must go first: then look
-- again after those ms. Returns {-1} if the caller has left already, and this call comes late. A repeated
-- call of the holder returns the same fence. A fence is the time in ms, or one more than the last: so it
-- also rises if the last ones were lost in a failover. Cost O(log waiters), and more for each waiter that has gone.
--
-- uses: lock

local prefix, token, lease_ms, waited_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local last_fence = tonumber(redis.call('GET', KEYS[3])) or 0
local lock = load_lock(KEYS[1], KEYS[2])

if lock.last == token or lock.left == token then
  return { -1 }
end
local fence, is_free = nil, false
if lock.owner == token then
  fence = lock.fence
elseif not lock.is_held then
  local first = first_in_line(lock)
  is_free = not first or first == token
end
if is_free then
  fence = math.max(last_fence + 1, lock.now)
  redis.call('SET', KEYS[3], string.format('%.0f', fence))
end
if fence then
  leave_lock_line(lock, token)
  hold_lock(lock, token, fence, lease_ms, ARGV[4])
  keep_lock(lock)
  return { 1, fence }
end
if not lock.is_held then
  call_next(lock, prefix)
end
if waited_ms < 0 then
  return { 0, 0 }
end
local ms = stay_for_lock(lock, token, waited_ms)
keep_lock(lock)
return { 0, ms }
