-- job.lua: loads the hash of a job. A part of every script that reads one.
--
-- If the hash is not one, the job is unknown. An error would come when the script has taken other
-- jobs from their workers, and lose them.

-- Return the fields of a job by name; false for each that it does not have. Without the envelope of a
-- delayed job: it may be a megabyte, and hundreds of jobs are looked at in one call.
local function load_job(key)
  local known = redis.pcall('HMGET', key,
    'e', 's', 'n', 'a', 'h', 'q', 'w', 'k', 'x', 'c', 'ended', 'b')
  return {
    entry = known[1], -- in its lane; of a cancelled job until a worker has received it
    lane = known[2] or 'default', -- the one that it is in, or will go to
    delivery = known[3], -- this and the next two only while it is delayed or held
    attempt = known[4],
    history = known[5],
    parked_at = known[6], -- '<entry> <task>', only while it is parked
    waiters = known[7],
    keeps_result = not known[8],
    suspect_run = known[9],
    cancelled = known[10], -- 'ended', or while it runs how many ms its outcome will be kept
    ended_by = known[11], -- the delivery that ended it, '0' if none did
    place = known[12], -- '<place> <backlog>' of a job that is or was held
  }
end

-- Whether this entry is a job's own; and the delivery that ended the job, if it has ended. Entries
-- of two streams can have the same id, and another program can add an entry with the id of a job.
local function names_entry(prefix, id, stream, entry)
  local known = redis.pcall('HMGET', prefix .. 'job:' .. id, 'e', 's', 'ended')
  return known[1] == entry and prefix .. 'stream:' .. (known[2] or 'default') == stream, known[3]
end

-- Whether an entry is the present one of a job that has not ended.
local function is_present(prefix, id, stream, entry)
  local is_named, ended_by = names_entry(prefix, id, stream, entry)
  return is_named and not ended_by
end
