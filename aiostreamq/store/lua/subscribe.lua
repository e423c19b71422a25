-- subscribe.lua: subscribe an inbox to the ends of jobs, and return the outcomes of those that have
-- ended.
--
-- KEYS[1]    inbox of the caller
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    name of the inbox, for settle.lua
-- ARGV[3..]  job ids
--
-- Returns for each id its outcome (JSON) if it has ended, 1 if the inbox will be notified, 2 if no
-- result is kept, 3 if it has ended but the reply has a megabyte of other outcomes already, and nil
-- if there is no such job. A repeated call changes nothing. If very many
-- inboxes subscribe to a job, the last ones (about 120) are notified; the others learn of the end
-- when they subscribe again. Cost O(ids), 1 to 2 microseconds each.
--
-- uses: job job_state
-- flags: allow-oom

local prefix, inbox = ARGV[1], ARGV[2]
local answers = {}

-- Inboxes of processes that have ended look like any other. Without a limit, the list of a job that
-- waits for months would grow for ever.
local LONGEST_LIST = 2048

-- Bytes of outcomes after which no more are returned. One always is.
local MOST_BYTES = 1000000
local bytes = 0

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

for at = 3, #ARGV do
  local id = ARGV[at]
  -- If another program has overwritten the result of one job, the others are not affected.
  local outcome = redis.pcall('GET', prefix .. 'result:' .. id)
  if type(outcome) == 'string' then
    local length = string.len(outcome)
    local has_room = bytes == 0 or bytes + length <= MOST_BYTES
    answers[at - 2] = has_room and outcome or 3
    bytes = bytes + (has_room and length or 0)
  else
    local job = prefix .. 'job:' .. id
    local known = load_job(job)
    local state = state_of(known)
    if not known.keeps_result then
      answers[at - 2] = 2
    elseif not state or state == 'done' or state == 'cancelled' then
      answers[at - 2] = false
    else
      if not known.waiters then
        redis.call('HSET', job, 'w', inbox)
      elseif not string.find(known.waiters, inbox, 1, true) then
        redis.call('HSET', job, 'w', with_inbox(known.waiters))
      end
      answers[at - 2] = 1
    end
  end
end
return answers
