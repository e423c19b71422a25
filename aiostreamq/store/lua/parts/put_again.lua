-- put_again.lua: a part of every script that puts a job into a lane that has been in one, or among
-- the delayed jobs, before.

-- job: its key, or nil if the entry is not the job's own. After that, the values of the entry:
-- id, n and job come first.
local function put_again(stream, lane, job, ...)
  local entry = redis.call('XADD', stream, '*', ...)
  if job then
    redis.call('HSET', job, 'e', entry, 's', lane)
  end
end
