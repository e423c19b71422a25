-- enqueue.lua: put jobs into their streams, each id once.
--
-- KEYS[1..]  streams
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    inbox of the caller, notified when jobs with mark 1 end
-- ARGV[3]    max_length: how many jobs a stream may hold, running ones included; 0 for no limit.
--            Jobs in the overflow streams count in every stream, as their lane is not known.
--            Or '<max_length> <max_bytes> <group>', for lanes that are bounded in bytes too
-- ARGV[4..]  four for each job:
--              id
--              stream, an index into KEYS
--              mark: 0 no waiter yet, 1 the caller waits, 2 no result is kept
--              envelope, JSON
--
-- Returns the places (from 1) of the jobs that were refused. Positive: the id was taken, and its
-- job is not changed, so a call that is repeated after a lost reply adds nothing twice. Negative:
-- the stream was full. Cost O(jobs), about 4 microseconds each; callers send at most 500.
--
-- uses: lane_bytes put_new

local prefix, inbox, max_length = ARGV[1], ARGV[2], tonumber(ARGV[3])
local max_bytes, group, ledgers = nil, nil, {}
if not max_length then
  max_length, max_bytes, group = string.match(ARGV[3], '(%d+) (%d+) (%S+)')
  max_length, max_bytes = tonumber(max_length), tonumber(max_bytes)
end
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

-- Return the ledger of a lane that is bounded in bytes, nil for others.
local function ledger_of(stream)
  if max_bytes and not ledgers[stream] then
    ledgers[stream] =
      load_ledger(prefix, stream, string.sub(stream, lane_at), group, max_bytes)
  end
  return ledgers[stream]
end

for at = 4, #ARGV, 4 do
  local id, stream = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
  local job = job_prefix .. id
  if is_taken(job, result_prefix .. id) then
    refused[#refused + 1] = at / 4
  elseif max_length > 0 and is_full(stream)
    or max_bytes and not has_bytes(ledger_of(stream), string.len(ARGV[at + 3])) then
    refused[#refused + 1] = -at / 4
  else
    local lane = string.sub(stream, lane_at)
    local entry = put_new(stream, lane, job, id, ARGV[at + 2], inbox, ARGV[at + 3])
    if max_bytes then
      add_bytes(ledger_of(stream), entry, string.len(ARGV[at + 3]))
    end
  end
end
for _, ledger in pairs(ledgers) do
  save_ledger(ledger)
end
return refused
