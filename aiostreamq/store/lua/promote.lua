-- promote.lua: put delayed jobs that are due into their streams.
--
-- KEYS[1]  delayed: job id by due time in ms
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  limit: how many jobs this call may move
--
-- Moves about a megabyte of envelopes at most; one job always goes.
-- Returns {moved, wait_ms, now}: wait_ms is the time until the next job is due, 0 if more are due
-- already, and -1 if no job is delayed; now is in ms. Any number of workers may call it at once.
-- Raises, with the name of the key, if a lane is not a stream or the hash of a job not a hash: these
-- jobs stay, due again after LATER_MS, and the others have been moved.
-- Cost O(moved log delayed), about 10 microseconds each.
--
-- uses: delayed put_again time
-- flags: allow-oom

local delayed, prefix, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now = read_clock()

-- Ms after which a job is tried again that could not be moved. Until then it must not stand before
-- the others: any number of jobs may need the same lane.
local LATER_MS = 60000

-- Bytes of envelopes that one call moves. Redis copies each, and other clients wait for that.
local MOST_BYTES = 1000000

local moved, moved_bytes, trouble = 0, 0, nil
local refusals = {}

-- Return false if a key can be written, or the error of Redis with the name of the key. Asked before
-- a job leaves `delayed`: later the error would lose it.
local function refusal(command, key)
  local length = redis.pcall(command, key)
  return type(length) ~= 'number' and tostring(length.err) .. ': key ' .. key
end

local function refusal_of_lane(stream)
  if refusals[stream] == nil then
    refusals[stream] = refusal('XLEN', stream)
  end
  return refusals[stream]
end

local function postpone(id)
  -- First, as this needs no memory: a script that has written is not stopped when memory is full.
  redis.call('ZREM', delayed, id)
  redis.call('ZADD', delayed, now + LATER_MS, id)
end

local function promote(id, job, stream, lane, n, envelope, attempt, history)
  -- First, as this needs no memory, and a script that has written is not stopped when memory is
  -- full: jobs that are due must run for memory to become free.
  redis.call('ZREM', delayed, id)
  moved = moved + 1
  if not envelope then
    return
  end
  moved_bytes = moved_bytes + string.len(envelope)
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
  local lane, envelope, n, attempt, history = kept_of(job)
  lane = lane or 'default'
  local stream = prefix .. 'stream:' .. lane
  -- Without an envelope nothing is left of the job, unless something else is in the place of the hash.
  local refused = envelope and refusal_of_lane(stream) or not envelope and refusal('HLEN', job)
  if refused then
    trouble = refused -- raised when the others have been moved
    postpone(id)
  else
    promote(id, job, stream, lane, n, envelope, attempt, history)
  end
  if moved_bytes >= MOST_BYTES then
    break
  end
end
if trouble then
  return redis.error_reply(trouble)
end

local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
if not first then
  return { moved, -1, now }
end
return { moved, math.max(0, math.ceil(tonumber(first) - now)), now }
