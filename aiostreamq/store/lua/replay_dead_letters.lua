-- replay_dead_letters.lua: run jobs again that are among the dead letters.
--
-- KEYS[1]    dead letters
-- KEYS[2..]  streams
-- ARGV[1]    prefix of the queue's keys
-- ARGV[2..]  seven for each letter:
--              letter
--              id of its job
--              stream, an index into KEYS (from 2)
--              mark: 2 if no result is kept, else 0
--              envelope, JSON
--              history, JSON: how the job has ended so far
--              digest of the key that the job takes again; empty for none
--
-- Returns one number for each letter: 1 if its job runs again, by this call or by an earlier one
-- whose reply was lost; 0 if there is no such letter; -1 if the letter stays, because it does not
-- hold a job, or because its id belongs to another job now; -2 if it stays because another job that
-- has not ended holds its key. The result of the id is deleted with the letter; waiters are notified
-- of the new end.
-- Cost O(letters), about 15 microseconds each; callers send at most 100.
--
-- uses: job job_state put_again time unique

local dead, prefix = KEYS[1], ARGV[1]
local lane_at = string.len(prefix) + string.len('stream:') + 1
local unique, now = prefix .. 'unique', read_clock()
local answers = {}

-- Places of the values in a letter: outcome, worker, stream, entry, then the values of the entry.
local OUTCOME, ID, N = 2, 10, 12

-- Whether a worker could have read the entry of the letter.
local function is_job(fields, id)
  local n = fields[11] == 'n' and fields[13] == 'job' and fields[N]
  return n and fields[9] == 'id' and fields[ID] == id
    and string.len(n) <= 15 and string.find(n, '^[1-9]%d*$')
end

-- Whether the id belongs to the letter alone.
local function is_free(fields, job, result)
  local outcome = redis.pcall('GET', result)
  if outcome and outcome ~= fields[OUTCOME] then
    return false
  end
  redis.call('HLEN', job) -- raises if the job cannot be written
  local known = load_job(job)
  local state = state_of(known)
  if state == 'cancelled' then
    return not known.entry -- else a worker may still receive that
  end
  return not state or state == 'done'
end

-- Whether another job keeps a job from its key.
local function is_kept_out(digest, id)
  local holder = digest ~= '' and redis.call('HGET', unique, digest)
  return holder and holder ~= id and holds_key(prefix, holder, now)
end

for at = 2, #ARGV, 7 do
  local letter, id, stream = ARGV[at], ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])]
  local mark, envelope, history, digest = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local job, result = prefix .. 'job:' .. id, prefix .. 'result:' .. id
  local found = redis.call('XRANGE', dead, letter, letter)[1]
  local fields = found and found[2]
  local answer = -1
  if not found then
    answer = redis.call('EXISTS', job, result) > 0 and 1 or 0
  elseif is_job(fields, id) and is_kept_out(digest, id) then
    answer = -2
  elseif is_job(fields, id) and is_free(fields, job, result) then
    local lane = string.sub(stream, lane_at)
    local n = string.format('%.0f', tonumber(fields[N]) + 1)
    -- First, as this is refused when memory is full: then nothing has been done yet.
    put_again(stream, lane, job, 'id', id, 'n', n, 'job', envelope, 'h', history)
    redis.call('XDEL', dead, letter)
    redis.call('DEL', result)
    redis.call('HDEL', job, 'ended', 'x', 'c', 'k')
    if lane == 'default' then
      redis.call('HDEL', job, 's') -- as enqueue.lua leaves it
    end
    if mark == '2' then
      redis.call('HSET', job, 'k', '0')
    end
    redis.call('PERSIST', job)
    if digest ~= '' then
      redis.call('HSET', unique, digest, id)
    end
    answer = 1
  end
  answers[#answers + 1] = answer
end
return answers
