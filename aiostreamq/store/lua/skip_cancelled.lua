-- skip_cancelled.lua: drop the entries of cancelled jobs that are next in their streams.
--
-- KEYS[1]    cancelled: job id by the time of the request
-- KEYS[2..]  streams
-- ARGV[1]    group
-- ARGV[2]    consumer
-- ARGV[3]    prefix of the queue's keys
-- ARGV[4]    limit: how many entries at most
--
-- Returns how many were dropped, and 1 if there may be more, else 0. For each stream this stops at
-- the first entry that is not of a cancelled job. The entries count as delivered before they are
-- deleted, and are not noted as deleted, so that Redis can report the lag of the group.
-- Cost O(dropped), about 6 microseconds each; callers ask for at most 400.
--
-- uses: cancelled check_keys entry
-- flags: allow-oom

local cancelled, group, consumer, prefix = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local job_prefix, stream_prefix = prefix .. 'job:', prefix .. 'stream:'
local left, bytes = tonumber(ARGV[4]), 0
local dropped, has_more = 0, 0

-- How many entries are looked at in one step, and after how many bytes of them a call ends. Payloads
-- of a megabyte may follow small ones, and Redis copies a step as a whole.
local LONGEST_STEP, MOST_BYTES = 8, 262144

check_sorted_set(cancelled)

-- Return what Redis knows of the group of a stream, by name.
local function look_at_group(stream)
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = fields_by_name(flat)
    if info['name'] == group then
      return info
    end
  end
end

-- Note the entries of cancelled jobs up to the first entry that is not to be dropped. Return how
-- many of those that were found come before it.
local function note(run, found)
  for place, entry in ipairs(found) do
    local id, values = entry[1], entry[2]
    local job = values[1] == 'id' and job_prefix .. values[ID]
    local known = job and redis.pcall('HMGET', job, 'c', 'e', 's', 'k') or {}
    if known[1] ~= 'ended' or known[2] ~= id or (known[3] or 'default') ~= run.lane then
      return place - 1
    end
    local envelope = values[ENVELOPE] or ''
    bytes = bytes + string.len(envelope)
    run.entries[#run.entries + 1], run.ids[#run.ids + 1] = id, values[ID]
    if known[4] or #values > ENVELOPE or values[N] ~= '1'
      or string.find(envelope, '"result_ttl"', 1, true) then
      run.others[#run.others + 1] = values[ID]
    else -- no worker has ever had it, and its outcome is kept for an hour: so its id stays taken
      run.hashes[#run.hashes + 1] = job
    end
  end
  return #found
end

-- Return the entries of cancelled jobs that come next in a stream.
local function find_next(stream, after)
  local run = {
    stream = stream, lane = string.sub(stream, string.len(stream_prefix) + 1),
    entries = {}, ids = {}, hashes = {}, others = {},
  }
  -- Steps double, so that one payload of a megabyte does not become many.
  local step = 1
  while #run.ids < left and bytes <= MOST_BYTES do
    local count = math.min(step, left - #run.ids)
    local found = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', count)
    if note(run, found) < count then
      return run
    end
    after, step = found[count][1], math.min(2 * step, LONGEST_STEP)
  end
  has_more = 1
  return run
end

-- Return what Redis knows of a stream, by name; nothing if this user of Redis lacks the right.
local function look_at_stream(stream)
  local flat = redis.pcall('XINFO', 'STREAM', stream)
  return flat.err and {} or fields_by_name(flat)
end

-- Return how many entries the group has read, or nothing if that is unknown. Redis forgets it when
-- the entry that it delivered last is deleted while an older one is pending; it is all entries that
-- were ever added but those that wait.
local function count_of_read(group_info, stream_info)
  local read, added = group_info['entries-read'], stream_info['entries-added']
  if type(read) == 'number' then
    return read
  end
  return added and added - (stream_info['length'] - group_info['pending'])
end

-- Count entries as delivered. Redis counts them while it reads them, or takes our count, which is
-- cheaper; but Redis 6.2 counts none, and users of Redis may lack the right.
local function count_as_delivered(run, group_info, stream_info)
  local last, read = run.entries[#run.entries], count_of_read(group_info, stream_info)
  if read then
    local answer =
      redis.pcall('XGROUP', 'SETID', run.stream, group, last, 'ENTRIESREAD', read + #run.ids)
    if not answer.err then
      return
    end
  end
  redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', #run.ids, 'NOACK',
    'STREAMS', run.stream, '>')
end

-- Delete entries that follow each other and count as delivered. If no other entry is before them,
-- the stream is trimmed, which takes a fraction of the time.
--
-- If one is, Redis notes the last of these as the last that was deleted. It is also the last that
-- was delivered, and newer releases then take those that come next for deleted, and forget how many
-- were read. So the note is set to what it was: only a note of entries that were not read is of use.
local function delete(stream, entries, info)
  local first = info['first-entry'] or redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if first[1] == entries[1] then
    local ms, number = string.match(entries[#entries], '^(%d+)-(%d+)$')
    redis.call('XTRIM', stream, 'MINID', ms .. '-' .. string.format('%.0f', number + 1))
    return
  end
  redis.call('XDEL', stream, unpack(entries))
  local before = info['max-deleted-entry-id']
  if before then -- Redis 6.2 notes nothing
    before = before == '0-0' and '0-1' or before -- Redis ignores 0-0
    redis.pcall('XSETID', stream, info['last-generated-id'], 'MAXDELETEDID', before)
  end
end

local function drop(run, group_info)
  local stream_info = look_at_stream(run.stream)
  count_as_delivered(run, group_info, stream_info)
  delete(run.stream, run.entries, stream_info)
  redis.call('ZREM', cancelled, unpack(run.ids))
  if #run.hashes > 0 then
    redis.call('DEL', unpack(run.hashes))
  end
  for _, id in ipairs(run.others) do
    let_expire(prefix, id)
  end
  dropped, left = dropped + #run.ids, left - #run.ids
end

for place = 2, #KEYS do
  if left == 0 or bytes > MOST_BYTES then
    has_more = 1
    break
  end
  local info = look_at_group(KEYS[place])
  local run = info and find_next(KEYS[place], info['last-delivered-id'])
  if run and #run.ids > 0 then
    drop(run, info)
  end
end
return { dropped, has_more }
