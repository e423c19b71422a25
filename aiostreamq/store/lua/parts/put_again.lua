-- put_again.lua: puts a job into a lane again, or for the first time after a delay.

-- Put a job into a lane. job: its key, or nil if the entry is not the job's own. Then come the
-- fields of the entry and their values: id, n and job are the first.
local function put_again(stream, lane, job, ...)
  local entry = redis.call('XADD', stream, '*', ...)
  if job then
    redis.call('HSET', job, 'e', entry, 's', lane)
  end
end
