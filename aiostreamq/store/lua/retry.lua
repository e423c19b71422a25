-- retry.lua: end deliveries whose jobs run again, now or later.
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
-- Returns the places (from 1) of the deliveries that are refused, because their jobs belong to
-- another worker now. A call that is repeated after a lost reply is recognized by the attempt that
-- it has caused, until that attempt has ended or is parked. The new delivery has a higher number
-- and the next attempt. A cancelled job ends instead.
-- Cost O(deliveries), about 10 microseconds each; callers send at most 250.
--
-- uses: cancelled check_keys delayed entry job put_again stats take_entry time

local delayed, control, returned = KEYS[1], KEYS[2], KEYS[3]
local FIRST, EACH = 3, 6
local group, prefix = ARGV[1], ARGV[2]
local now = read_clock()
local first = first_due(delayed)
local refused = {}
local are_cancelled = are_any_cancelled(prefix)
check_stream(returned)

local function put_back(stream, entry, fields, delay_ms)
  local job = prefix .. 'job:' .. fields.id
  local n = string.format('%d', tonumber(fields.n) + 1)
  local attempt = string.format('%d', (tonumber(fields.a) or 1) + 1)
  local is_own = names_entry(prefix, fields.id, stream, entry)
  -- The hash of another job cannot keep it, so it runs again at once.
  if delay_ms > 0 and (is_own or redis.call('EXISTS', job) == 0) then
    delay_again(delayed, now + delay_ms, job, fields.id, n, attempt, fields.job)
    if fields.h then
      redis.call('HSET', job, 'h', fields.h)
    end
  else
    local history = fields.h and { 'h', fields.h } or {}
    put_again(returned, 'returned', is_own and job or nil,
      'id', fields.id, 'n', n, 'job', fields.job, 'a', attempt, unpack(history))
  end
end

-- Whether the next attempt exists, and only the reply was lost. If another worker has taken the
-- job, its next attempt has another number. Or whether the job has been cancelled: this worker has
-- not lost it.
local function is_repeated(id, n, attempt)
  local job = load_job(prefix .. 'job:' .. id)
  if job.cancelled == 'ended' then
    return true
  end
  local next_n, next_attempt = job.delivery, job.attempt
  if not job.delivery then
    local stream = prefix .. 'stream:' .. job.lane
    local found = job.entry and redis.pcall('XRANGE', stream, job.entry, job.entry)[1]
    local fields = fields_by_name(found and found[2] or {})
    next_n, next_attempt = fields.n, fields.a
  end
  return tonumber(next_n) == n + 1 and tonumber(next_attempt) == attempt + 1
end

for at = FIRST, #ARGV, EACH do
  local stream, entry, delay_ms = KEYS[tonumber(ARGV[at]) + 2], ARGV[at + 1], tonumber(ARGV[at + 5])
  local values, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if values and not has_ended then
    put_back(stream, entry, fields_by_name(values), delay_ms)
  elseif not values
    and not is_repeated(ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])) then
    refused[#refused + 1] = (at - FIRST) / EACH + 1
  end
end

wake_if_earlier(control, first)
count_noted_ends(prefix)
return refused
