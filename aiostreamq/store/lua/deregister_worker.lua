-- deregister_worker.lua: remove a worker that has no deliveries.
--
-- KEYS[1]    workers
-- KEYS[2]    alive: name -> when its lease is over, by the lease clock
-- KEYS[3]    leases: the lease clock, and how to disconnect each worker
-- KEYS[4..]  streams
-- ARGV[1]    group
-- ARGV[2]    consumer
-- ARGV[3]    key of the status that the worker reports
-- ARGV[4]    prefix of the queue's keys
--
-- Returns how many groups still have deliveries of the worker. It stays a consumer of these, as
-- XGROUP DELCONSUMER would delete the deliveries too, and it stays among the workers: it is found
-- dead later, and its deliveries are recovered. Cost O(streams).
--
-- uses: lease_clock listener

local workers, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local kept = 0

for at = 4, #KEYS do
  local pending = redis.pcall('XPENDING', KEYS[at], group, '-', '+', 1, consumer)
  if not pending.err then
    if pending[1] then
      kept = kept + 1
    else
      redis.pcall('XGROUP', 'DELCONSUMER', KEYS[at], group, consumer)
    end
  end
end
if kept == 0 then
  redis.call('HDEL', workers, consumer)
  forget_lease(KEYS[3], KEYS[2], consumer)
  forget_listener(ARGV[4], group, consumer)
  redis.call('DEL', ARGV[3])
end
return kept
