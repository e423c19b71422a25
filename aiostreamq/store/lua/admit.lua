-- admit.lua: deliver held jobs to a worker whose limits have room.
--
-- KEYS[1]    ready: backlogs by virtual time
-- KEYS[2]    stream of admitted jobs
-- KEYS[3]    cancelled
-- KEYS[4]    paused
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    consumer
-- ARGV[4]    count: how many deliveries at most; 0 leaves the next look to another worker
-- ARGV[5]    entry of `bell` that has woken the worker, empty if none has
-- ARGV[6]    lanes that the worker serves, with a space before and after each
-- ARGV[7]    1 if its code has limits, so that their rules must be known
-- ARGV[8..]  tasks that it may run
--
-- Takes the backlog with the least virtual time, looks at all limits of its first job, and charges
-- them all if each has room; the time of the backlog rises by one. If a limit refuses, the backlog
-- waits for that limit. A limit with room has no backlog that waits for it, or the next one is in
-- `ready`, or `due` has when to look again.
-- Returns {streams, wait_ms, has_more, has_stops, trouble, loss}. streams: the deliveries, as XREADGROUP returns
-- them. Other workers get a message if a job may be admitted whose task this one does not know.
-- wait_ms: when the worker must look again, -1 if others do, or no limit has a time for that. A
-- second worker gets half a second more. has_more: 1 if it has stopped at a bound. has_stops: 0 if no cancelled or
-- paused job can be among these. Jobs of paused tasks and lanes stay, even if the worker does not
-- know of the pause yet. trouble: errors about keys of other programs in the place of one of a
-- limit or a backlog, with their names; the jobs that need it wait, and no others. loss: 'rules' if
-- another program has deleted the rules, and nothing is admitted before this worker declares them
-- again; 'backlogs' if it has deleted what leads to backlogs, so that this worker is to look for them,
-- at most one each minute; else empty.
-- Cost O(jobs and backlogs that are looked at), about 15 microseconds each.
--
-- uses: backlog charges check_keys control leave limits order permits time turns
-- flags: allow-oom

local ready, admitted = KEYS[1], KEYS[2]
local group, prefix, consumer, left, bell = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local lanes, tasks = ARGV[6], {}
for at = 8, #ARGV do
  tasks[ARGV[at]] = true
end
local due, claim, looked_at = prefix .. 'due', prefix .. 'due_claim', prefix .. 'due_looked'
local now = read_clock()

-- How many backlogs it reads at once, as many as it may admit jobs; how many backlogs, and jobs that have
-- ended, one call looks at; how many it wakes; and bytes of envelopes after which it ends. Redis copies
-- each, and other clients wait for that.
local LEAST_PAGE, PAGE, MOST_LOOKED, MOST_WOKEN, MOST_BYTES = 10, 100, 500, 100, 1000000

-- How many backlogs of other workers' tasks it passes over: to look at one costs a tenth.
local MOST_PASSED = 5000

-- Ms after which another worker looks if the one that has claimed the look does not.
local CLAIM_MS = 500

-- Ms by which the clock must be behind that of the last look to count as set back; how many limits are
-- looked at again then, in one call; and how long the time of a look is kept, in ms.
local CLOCK_MS, MOST_AHEAD, LOOKED_MS = 500, 1000, 24 * 3600 * 1000

-- How much later than a backlog of the same virtual time one is that comes after it.
local TIE = 0.000001

-- Ms after which limits are looked at that wait for ends of jobs, and how many of these.
local ENDS_MS, MOST_ENDS = 5000, 100

-- Seconds until another worker looks for lost backlogs.
local LOST_SECONDS = 60

-- A longer envelope is not decoded for the time when its job expires.
local LONGEST_TO_READ = 65536

local is_anything_blocked = false
local is_left = false -- whether there is a backlog for other workers that may not know of it
local heap = {} -- backlogs that may have a job, the least virtual time first
local touched, grants = {}, {} -- backlogs of which jobs were taken; jobs to be delivered
local looked, passed, woken, bytes, floor = 0, 0, 0, 0, nil
local gone = 0 -- how many backlogs have left those that are ready
local emptied = {} -- backlogs that are to leave those that are ready
local trouble = {} -- errors about keys, with their names
local has_lost = false -- whether backlogs must have been lost
local is_paused, has_pauses = {}, false -- tasks and lanes that are paused now

check_stream(admitted)
check_sorted_set(ready)
check_sorted_set(due)
if bell ~= '' then
  try_to_leave(prefix .. 'bell', group, bell)
  redis.pcall('XDEL', prefix .. 'bell', bell)
end

local function push(backlog)
  local at = #heap + 1
  heap[at] = backlog
  while at > 1 do
    local above = math.floor(at / 2)
    if heap[above].time <= heap[at].time then
      return
    end
    heap[above], heap[at], at = heap[at], heap[above], above
  end
end

local function pop()
  local first, last = heap[1], table.remove(heap)
  if heap[1] then
    heap[1] = last
    local at = 1
    while true do
      local least = at
      for below = 2 * at, 2 * at + 1 do
        if heap[below] and heap[below].time < heap[least].time then
          least = below
        end
      end
      if least == at then
        break
      end
      heap[least], heap[at], at = heap[at], heap[least], least
    end
  end
  return first
end

local function load_pauses()
  local pauses = redis.pcall('HGETALL', KEYS[4])
  for at = 1, #pauses, 2 do
    local limit = tonumber(pauses[at + 1]) or 0
    if limit == 0 or limit > now then
      is_paused[pauses[at]], has_pauses = true, true
    end
  end
end

-- Whether the worker may run the jobs of a backlog.
local function is_wanted(name)
  local lane, task = string.match(name, '^(%S+) (%S+)')
  return lane and tasks[task] and string.find(lanes, ' ' .. lane .. ' ', 1, true)
    and not (has_pauses and (is_paused['lane:' .. lane] or is_paused['task:' .. task]))
end

local function new_backlog(name, time)
  local tokens = {}
  for token in string.gmatch(name, '[cor]=%S+') do
    tokens[#tokens + 1] = token
  end
  return { name = name, time = time, tokens = tokens, ids = {}, at = 1, taken = {} }
end

-- Load those limits of backlogs that are new.
local function load_limits_of(backlogs)
  local fresh, is_new = {}, {}
  for _, backlog in ipairs(backlogs) do
    for _, token in ipairs(backlog.tokens) do
      if not loaded_limits[token] and not is_new[token] then
        fresh[#fresh + 1], is_new[token] = token, true
      end
    end
  end
  if #fresh > 0 then
    load_limits(prefix, fresh, now)
  end
end

-- Take backlogs into account.
local function add(backlogs)
  load_limits_of(backlogs)
  for _, backlog in ipairs(backlogs) do
    push(backlog)
  end
end

-- If the clock was set back since the last look, the times in `due` are too far ahead: look again.
-- Return whether it is time to look at the limits that wait for ends.
local function mind_clock()
  local known = redis.pcall('GET', looked_at) -- of whatever type: it is overwritten
  local last = tonumber(type(known) == 'string' and known) or 0
  local is_left = false
  if last > now + CLOCK_MS then
    local ahead = redis.call('ZRANGEBYSCORE', due, '(' .. now, '(inf', 'LIMIT', 0, MOST_AHEAD)
    for _, token in ipairs(ahead) do
      redis.call('ZADD', due, now, token)
    end
    is_left = #ahead == MOST_AHEAD
  end
  if not is_left then
    redis.call('SET', looked_at, string.format('%.0f', now), 'PX', LOOKED_MS)
  end
  return math.floor(last / ENDS_MS) ~= math.floor(now / ENDS_MS)
end

-- Look at some limits that have room only when a job ends: a delivery that a worker of an
-- older release has recovered returns no permits.
local function mind_ends()
  local found, tokens = redis.call('ZRANDMEMBER', due, MOST_ENDS, 'WITHSCORES'), {}
  for at = 1, #found, 2 do
    if found[at + 1] == 'inf' then
      tokens[#tokens + 1] = found[at]
    end
  end
  load_limits(prefix, tokens, now)
  for _, token in ipairs(tokens) do
    if find_room(prefix, loaded_limits[token], 1, now) then
      redis.call('ZADD', due, now, token)
    end
  end
end

-- Take jobs out of an order that have ended unnoticed. Return when to look again.
local function look_at_order(token)
  if type(redis.pcall('ZCARD', prefix .. 'order:' .. token)) == 'table' then
    return now + LATER_MS -- the key of another program
  end
  local _, look_at = first_of_order(prefix, token, now)
  return string.format('%.0f', math.max(look_at, now + SOONEST_MS))
end

-- Make backlogs ready whose limits have room again as time has passed.
local function wake_due()
  if is_anything_blocked and mind_clock() then
    mind_ends()
  end
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, MOST_WOKEN)) do
    local look_at = string.byte(token) == ORDER and look_at_order(token)
    local name = wake_next(prefix, token)
    if name then
      redis.call('ZADD', due, 'XX', look_at or 'inf', token)
      is_left = is_left or not is_wanted(name)
    elseif look_at and redis.call('EXISTS', prefix .. 'blocked:' .. token) == 1 then
      redis.call('ZADD', due, look_at, token)
    elseif redis.call('ZREM', due, token) == 1 then
      has_lost = true -- those that waited for it
    end
  end
end

-- Note that another program has overwritten a key.
local function note_trouble(text)
  trouble[#trouble + 1] = text
end

-- Return the next job of a backlog, nil if there is none.
local function next_id(backlog, share)
  if not backlog.ids[backlog.at] and not backlog.is_whole then
    local from = #backlog.ids
    local key = prefix .. 'backlog:' .. backlog.name
    local found = redis.pcall('ZRANGE', key, from, from + share)
    if found.err then
      note_trouble(tostring(found.err) .. ': key ' .. key)
    end
    backlog.is_whole = #found <= share
    for place = 1, #found do
      backlog.ids[from + place] = found[place]
    end
  end
  return backlog.ids[backlog.at]
end

local function take(backlog, id)
  backlog.at = backlog.at + 1
  backlog.taken[#backlog.taken + 1] = id
  touched[backlog.name] = backlog
end

-- Whether a job has waited too long: its worker ends it, and nothing is charged.
local function has_expired(envelope, attempt)
  if not (string.find(envelope, '"expires"', 1, true) or string.find(envelope, '"deadline"', 1, true))
    or string.len(envelope) > LONGEST_TO_READ then
    return false
  end
  local is_json, call = pcall(cjson.decode, envelope)
  if not is_json or type(call) ~= 'table' then
    return false
  end
  -- A later attempt was started in time: what expires is the wait for the first.
  local expires, deadline = not attempt and tonumber(call.expires), tonumber(call.deadline)
  return expires and expires <= now or deadline and deadline <= now
end

-- Return the first limit that has no room for a job, and when it will have.
local function refusing(backlog, costs, id)
  for place, token in ipairs(backlog.tokens) do
    local has, later = find_room(prefix, loaded_limits[token], costs[place] or 1, now, id)
    if not has then
      return token, later
    end
  end
end

-- Have a backlog wait for a limit.
local function block(backlog, token, later)
  loaded_limits[token].is_quiet = true -- those behind it wait their turn, even if they cost less
  note_trouble(loaded_limits[token].trouble)
  local key = prefix .. 'blocked:' .. token
  local added = redis.pcall('ZADD', key, backlog.time, backlog.name)
  if type(added) == 'table' then
    note_trouble(tostring(added.err) .. ': key ' .. key)
    return -- it stays ready
  end
  redis.call('ZREM', ready, backlog.name)
  backlog.is_blocked, gone = true, gone + 1
  if later then
    redis.call('ZADD', due, string.format('%.0f', math.ceil(later)), token)
  elseif not redis.call('ZSCORE', due, token) then
    redis.call('ZADD', due, 'inf', token)
  end
end

-- Have workers look at a limit when it has room again. The backlog that was woken for its last room
-- may have no job left that is refused, and would have noted when.
local function look_later(token, later)
  if redis.call('ZSCORE', due, token) == 'inf' then
    redis.call('ZADD', due, string.format('%.0f', math.ceil(later)), token)
  end
end

-- Return the costs of a job under its limits, in their order.
local function costs_of(text)
  local costs = {}
  for cost in string.gmatch(text or '', '%S+') do
    costs[#costs + 1] = tonumber(cost) or 1
  end
  return costs
end

-- Admit the next job of a backlog. Return whether the backlog may have another.
local function admit_next(backlog, share)
  local id = next_id(backlog, share)
  if not id then
    if not touched[backlog.name] then -- another program has deleted it
      redis.call('ZREM', ready, backlog.name)
      gone = gone + 1
    end
    return false
  end
  local job = prefix .. 'job:' .. id
  local known = redis.pcall('HMGET', job, 'p', 'n', 's', 'a', 'h', 'd', 'o')
  local envelope, n = known[1], known[2]
  if not envelope or not n or known[3] ~= 'held' then
    looked = looked + 1
    take(backlog, id) -- it has ended
    return true
  end
  local tokens = order_of(backlog.name) or '' -- an order is left at the end, however that comes
  if not has_expired(envelope, known[4]) then
    local costs = costs_of(known[7])
    local token, later = refusing(backlog, costs, id)
    if token then
      block(backlog, token, later)
      return false
    end
    for place, one in ipairs(backlog.tokens) do
      charge(loaded_limits[one], costs[place] or 1, id .. ' ' .. n)
    end
    tokens = table.concat(backlog.tokens, ' ')
  end
  take(backlog, id)
  left, bytes = left - 1, bytes + string.len(envelope)
  grants[#grants + 1] =
    { id = id, job = job, n = n, envelope = envelope, a = known[4], h = known[5], d = known[6],
      tokens = tokens }
  floor, backlog.time = backlog.time, backlog.time + 1
  return true
end

-- Wake the next backlog that waits for a limit of this one, if the limit still has room.
local function wake_behind(backlog)
  local added = {}
  for _, token in ipairs(backlog.tokens) do
    local limit = loaded_limits[token]
    if not (limit.is_quiet or limit.is_order) then
      local has, later = find_room(prefix, limit, 1, now)
      if has and woken >= MOST_WOKEN then
        redis.call('ZADD', due, 'XX', now, token) -- the next call continues
      elseif has then
        local name, time = wake_next(prefix, token)
        limit.is_quiet = not name
        woken = woken + 1
        if name and is_wanted(name) then
          added[#added + 1] = new_backlog(name, time)
        elseif name then
          is_left = true
        end
      elseif later then
        limit.is_quiet = true
        look_later(token, later)
      end
    end
  end
  add(added)
end

local function has_time()
  return left > 0 and looked < MOST_LOOKED and bytes < MOST_BYTES
end

local function serve()
  local share = math.max(1, math.floor(left / math.max(1, #heap)))
  while has_time() and #heap > 0 do
    local backlog = pop()
    looked = looked + (backlog.at == 1 and 1 or 0)
    if admit_next(backlog, share) then
      push(backlog)
    end
    if is_anything_blocked or backlog.is_blocked then
      is_anything_blocked = true
      wake_behind(backlog)
    end
  end
end

-- Pass over backlogs of other workers' tasks, which may be paused: those behind them use the room.
local function pass_over(others)
  if not is_anything_blocked then
    return
  end
  for _, backlog in ipairs(others) do
    local tokens = {}
    for _, token in ipairs(backlog.tokens) do
      if redis.call('ZSCORE', due, token) then
        tokens[#tokens + 1] = token
      end
    end
    backlog.tokens = tokens
  end
  load_limits_of(others)
  for _, backlog in ipairs(others) do
    wake_behind(backlog)
  end
end

-- Look at the backlogs that are ready, page by page. Those of other workers' tasks stay.
local function serve_all()
  local from = 0
  while has_time() do
    local size = math.max(LEAST_PAGE, math.min(PAGE, left))
    local page = redis.call('ZRANGE', ready, from, from + size - 1, 'WITHSCORES')
    local backlogs = {}
    local others = {}
    for at = 1, #page, 2 do
      if not is_wanted(page[at]) then
        passed, is_left = passed + 1, is_left or bell ~= ''
        others[#others + 1] = new_backlog(page[at], tonumber(page[at + 1]))
      elseif not touched[page[at]] then
        backlogs[#backlogs + 1] = new_backlog(page[at], tonumber(page[at + 1]))
      end
    end
    add(backlogs)
    pass_over(others)
    serve()
    if #page < 2 * size or passed >= MOST_PASSED then
      return
    end
    from, gone = from + size - gone, 0
  end
end

-- Take the jobs out of their backlogs. First, as this needs no memory.
local function leave_backlogs()
  for name, backlog in pairs(touched) do
    redis.call('ZREM', prefix .. 'backlog:' .. name, unpack(backlog.taken))
    backlog.is_empty = not backlog.ids[backlog.at]
      and (backlog.is_whole or redis.call('EXISTS', prefix .. 'backlog:' .. name) == 0)
    if backlog.is_empty then
      emptied[#emptied + 1] = name
    end
    count_held(lane_of_backlog(name), -#backlog.taken)
  end
  if #emptied > 0 then
    redis.call('ZREM', ready, unpack(emptied))
  end
end

local function deliver(grant)
  local values = { 'id', grant.id, 'n', grant.n, 'job', grant.envelope }
  for _, field in ipairs({ 'a', 'h', 'd' }) do
    if grant[field] then
      values[#values + 1] = field
      values[#values + 1] = grant[field]
    end
  end
  values[#values + 1] = 'l'
  values[#values + 1] = grant.tokens
  local entry = redis.call('XADD', admitted, '*', unpack(values))
  redis.call('HDEL', grant.job, 'p', 'n', 'a', 'h', 'd')
  redis.call('HSET', grant.job, 'e', entry, 's', 'admitted')
end

local function finish()
  leave_backlogs()
  for name, backlog in pairs(touched) do
    if not backlog.is_empty and not backlog.is_blocked then
      redis.call('ZADD', ready, backlog.time, name)
    end
  end
  save_charges(prefix, now)
  for _, grant in ipairs(grants) do
    deliver(grant)
  end
  if floor then
    local known = tonumber(floor_of(prefix)) or 0
    redis.call('SET', prefix .. 'floor', string.format('%.6f', math.max(floor, known) + #grants * TIE))
  end
  save_held_counts(prefix)
end

-- Return who has claimed the next look, and when that is; and the second worker, which looks if the
-- first has died, and until when it counts. '-' stands for none.
local function load_claim()
  local known = redis.pcall('GET', claim) -- of whatever type: it is overwritten
  known = type(known) == 'string' and known or ''
  local first, at, second, to = string.match(known, '^(%S+) (%d+) (%S+) (%d+)$')
  if not first or tonumber(to) < now then
    second, to = '-', 0
  end
  return first or '-', tonumber(at) or math.huge, second, tonumber(to)
end

local function save_claim(first, at, second, to)
  local kept = math.max(1, math.ceil(at - now) + CLAIM_MS)
  redis.call('SET', claim, string.format('%s %.0f %s %.0f', first, at, second, to), 'PX', kept)
end

-- Return when the worker must look again: when the first limit has room. One worker does, and a second
-- one later; all others would cost as much as they are many.
local function next_look()
  local time = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  if not time or time == 'inf' then
    return -1
  end
  local wait = math.max(0, math.ceil(tonumber(time) - now))
  local first, at, second, to = load_claim()
  if first == consumer or first == '-' or at > tonumber(time) then
    save_claim(consumer, tonumber(time), second == consumer and '-' or second, to)
    return wait
  elseif second == consumer or second == '-' then
    save_claim(first, at, consumer, now + wait + 2 * CLAIM_MS)
    return wait + CLAIM_MS
  end
  return -1
end

-- Leave the next look to another worker.
local function hand_over()
  local first, at, second, to = load_claim()
  if first == consumer then
    redis.call('DEL', claim)
    ring(prefix)
  elseif second == consumer then
    save_claim(first, at, '-', to)
  end
end

-- Return what another program has deleted that this worker is to bring back; '' for nothing.
local function loss()
  if not (is_anything_blocked or #grants > 0) and redis.call('EXISTS', ready) == 0 then
    has_lost = redis.call('EXISTS', prefix .. 'held') == 1
  end
  if has_lost
    and redis.call('SET', prefix .. 'lost_claim', consumer, 'NX', 'EX', LOST_SECONDS) then
    return 'backlogs'
  end
  return ''
end

if ARGV[7] == '1' and redis.call('EXISTS', prefix .. 'limit_defaults') == 0 then
  return { {}, -1, 0, 0, {}, 'rules' }
end
load_pauses()
is_anything_blocked = redis.call('EXISTS', due) == 1
wake_due()
if left == 0 then
  hand_over()
  return { {}, -1, 0, 0, {}, '' }
end
serve_all()
finish()
local streams = {}
if #grants > 0 then
  -- A few more: after the loss of the group, entries may be there that were not delivered.
  streams = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', #grants + 16,
    'STREAMS', admitted, '>') or {}
end
if is_left then
  hint_to_workers(prefix .. 'control', 'held')
end
local has_more = #heap > 0 or not has_time()
if has_more then
  ring(prefix) -- another worker may have a slot free
end
return {
  streams, next_look(), has_more and 1 or 0, redis.call('EXISTS', KEYS[3], KEYS[4]), trouble, loss(),
}
