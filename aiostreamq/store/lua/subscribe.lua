-- subscribe.lua: ask to be told of the ends of jobs, and learn of those that have ended.
--
-- KEYS[1]    inbox of the caller
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2]    name of the inbox, as settle.lua is to find it
-- ARGV[3..]  job ids
--
-- Returns for each id its outcome (JSON) where it has ended, 1 where the inbox
-- will be told, 2 where no result is kept, and nil where there is no such job.
-- Asking again changes nothing. Of very many inboxes the last that asked are told
-- (about 120); the others learn of the end when they ask again. Cost O(ids), 1 to 2 microseconds each.

local prefix, inbox = ARGV[1], ARGV[2]
local answers = {}

-- Inboxes of processes that are long gone are not known from others: the list of a job that
-- waits for months, and is asked for all the time, would grow without end.
local LONGEST_LIST = 2048

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
  -- What somebody has put in the place of one job stops nobody who waits for another.
  local outcome = redis.pcall('GET', prefix .. 'result:' .. id)
  if type(outcome) == 'string' then
    answers[at - 2] = outcome
  else
    local job = prefix .. 'job:' .. id
    local known = redis.pcall('HMGET', job, 'e', 'w', 'k', 'ended', 'p', 's')
    if known[3] then
      answers[at - 2] = 2
    elseif known[4] or not (known[1] or known[5] or known[6]) then
      answers[at - 2] = false
    else
      local waiters = known[2]
      if not waiters then
        redis.call('HSET', job, 'w', inbox)
      elseif not string.find(waiters, inbox, 1, true) then
        redis.call('HSET', job, 'w', with_inbox(waiters))
      end
      answers[at - 2] = 1
    end
  end
end
return answers
