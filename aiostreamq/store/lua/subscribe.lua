-- subscribe.lua: subscribe an inbox to the ends of jobs, and return the outcomes of those that have
-- ended.
--
-- KEYS[1]    inbox of the caller
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    name of the inbox, for settle.lua
-- ARGV[3]    thorough: 1 to look whether the jobs are still in their places
-- ARGV[4..]  job ids
--
-- Returns for each id its outcome (JSON) if it has ended, 1 if the inbox will be notified, 2 if no
-- result is kept, 3 if it was not looked at because a megabyte was read for those before it, and nil
-- if there is no such job. If thorough, also 4 for a job that is lost, as its place among the
-- delayed, held or parked jobs is gone; and 5 if the entries of its lane are gone, so that it is lost
-- unless a worker has it. A repeated call changes nothing. If very many
-- inboxes subscribe to a job, the last ones (about 120) are notified; the others learn of the end
-- when they subscribe again. Cost O(ids), 1 to 2 microseconds each.
--
-- uses: entry job job_state
-- flags: allow-oom

local prefix, inbox, is_thorough = ARGV[1], ARGV[2], ARGV[3] == '1'
local answers, oldest = {}, {}

-- Inboxes of processes that have ended look like any other. Without a limit, the list of a job that
-- waits for months would grow for ever.
local LONGEST_LIST = 2048

-- Bytes after which no more jobs are looked at. Redis copies what this script reads, even an outcome
-- that is then left out of the reply, and other clients wait for that.
local MOST_BYTES = 1000000
local bytes, is_full = 0, false

local function with_inbox(waiters)
  while string.len(waiters) + 1 + string.len(inbox) > LONGEST_LIST do
    local second = string.find(waiters, ' ', 1, true)
    if not second then
      return inbox
    end
    waiters = string.sub(waiters, second + 1)
  end
  return waiters .. ' ' .. inbox
end

local function size_of(entry)
  return string.len(entry and entry[2][ENVELOPE] or '')
end

-- Return the id of the oldest entry of a stream, as two numbers. They are infinite if it has none,
-- and 0 if another program has overwritten the stream. Read once: an envelope may be long.
local function oldest_entry(stream)
  if not oldest[stream] then
    local found = redis.pcall('XRANGE', stream, '-', '+', 'COUNT', 1)
    oldest[stream] = found.err and '0-0' or found[1] and found[1][1] or ''
    bytes = bytes + size_of(found[1])
  end
  local ms, number = string.match(oldest[stream], '^(%d+)-(%d+)$')
  return tonumber(ms) or math.huge, tonumber(number) or math.huge
end

local function is_in_stream(stream, entry)
  local ms, number = string.match(entry, '^(%d+)-(%d+)$')
  local oldest_ms, oldest_number = oldest_entry(stream)
  if not ms then -- another program wrote it
    return true
  end
  ms, number = tonumber(ms), tonumber(number)
  return ms > oldest_ms or ms == oldest_ms and number >= oldest_number
end

-- Return 1 if a job is in its place, else 4 or 5. Redis evicts, and people delete, whole keys.
local function look(id, job, state)
  if state == 'in_lane' then
    return is_in_stream(prefix .. 'stream:' .. job.lane, job.entry) and 1 or 5
  elseif state == 'delayed' then
    return redis.pcall('ZSCORE', prefix .. 'delayed', id) and 1 or 4
  elseif state == 'held' then
    local name = string.match(job.place or '', '^%d+ (.+)$')
    return name and redis.pcall('ZSCORE', prefix .. 'backlog:' .. name, id) and 1 or 4
  end
  local entry, task = string.match(job.parked_at, '^(%S+) (.*)$')
  local found = redis.pcall('XRANGE', prefix .. 'parked:' .. task, entry, entry)
  bytes = bytes + size_of(found[1])
  return (found.err or found[1]) and 1 or 4
end

-- Return the answer about a job that has no outcome.
local function subscribe(id)
  local job = prefix .. 'job:' .. id
  local known = load_job(job)
  local state = state_of(known)
  if not known.keeps_result then
    return 2
  elseif not state or state == 'done' or state == 'cancelled' then
    return false
  end
  if not known.waiters then
    redis.call('HSET', job, 'w', inbox)
  elseif not string.find(known.waiters, inbox, 1, true) then
    redis.call('HSET', job, 'w', with_inbox(known.waiters))
  end
  return is_thorough and look(id, known, state) or 1
end

local function answer_to(id)
  -- If another program has overwritten the result of one job, the others are not affected.
  local outcome = redis.pcall('GET', prefix .. 'result:' .. id)
  if type(outcome) ~= 'string' then
    return subscribe(id)
  end
  local has_room = bytes == 0 or bytes + string.len(outcome) <= MOST_BYTES
  bytes = bytes + string.len(outcome)
  return has_room and outcome or 3
end

for at = 4, #ARGV do
  answers[at - 3] = is_full and 3 or answer_to(ARGV[at])
  is_full = bytes >= MOST_BYTES
end
return answers
