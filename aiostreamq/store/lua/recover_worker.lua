-- recover_worker.lua: take what a dead worker was sent, and give it to the living.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]    dead letters
-- KEYS[3..]  streams, the one of returned work first; those of its lanes among them
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    name of the dead worker
-- ARGV[4]    its beat as it has been seen for a whole lease
-- ARGV[5]    limit: how many deliveries this call may touch in each stream
-- ARGV[6]    max_worker_deaths: a job that was with so many workers when they died is given up;
--            after the first time only deliveries count that note_suspect_run.lua has noted as run
-- ARGV[7]    max_dead: about how many dead letters are kept
-- ARGV[8]    keep_ms: how long the outcome of a job that is given up is kept
-- ARGV[9]    inbox_ms: an inbox that nobody empties goes away after this
--
-- Returns {returned, given up, finished}: finished is 0 where the worker has
-- more and the call should be made again, 1 where it has nothing left, and -1
-- where it lives after all and nothing was done. Every delivery becomes a new
-- entry of a higher number, so that its old owner's XACK finds nothing. A cancelled job
-- ends instead. What ends here is counted here. Raises where a stream is none: the others have
-- been gone through.
-- Cost O(deliveries), about 10 microseconds each.
--
-- uses: cancelled check ending entry job moment put_again stats take_back time
-- flags: allow-oom

local workers, dead, returned = KEYS[1], KEYS[2], KEYS[3]
local group, prefix, name, seen = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, max_worker_deaths = tonumber(ARGV[5]), tonumber(ARGV[6])
local max_dead, keep_ms, inbox_ms = ARGV[7], ARGV[8], ARGV[9]

local now = read_clock()

local beat = redis.call('HGET', workers, name)
local is_marked = beat and string.find(beat, '^dead')
if beat ~= seen and not is_marked then
  return { 0, 0, -1 }
end
local are_cancelled = are_any_cancelled(prefix)

check_stream(dead)
check_stream(returned)
if not is_marked then
  -- Its lanes stay with it, for whoever goes on with this.
  redis.call('HSET', workers, name, 'dead' .. (string.match(beat, '^%S+ %S+(.*)$') or ''))
end

-- The workers that died, for people. Times of more digits are nobody's that we know.
local function told(victims)
  local words = {}
  for word in string.gmatch(victims, '%S+') do
    local who, ms = string.match(word, '^(.+)@(%d+)$')
    words[#words + 1] = who and #ms <= 15 and who .. ' at ' .. moment(tonumber(ms)) or word
  end
  return table.concat(words, ', ')
end

-- Keeps a job that took down every worker that ran it; returns its outcome. Its n is 0: no
-- delivery ended it, so that the outcome of one that was only thought dead is refused.
local function bury(deaths, victims, stream, entry, fields)
  local message = string.format(
    'delivered %d times, and each worker died before it had an outcome: %s', deaths, told(victims))
  local outcome = cjson.encode({
    state = 'dead', n = 0, error = { type = 'Poison', message = message, traceback = '' },
  })
  redis.call('XADD', dead, 'MAXLEN', '~', max_dead, '*',
    'outcome', outcome, 'worker', name, 'stream', stream, 'entry', entry, unpack(fields))
  return outcome
end

-- Lua can hand on some 8,000 values at once, and a stranger may write more.
local MOST_VALUES = 1000

-- Whether a delivery only waited beside one that was run: a job that kills its worker again and
-- again must not take along all that comes back together with it. Runs of a job that no longer
-- has a hash cannot be noted, so all its deliveries count.
local function is_innocent(fields)
  local job = load_job(prefix .. 'job:' .. fields[ID])
  return job.entry and job.suspect_run ~= fields[N]
end

-- Adds this worker to the field d of an entry: the workers that have died with the job since it last
-- had an outcome, each as name@ms, with spaces between. Returns how many there are, and the field.
local function note_death(fields)
  local victim = string.format('%s@%.0f', name, now)
  for at = NEXT_FIELD, #fields, 2 do
    if fields[at] == 'd' then
      if is_innocent(fields) then
        return 0
      end
      fields[at + 1] = fields[at + 1] .. ' ' .. victim
      local _, deaths = string.gsub(fields[at + 1], '%S+', '')
      return deaths, fields[at + 1]
    end
  end
  fields[#fields + 1] = 'd'
  fields[#fields + 1] = victim
  return 1, victim
end

local function recover(stream, entry)
  local fields, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if not fields or has_ended then
    return 0, 0
  end
  -- What is no count to a worker is none here: it goes back as it is, to be buried.
  local is_job = fields[1] == 'id' and fields[3] == 'n'
    and #fields <= MOST_VALUES and string.len(fields[N]) <= 15
  local n = is_job and string.find(fields[N], '^[1-9]%d*$') and tonumber(fields[N])
  local is_own = n and names_entry(prefix, fields[ID], stream, entry)
  if n then
    local deaths, victims = note_death(fields)
    if deaths >= max_worker_deaths then
      local outcome = bury(deaths, victims, stream, entry, fields)
      if is_own then
        end_as_dead(prefix, fields[ID], fields[ENVELOPE], outcome, keep_ms, inbox_ms)
      end
      return 0, 1
    end
    fields[N] = string.format('%d', n + 1)
  end
  put_again(returned, 'returned', is_own and prefix .. 'job:' .. fields[ID] or nil,
    unpack(fields, 1, math.min(#fields, MOST_VALUES)))
  return 1, 0
end

local all_returned, all_given_up, finished, trouble = 0, 0, 1, nil
for at = 3, #KEYS do
  local stream = KEYS[at]
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', limit, name)
  if not pending.err then
    for _, delivery in ipairs(pending) do
      local back, up = recover(stream, delivery[1])
      all_returned, all_given_up = all_returned + back, all_given_up + up
    end
    if #pending == limit then
      finished = 0
    else
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
    end
  elseif not string.find(tostring(pending.err), 'NOGROUP', 1, true) then
    -- Told when the others have been gone through. Where there is no group nothing is pending.
    trouble = pending
  end
end
if finished == 1 and not trouble then
  redis.call('HDEL', workers, name)
end
count_noted_ends(prefix)
return trouble or { all_returned, all_given_up, finished }
