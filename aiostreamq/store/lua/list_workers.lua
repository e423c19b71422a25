-- list_workers.lua: list the workers of a queue, and consumers that are not registered.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    lease_ms for consumers that are not registered
--
-- Returns names and beats in turn. A consumer that has deliveries but is not among the workers (it
-- was taken for dead and read again) is added with a counter that never rises.
-- Cost O(workers and consumers).

local workers, group, lease_ms = KEYS[1], ARGV[1], ARGV[2]

for at = 2, #KEYS do
  local summary = redis.pcall('XPENDING', KEYS[at], group)
  if not summary.err and type(summary[4]) == 'table' then
    for _, pair in ipairs(summary[4]) do
      redis.call('HSETNX', workers, pair[1], '0 ' .. lease_ms)
    end
  end
end
return redis.call('HGETALL', workers)
