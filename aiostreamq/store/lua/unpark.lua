-- unpark.lua: return parked jobs to the queue, now that their tasks may run.
--
-- KEYS[1]    the stream of returned work
-- KEYS[2]    cancelled
-- KEYS[3]    paused
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    limit: how many jobs this call may move
-- ARGV[3]    group
-- ARGV[4]    consumer: a worker that can run the tasks, or empty
-- ARGV[5..]  tasks
--
-- Moves about a megabyte at most; one job always goes.
-- Returns {moved, streams, has_stops, has_more}. moved: how many were moved. streams: what the
-- consumer was sent of the returned work, up to *limit* jobs, as XREADGROUP returns it. Otherwise the
-- next worker that reads might be one without the task, which would park the jobs again. has_stops: 0
-- if no cancelled or paused job can be among these. has_more: 1 if it has stopped at a bound, so that
-- more may be parked.
-- Cost O(moved and parked tasks), about 10 microseconds each, and 0.2 for each task that is given;
-- O(1) if no job is parked.
--
-- uses: check_keys entry job parked put_again
-- flags: allow-oom

local returned, prefix, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local group, consumer = ARGV[3], ARGV[4]
local moved, streams = 0, {}

-- Bytes of envelopes that one call moves. Redis copies each, and other clients wait for that.
local MOST_BYTES = 1000000

local moved_bytes = 0

local function has_room()
  return moved < limit and moved_bytes < MOST_BYTES
end

check_stream(returned)
if not are_any_parked(prefix) then
  return { 0, streams, 0, 0 } -- the usual case: each idle worker asks every ten seconds
end

-- Move the parked jobs of a task, while there is room.
local function unpark(task)
  local parked = prefix .. 'parked:' .. task
  if not has_room() or redis.call('EXISTS', parked) == 0 then
    return
  end
  while has_room() do
    local waiting = redis.call('XRANGE', parked, '-', '+', 'COUNT', 1)[1]
    if not waiting then
      break
    end
    local values = waiting[2]
    local job = prefix .. 'job:' .. values[ID]
    local is_own = load_job(job).parked_at == waiting[1] .. ' ' .. task
    redis.call('XDEL', parked, waiting[1]) -- first, so that it passes when memory is full
    put_again(returned, 'returned', is_own and job or nil, unpack(values))
    if is_own then
      redis.call('HDEL', job, 'q')
    end
    moved, moved_bytes = moved + 1, moved_bytes + string.len(values[ENVELOPE] or '')
  end
  forget_if_empty(prefix, task)
end

-- A worker may know thousands of tasks, and to look at each takes longer than to move what there is.
local AT_ONCE = 100

for at = 5, #ARGV, AT_ONCE do
  local last, parked = math.min(at + AT_ONCE - 1, #ARGV), {}
  for place = at, last do
    parked[#parked + 1] = prefix .. 'parked:' .. ARGV[place]
  end
  if has_room() and redis.call('EXISTS', unpack(parked)) > 0 then
    for place = at, last do
      unpark(ARGV[place])
    end
  end
end
if moved > 0 and consumer ~= '' then
  local count = moved_bytes < MOST_BYTES and limit or moved
  local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count,
    'STREAMS', returned, '>')
  streams = found or streams
end
return { moved, streams, redis.call('EXISTS', KEYS[2], KEYS[3]), has_room() and 0 or 1 }
