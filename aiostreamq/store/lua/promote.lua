-- promote.lua: put delayed jobs that are due into their streams.
--
-- KEYS[1]  delayed: job id by due time in ms
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  limit: how many jobs this call may move
--
-- Moves about a megabyte of envelopes at most; one job always goes.
-- Returns {moved, wait_ms, now}: wait_ms is the time until the next job is due, 0 if more are due
-- already, and -1 if no job is delayed; now is in ms. Any number of workers may call it at once.
-- A job that waits for its key takes it if no other job holds it, and else waits on, and does not
-- count as moved: see part `keep_latest`.
-- Raises, with the name of the key, if a lane is not a stream or the hash of a job not a hash: these
-- jobs stay, due again after LATER_MS, and the others have been moved.
-- Cost O(moved log delayed), about 10 microseconds each, and 20 for one that waits for its key.
--
-- uses: delayed keep_latest put_again time unique
-- flags: allow-oom

local delayed, prefix, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local unique = prefix .. 'unique'
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

local function postpone(id, ms)
  -- First, as this needs no memory: a script that has written is not stopped when memory is full.
  redis.call('ZREM', delayed, id)
  redis.call('ZADD', delayed, now + ms, id)
end

-- Have a job wait on if another one holds its key. latest: the field y of its hash. Return whether it
-- does.
local function waits_on(id, job, latest)
  local digest, ms = string.match(latest, '^(%S+) (%d+)$')
  local holder = digest and redis.pcall('HGET', unique, digest)
  if type(holder) ~= 'string' or holder == id then
    return false
  end
  postpone(id, tonumber(ms)) -- before the next look, which may write
  if not holds_key(prefix, holder, now) then
    return false
  end
  redis.call('HSET', job, 'y',
    digest .. ' ' .. string.format('%.0f', math.min(2 * tonumber(ms), LAST_LOOK_MS)))
  return true
end

-- Note that a job which has waited for its key holds it. Other programs may have written something
-- else there: that keeps no job from its lane.
local function take_key(id, job, latest)
  local digest = string.match(latest, '^%S*')
  if redis.pcall('HGET', unique, waiting_field(digest)) == id then
    redis.call('HDEL', unique, waiting_field(digest))
  end
  redis.pcall('HSET', unique, digest, id)
  redis.call('HDEL', job, 'y')
end

local function promote(id, job, stream, lane, n, envelope, attempt, history, latest)
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
  if latest then
    take_key(id, job, latest)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, limit)) do
  local job = prefix .. 'job:' .. id
  local lane, envelope, n, attempt, history, latest = kept_of(job)
  lane, latest = lane or 'default', not attempt and latest
  local stream = prefix .. 'stream:' .. lane
  -- Without an envelope nothing is left of the job, unless something else is in the place of the hash.
  local refused = envelope and refusal_of_lane(stream) or not envelope and refusal('HLEN', job)
  if refused then
    trouble = refused -- raised when the others have been moved
    postpone(id, LATER_MS)
  elseif not (latest and envelope and waits_on(id, job, latest)) then
    promote(id, job, stream, lane, n, envelope, attempt, history, latest)
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
