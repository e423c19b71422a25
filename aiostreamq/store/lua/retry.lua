-- retry.lua: end deliveries whose jobs are to run again, now or later.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3..]  streams, the one of returned work first
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3..]  six for each delivery:
--              stream, an index into KEYS (from 3)
--              entry
--              job id
--              n, the number of the delivery
--              a, the attempt
--              delay_ms
--
-- Returns the places (from 1) of the deliveries that were refused, because the
-- job belongs to somebody else by now. A call that is repeated after a lost reply is known
-- by the attempt that it has brought about, as long as that has not ended or been parked.
-- The new delivery has a higher number and counts one attempt more. A cancelled job
-- ends instead. Cost
-- O(deliveries), about 10 microseconds each; callers send at most 250.

local delayed, control, returned = KEYS[1], KEYS[2], KEYS[3]
local FIRST, EACH = 3, 6
local group, prefix = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local first = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or math.huge
local earliest = math.huge
local refused = {}
local are_cancelled = are_any_cancelled(prefix)
redis.call('XLEN', returned) -- raises here where it is no stream: later would be too late

local function keep(job, told, n, attempt, due)
  -- Into the returned work when it is due: it has waited in line before.
  redis.call('HSET', job, 'p', told['job'], 'n', n, 'a', attempt, 's', 'returned')
  redis.call('HDEL', job, 'e')
  if told['h'] then
    redis.call('HSET', job, 'h', told['h'])
  end
  redis.call('ZADD', delayed, due, told['id'])
  earliest = math.min(earliest, due)
end

local function put_back(told, n, attempt)
  local fields = { 'id', told['id'], 'n', n, 'job', told['job'], 'a', attempt }
  if told['h'] then
    fields[9], fields[10] = 'h', told['h']
  end
  return redis.call('XADD', returned, '*', unpack(fields))
end

-- Whether the attempt that follows this one is there: the reply was lost then. If another
-- worker has taken the job, that attempt has another number. Or whether the job has been
-- cancelled, which is no loss of this worker's.
local function is_mine(id, n, attempt)
  local job = load_job(prefix .. 'job:' .. id)
  if job.cancelled == 'ended' then
    return true
  end
  local next_n, next_attempt = job.delivery, job.attempt
  if not job.envelope then
    local stream = prefix .. 'stream:' .. job.lane
    local found = job.entry and redis.pcall('XRANGE', stream, job.entry, job.entry)[1]
    local fields = fields_by_name(found and found[2] or {})
    next_n, next_attempt = fields.n, fields.a
  end
  return tonumber(next_n) == n + 1 and tonumber(next_attempt) == attempt + 1
end

for at = FIRST, #ARGV, EACH do
  local stream, entry, delay_ms = KEYS[tonumber(ARGV[at]) + 2], ARGV[at + 1], tonumber(ARGV[at + 5])
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if redis.call('XACK', stream, group, entry) == 1 and found then
    local told = fields_by_name(found[2])
    local job = prefix .. 'job:' .. told['id']
    local n = string.format('%d', tonumber(told['n']) + 1)
    local attempt = string.format('%d', (tonumber(told['a']) or 1) + 1)
    local is_own = names_entry(prefix, told['id'], stream, entry)
    redis.call('XDEL', stream, entry)
    if not (are_cancelled and has_been_cancelled(prefix, told['id'], entry, told['job'])) then
      -- The hash of another job is no place to keep it: at once, rather than never.
      if delay_ms > 0 and (is_own or redis.call('EXISTS', job) == 0) then
        keep(job, told, n, attempt, now + delay_ms)
      else
        local fresh = put_back(told, n, attempt)
        if is_own then
          redis.call('HSET', job, 'e', fresh, 's', 'returned')
        end
      end
    end
  elseif not is_mine(ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])) then
    refused[#refused + 1] = (at - FIRST) / EACH + 1
  end
end

if earliest < first then
  -- Only a hint: they look now and then.
  redis.pcall('XADD', control, 'MAXLEN', '~', 1000, '*', 'say', 'wake')
end
count_noted_ends(prefix)
return refused
