-- park.lua: set jobs aside whose task the worker that got them does not know.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3..]  three for each delivery: stream (an index into KEYS), entry, task
--
-- Returns how many were parked; those of others are left alone. They wait in
-- parked:<task> for a worker that knows the task, and parked has the names of those
-- tasks. A cancelled job ends instead. Cost O(deliveries), about 10 microseconds each;
-- callers send at most 250.

local group, prefix = ARGV[1], ARGV[2]
local parked = 0
local are_cancelled = are_any_cancelled(prefix)
redis.call('SCARD', prefix .. 'parked') -- raises here where it is no set: later would be too late

for at = 3, #ARGV, 3 do
  local stream, entry, task = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  redis.call('XLEN', prefix .. 'parked:' .. task) -- the same
  if redis.call('XACK', stream, group, entry) == 1 and found then
    local fields = found[2]
    -- An entry begins with the job's id: enqueue.lua writes it so.
    local job = prefix .. 'job:' .. fields[2]
    if not (are_cancelled and has_been_cancelled(prefix, fields[2], entry, fields[6])) then
      local place = redis.call('XADD', prefix .. 'parked:' .. task, '*', unpack(fields))
      redis.call('SADD', prefix .. 'parked', task)
      if names_entry(prefix, fields[2], stream, entry) then
        redis.call('HSET', job, 's', 'parked', 'q', place .. ' ' .. task)
        redis.call('HDEL', job, 'e')
      end
    end
    redis.call('XDEL', stream, entry)
    parked = parked + 1
  end
end
count_noted_ends(prefix)
return parked
