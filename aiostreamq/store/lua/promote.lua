-- promote.lua: put delayed jobs that are due into their streams.
--
-- KEYS[1]  delayed: job id by due time in ms
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  limit: how many jobs this call may move
--
-- Returns {moved, wait_ms, now}: wait_ms is the time until the next job is due, 0 if more are due
-- already, and -1 if no job is delayed; now is in ms. Any number of workers may call it at once.
-- Raises if a lane is not a stream: its jobs stay, and the others have been moved.
-- Cost O(moved log delayed), about 10 microseconds each.
--
-- uses: delayed put_again time
-- flags: allow-oom

local delayed, prefix, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now = read_clock()

local moved, trouble = 0, nil
local streams = {}

-- Whether a lane can take jobs. Asked before a job leaves `delayed`: later the error would lose it.
local function is_stream(key)
  if streams[key] == nil then
    local length = redis.pcall('XLEN', key)
    streams[key] = type(length) == 'number'
    trouble = not streams[key] and length or trouble
  end
  return streams[key]
end

local function promote(id, job, stream, lane, n, envelope, attempt, history)
  -- First, as this needs no memory, and a script that has written is not stopped when memory is
  -- full: jobs that are due must run for memory to become free.
  redis.call('ZREM', delayed, id)
  moved = moved + 1
  if not envelope then
    return
  end
  local more = {}
  if attempt then
    more[1], more[2] = 'a', attempt
  end
  if history then
    more[#more + 1] = 'h'
    more[#more + 1] = history
  end
  put_again(stream, lane, job, 'id', id, 'n', n, 'job', envelope, unpack(more))
  redis.call('HDEL', job, 'p', 'n', 'a', 'h')
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, limit)) do
  local job = prefix .. 'job:' .. id
  -- If another program has overwritten the hash, nothing is left of the job.
  local lane, envelope, n, attempt, history = kept_of(job)
  lane = lane or 'default'
  local stream = prefix .. 'stream:' .. lane
  if is_stream(stream) then
    promote(id, job, stream, lane, n, envelope, attempt, history)
  end
end
if trouble then
  return trouble
end

local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
if not first then
  return { moved, -1, now }
end
return { moved, math.max(0, math.ceil(tonumber(first) - now)), now }
