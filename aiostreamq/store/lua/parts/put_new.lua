-- put_new.lua: puts a new job into the queue.

-- Whether an id is taken: its job has not ended, or not long ago. Takes keys.
local function is_taken(job, result)
  return redis.call('EXISTS', job, result) > 0
end

-- Put a job into a lane; return its entry. mark: 1 if inbox waits for its end, 2 if its result is not
-- kept.
local function put_new(stream, lane, job, id, mark, inbox, envelope)
  local entry = redis.call('XADD', stream, '*', 'id', id, 'n', '1', 'job', envelope)
  if mark == '1' then
    redis.call('HSET', job, 'e', entry, 'w', inbox)
  elseif mark == '2' then
    redis.call('HSET', job, 'e', entry, 'k', '0')
  else
    redis.call('HSET', job, 'e', entry)
  end
  if lane ~= 'default' then
    redis.call('HSET', job, 's', lane)
  end
  return entry
end
