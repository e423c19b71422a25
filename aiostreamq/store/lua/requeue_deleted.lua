-- requeue_deleted.lua: run jobs again whose entries were deleted while a worker had them.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3..]  streams, the one of returned work first
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  seven for each delivery:
--              stream, an index into KEYS (from 3)
--              entry
--              job id
--              n, the number of the delivery
--              a, the attempt that comes next
--              delay_ms
--              envelope, JSON: it was in the entry only
--
-- Returns the places (from 1) of the deliveries that were not requeued: their jobs have ended,
-- belong to another worker now, are still in their streams, or were deleted too. A cancelled job
-- ends instead. The other fields of the entry (its replays, the workers that died with it) are
-- lost.
-- Cost O(deliveries log delayed), about 10 microseconds each; callers send at most 250,
-- with a megabyte of envelopes.
--
-- uses: cancelled delayed ending job stats time

local delayed, control = KEYS[1], KEYS[2]
local FIRST, EACH = 2, 7
local prefix = ARGV[1]
local now = read_clock()
local refused = {}
local are_cancelled = are_any_cancelled(prefix)
local first = first_due(delayed)

local function is_gone(id, stream, entry)
  return is_present(prefix, id, stream, entry)
    and #redis.call('XRANGE', stream, entry, entry) == 0
end

-- Whether an earlier call has requeued the job, and only its reply was lost.
local function is_kept(id, n, attempt)
  local job = load_job(prefix .. 'job:' .. id)
  return job.delivery == n and job.attempt == attempt
end

for at = FIRST, #ARGV, EACH do
  local stream, entry, id = KEYS[tonumber(ARGV[at]) + 2], ARGV[at + 1], ARGV[at + 2]
  local n, attempt = string.format('%d', tonumber(ARGV[at + 3]) + 1), ARGV[at + 4]
  local envelope = ARGV[at + 6]
  if is_gone(id, stream, entry) then
    if not (are_cancelled and has_been_cancelled(prefix, id, stream, entry, envelope)) then
      delay_again(delayed, now + tonumber(ARGV[at + 5]), prefix .. 'job:' .. id,
        id, n, attempt, envelope)
    end
  elseif not is_kept(id, n, attempt) then
    refused[#refused + 1] = (at - FIRST) / EACH + 1
  end
end

wake_if_earlier(control, first)
count_noted_ends(prefix)
return refused
