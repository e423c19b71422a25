-- permits.lua: the permits that jobs hold under limits, and the backlogs that wait for these.
--
-- A token names a limit: 'c=', 'r=' or 'o=' (concurrency, rate, order) and the limit, as in
-- 'c=sync:acme'. The field l of an entry has the tokens of its job, with spaces between.
-- `permits:<token>` has who holds a permit, '<job id> <n>', by the time when it was given.
-- `blocked:<token>` has the backlogs that wait for room, by virtual time, and `due` has each such token,
-- by the time when there will be room; 'inf' if that depends on the end of a job. For an order it is
-- when to look up its first job.
-- `bell` has one entry at most, which wakes one worker that waits: see admit.lua.
--
-- uses: entry

local has_rung = false -- one entry is enough for all that a script frees
local has_due -- whether backlogs wait for any limit; nil is unknown

-- Wake a worker that waits for jobs.
local function ring(prefix)
  if not has_rung then
    redis.pcall('XADD', prefix .. 'bell', 'MAXLEN', '1', '*', 'ring', '1')
    has_rung = true
  end
end

-- Return whether backlogs wait for any limit, by the first answer in a script.
local function is_any_due(prefix)
  if has_due == nil then
    has_due = redis.call('EXISTS', prefix .. 'due') == 1
  end
  return has_due
end

-- The letter of tokens of an order.
local ORDER = string.byte('o')

-- Return the backlog of the first job of an order if it waits for that, its virtual time, and whether
-- more do; nothing if it does not, as the job runs, or comes back later. Nil without a first job.
local function blocked_first(prefix, token)
  local first = redis.pcall('ZRANGE', prefix .. 'order:' .. token, 0, 0)[1]
  if not first then
    return nil
  end
  local blocked, b = prefix .. 'blocked:' .. token, redis.pcall('HGET', prefix .. 'job:' .. first, 'b')
  local name = type(b) == 'string' and string.match(b, '^%d+ (.+)$')
  local time = name and redis.pcall('ZSCORE', blocked, name)
  return type(time) == 'string' and { name, time, redis.call('ZCARD', blocked) > 1 } or {}
end

-- Make the next backlog ready that waits for a limit. Return its name, and its virtual time; nil if
-- none waits. Errors are ignored, as the end of a job does not depend on what waits.
local function wake_next(prefix, token)
  local blocked, due = prefix .. 'blocked:' .. token, prefix .. 'due'
  local is_order = string.byte(token) == ORDER
  local first = is_order and blocked_first(prefix, token)
  local found = first or redis.pcall('ZRANGE', blocked, 0, 1, 'WITHSCORES')
  if found.err then
    redis.pcall('ZREM', due, token)
    return nil
  elseif not found[1] then
    -- A limit in `due` has backlogs that wait, unless another program has deleted them: the next look
    -- is to find that.
    if not first and is_any_due(prefix) then
      redis.pcall('ZADD', due, 'XX', '0', token)
    end
    return nil
  end
  -- Before it leaves the others: `ready` may be the key of another program.
  if type(redis.pcall('ZADD', prefix .. 'ready', found[2], found[1])) == 'table' then
    redis.pcall('ZADD', due, 'XX', '0', token) -- the next look tries again
    return nil
  end
  redis.call('ZREM', blocked, found[1])
  if not found[3] then
    redis.pcall('ZREM', due, token)
  else
    -- Another program may have deleted it.
    redis.pcall('ZADD', due, 'NX', is_order and '0' or 'inf', token)
  end
  return found[1], tonumber(found[2])
end

-- Return the permits of a delivery that has left its worker. tokens: field l of its entry.
-- The errors of other programs' keys are ignored: the end of a job does not depend on its permits.
local function return_permits(prefix, tokens, id, n)
  for token in string.gmatch(tokens, 'c=%S+') do
    redis.pcall('ZREM', prefix .. 'permits:' .. token, id .. ' ' .. n)
    if wake_next(prefix, token) then
      ring(prefix)
    end
  end
end

-- Take the field l out of the values of an entry; return it, nil if there is none.
local function take_tokens(values)
  for at = NEXT_FIELD, #values, 2 do
    if values[at] == 'l' then
      table.remove(values, at)
      return table.remove(values, at)
    end
  end
end
