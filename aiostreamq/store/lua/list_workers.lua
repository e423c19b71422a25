-- list_workers.lua: who works on this queue, and who reads without having joined.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    lease_ms for those who have not joined
--
-- Returns names and beats in turn. A consumer that has deliveries but is not
-- among the workers (a worker that was taken for dead and read on) is added with
-- a counter that nobody raises. Cost O(workers and consumers).

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
