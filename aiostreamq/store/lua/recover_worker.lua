-- recover_worker.lua: take the deliveries of a dead worker, and return their jobs to the queue.
--
-- KEYS[1]    workers: name -> its beat: "<counter> <lease_ms> <lanes>", or "dead <lanes>"
-- KEYS[2]    alive: name -> when its lease is over, by the lease clock
-- KEYS[3]    leases: the lease clock, and how to disconnect each worker
-- KEYS[4]    dead letters
-- KEYS[5..]  streams, the one of returned work first; those of the worker's lanes among them
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    name of the dead worker
-- ARGV[4]    its beat when it was found dead
-- ARGV[5]    limit: how many deliveries this call may take from each stream
-- ARGV[6]    max_worker_deaths: give up a job after this many workers died with it; after the first
--            death, only deliveries count that note_suspect_run.lua has recorded
-- ARGV[7]    max_dead: about how many dead letters are kept
-- ARGV[8]    keep_ms: how long the outcome of a job that is given up is kept
-- ARGV[9]    inbox_ms: when an inbox expires that is not read
--
-- Takes about a megabyte at most; one delivery always goes.
-- Returns {returned, given up, finished}: finished is 0 if the worker has more deliveries and the
-- call must be repeated, 1 if it has none left, and -1 if it is alive after all and nothing was
-- done. Each delivery becomes a new entry with a higher number, so that an XACK of its old owner
-- has no effect. A cancelled job ends instead. Jobs that end here are counted here. Raises if a
-- stream is not one: the other streams have been handled. Cost O(deliveries), about 10 microseconds
-- each.
--
-- uses: callbacks cancelled check_keys ending entry job lease_clock listener put_again stats take_entry time time_text
-- flags: allow-oom

local workers, dead, returned = KEYS[1], KEYS[4], KEYS[5]
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
  -- Its lanes are kept for the calls that follow this one.
  redis.call('HSET', workers, name, 'dead' .. (string.match(beat, '^%S+ %S+(.*)$') or ''))
end

-- Return the workers that died, in a readable form. A time of more digits is not one of ours.
local function describe(victims)
  local workers_died = {}
  for victim in string.gmatch(victims, '%S+') do
    local worker, ms = string.match(victim, '^(.+)@(%d+)$')
    workers_died[#workers_died + 1] = worker and #ms <= 15
      and worker .. ' at ' .. moment(tonumber(ms)) or victim
  end
  return table.concat(workers_died, ', ')
end

-- Keep a dead letter of a job whose workers all died, and return its outcome. The outcome has n 0,
-- as no delivery ended the job: if one of the workers is alive after all, its outcome is refused.
local function keep_letter(deaths, victims, stream, entry, fields)
  local message = string.format(
    'delivered %d times, and each worker died before it had an outcome: %s',
    deaths, describe(victims))
  local outcome = cjson.encode({
    state = 'dead', n = 0, error = { type = 'Poison', message = message, traceback = '' },
  })
  redis.call('XADD', dead, 'MAXLEN', '~', max_dead, '*',
    'outcome', outcome, 'worker', name, 'stream', stream, 'entry', entry, unpack(fields))
  return outcome
end

-- Lua can pass some 8,000 values at once, and an entry of another program may have more.
local MOST_VALUES = 1000

-- Whether a delivery was only waiting while another one ran: a job that kills its worker again and
-- again must not take along the jobs that are returned together with it. Runs of a job without a
-- hash cannot be recorded, so all its deliveries count.
local function is_innocent(fields)
  local job = load_job(prefix .. 'job:' .. fields[ID])
  return job.entry and job.suspect_run ~= fields[N]
end

-- Add this worker to the field d of an entry: the workers that have died with the job since its
-- last outcome, each as name@ms, separated by spaces. Return how many there are, and the field.
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

-- Bytes of envelopes that one call takes. Redis copies each, and other clients wait for that.
local MOST_BYTES = 1000000

local taken_bytes = 0

local function recover(stream, entry)
  local fields, has_ended = take_back(prefix, stream, group, entry, are_cancelled)
  if not fields or has_ended then
    return 0, 0
  end
  taken_bytes = taken_bytes + string.len(fields[ENVELOPE] or '')
  -- Workers cannot read an entry without a valid number. It is returned unchanged, and the next
  -- worker moves it to the dead letters.
  local is_job = fields[1] == 'id' and fields[3] == 'n'
    and #fields <= MOST_VALUES and string.len(fields[N]) <= 15
  local n = is_job and string.find(fields[N], '^[1-9]%d*$') and tonumber(fields[N])
  local is_own = n and names_entry(prefix, fields[ID], stream, entry)
  if n then
    local deaths, victims = note_death(fields)
    if deaths >= max_worker_deaths then
      local outcome = keep_letter(deaths, victims, stream, entry, fields)
      if is_own then
        end_as_dead(prefix, fields[ID], fields[ENVELOPE], outcome, keep_ms, inbox_ms)
        call_on_failure(prefix, fields[ID], fields[N], entry, fields[ENVELOPE])
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
for at = 5, #KEYS do
  local stream = KEYS[at]
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', limit, name)
  if not pending.err then
    local taken = 0
    for _, delivery in ipairs(pending) do
      if taken_bytes >= MOST_BYTES then
        break
      end
      local back, up = recover(stream, delivery[1])
      all_returned, all_given_up, taken = all_returned + back, all_given_up + up, taken + 1
    end
    if taken < #pending or #pending == limit then
      finished = 0
    else
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
    end
  elseif not string.find(tostring(pending.err), 'NOGROUP', 1, true) then
    -- Raised when the other streams have been handled. Without a group nothing is pending.
    trouble = pending
  end
end
if finished == 1 and not trouble then
  redis.call('HDEL', workers, name)
  forget_lease(KEYS[3], KEYS[2], name)
  forget_listener(prefix, group, name)
end
count_noted_ends(prefix)
return trouble or { all_returned, all_given_up, finished }
