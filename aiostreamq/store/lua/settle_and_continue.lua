-- settle_and_continue.lua: end deliveries, and do what follows the ends of their jobs: put callbacks
-- into the lanes, free keys, make the jobs due that wait for these, return permits, and let the next
-- job of an order run.
--
-- Workers use it for a batch in which something follows an end, and settle.lua for others.
--
-- KEYS and ARGV as those of settle.lua; after them in ARGV
--   five for each callback:
--              place of the delivery whose end it follows, from 1
--              when it is called: success or failure
--              lane
--              mark: 2 if its result is not kept, else 0
--              envelope, JSON
--   how many callbacks these are
--   two for each key:
--              place of the delivery whose end frees it, from 1
--              digest of the key
--   how many keys these are
--   two for each delivery that holds permits:
--              place of the delivery, from 1
--              tokens of its permits; '-' if the job may be in an order
--   how many deliveries these are
--
-- Returns and raises as settle.lua. A callback is put into its lane if this call ends the job: not
-- if the delivery is refused, nor if the call is repeated after a lost reply, nor if the job has
-- ended as cancelled. A key is freed if the job holds it. One that is not freed here is found free
-- by the next enqueue that asks for it: see part `unique`. So does promote.lua for a job that waits.
-- Cost O(deliveries), about 6 microseconds each, 12 for each callback, and 3 for each key.
--
-- uses: after_end callbacks calls control keep_latest order permits time
-- flags: allow-oom
-- then: settle

local permits = {}
for _ = 1, tonumber(table.remove(ARGV)) do -- from the end, so that the rest is for settle.lua
  local tokens, place = table.remove(ARGV), table.remove(ARGV)
  permits[tonumber(place)] = tokens
end

local digests = {}
for _ = 1, tonumber(table.remove(ARGV)) do
  local digest, place = table.remove(ARGV), table.remove(ARGV)
  digests[tonumber(place)] = digest
end

local callbacks = {}
for _ = 1, tonumber(table.remove(ARGV)) do
  local job, mark, lane = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
  local when, place = table.remove(ARGV), table.remove(ARGV)
  callbacks[tonumber(place)] = { when = when, lane = lane, mark = mark, job = job }
end

-- Free a key, and make the job due that waits for it. Other programs may have written something else
-- there: the end of a job does not depend on it.
local function free_key(digest, id)
  local prefix = ARGV[2]
  local unique = prefix .. 'unique'
  local known = redis.pcall('HMGET', unique, digest, waiting_field(digest))
  if known[1] ~= id then
    return
  end
  redis.call('HDEL', unique, digest)
  keep_calls(prefix, digest, id)
  if known[2] and is_waiting(prefix .. 'job:' .. known[2]) then
    redis.pcall('ZADD', prefix .. 'delayed', 'XX', (read_clock()), known[2])
    hint_to_workers(prefix .. 'control', 'wake')
  end
end

after_leave = function(place, id, n)
  if permits[place] then
    return_permits(ARGV[2], permits[place], id, n)
  end
end

after_end = function(place, id, n, entry)
  if callbacks[place] then
    call_back(ARGV[2], id, n, entry, callbacks[place])
  end
  if digests[place] then
    free_key(digests[place], id)
  end
  local order = permits[place] and string.match(permits[place], '^o=%S+')
  if order then
    leave_order(ARGV[2], order, id)
  elseif permits[place] == '-' then
    leave_its_order(ARGV[2], redis.pcall('HGET', ARGV[2] .. 'job:' .. id, 'b'), id)
  end
end
