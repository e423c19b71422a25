-- job.lua: a part of every script that moves deliveries. It comes after stats.lua.
--
-- What is acknowledged must not get lost because a later command raises. So a script asks
-- before its first write whether the keys of the queue are what they should be, and raises
-- then. The keys of one job, where somebody has put something else in their place, stop
-- nobody: what is no hash names no entry, and what is no list is told nothing.

-- Only the entry that the job itself names: a stranger's that says the same id is no
-- word on that job. Entries of different streams can have the same id.
local function is_named(prefix, id, stream, entry)
  local known = redis.pcall('HMGET', prefix .. 'job:' .. id, 'e', 's')
  return known[1] == entry and prefix .. 'stream:' .. (known[2] or 'default') == stream
end

-- Tells those who wait for a job how it has ended.
local function tell(prefix, waiters, id, outcome, inbox_ms)
  for inbox in string.gmatch(waiters or '', '%S+') do
    local key = prefix .. 'inbox:' .. inbox
    redis.pcall('RPUSH', key, id .. ' ' .. outcome)
    redis.call('PEXPIRE', key, inbox_ms)
  end
end

-- Ends a job that nobody is to run any more, and forgets it.
local function give_up(prefix, id, envelope, outcome, keep_ms, inbox_ms)
  local job = prefix .. 'job:' .. id
  redis.call('SET', prefix .. 'result:' .. id, outcome, 'PX', keep_ms)
  tell(prefix, redis.call('HGET', job, 'w'), id, outcome, inbox_ms)
  redis.call('DEL', job)
  note_end(id, task_in(envelope), 'dead')
end
