-- enqueue.lua: put jobs into their streams, each id once.
--
-- KEYS[1..]  streams
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    inbox of the caller, told of the ends of the jobs marked 1
-- ARGV[3]    max_length: how many jobs a stream may hold, those that run included; 0 for any number.
--            What has overflowed counts in each: from which lane it came nobody knows
-- ARGV[4..]  four for each job:
--              id
--              stream, an index into KEYS
--              mark: 0 nobody waits yet, 1 the caller waits, 2 no result is kept
--              envelope, JSON
--
-- Returns the places (from 1) of the jobs that were not put in. One whose id was
-- taken: it is left as it is, so that a call repeated after a lost reply makes
-- nothing twice. With a minus, one that found its stream full.
-- Cost O(jobs), about 4 microseconds each; callers send at most 500.
--
-- uses: put_new

local prefix, inbox, max_length = ARGV[1], ARGV[2], tonumber(ARGV[3])
local job_prefix, result_prefix = prefix .. 'job:', prefix .. 'result:'
local lane_at = string.len(prefix) + string.len('stream:') + 1
local refused = {}
local room, overflowed = nil, 0

if max_length > 0 then
  room = {}
  overflowed = redis.call('XLEN', prefix .. 'stream:overflow:thread')
    + redis.call('XLEN', prefix .. 'stream:overflow:process')
    + redis.call('XLEN', prefix .. 'stream:overflow:slot')
end

local function is_full(stream)
  local left = room[stream] or max_length - overflowed - redis.call('XLEN', stream)
  room[stream] = left - 1
  return left < 1
end

for at = 4, #ARGV, 4 do
  local id, stream = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
  local job = job_prefix .. id
  if is_taken(job, result_prefix .. id) then
    refused[#refused + 1] = at / 4
  elseif max_length > 0 and is_full(stream) then
    refused[#refused + 1] = -at / 4
  else
    put_new(stream, string.sub(stream, lane_at), job, id, ARGV[at + 2], inbox, ARGV[at + 3])
  end
end
return refused
