-- park.lua: set jobs aside whose task is paused, or unknown to their worker.
--
-- KEYS[1..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3..]  three for each delivery: stream (an index into KEYS), entry, task
--
-- Returns how many were parked; deliveries of other workers are left alone. They wait in
-- parked:<task> for a worker that knows the task, and parked has the names of those tasks. All
-- workers get a message with these tasks. A cancelled job ends instead.
-- Cost O(deliveries), about 10 microseconds each; callers send at most 250.
--
-- uses: cancelled check_keys control entry job parked stats take_entry

local group, prefix = ARGV[1], ARGV[2]
local parked, tasks, is_named = 0, {}, {}
local are_cancelled = are_any_cancelled(prefix)
are_any_parked(prefix) -- raises if another program has overwritten `parked`

local function put_aside(stream, entry, values, task)
  local job = prefix .. 'job:' .. values[ID]
  local place = redis.call('XADD', prefix .. 'parked:' .. task, '*', unpack(values))
  redis.call('SADD', prefix .. 'parked', task)
  if names_entry(prefix, values[ID], stream, entry) then
    redis.call('HSET', job, 's', 'parked', 'q', place .. ' ' .. task)
    redis.call('HDEL', job, 'e')
  end
  if not is_named[task] then
    tasks[#tasks + 1], is_named[task] = task, true
  end
end

for at = 3, #ARGV, 3 do
  local stream, entry, task = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  check_stream(prefix .. 'parked:' .. task)
  local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if values and not has_ended then
    put_aside(stream, entry, values, task)
  end
  parked = parked + (values and 1 or 0)
end
if #tasks > 0 then
  hint_to_workers(prefix .. 'control', 'parked', 'tasks', table.concat(tasks, ' '))
end
count_noted_ends(prefix)
return parked
