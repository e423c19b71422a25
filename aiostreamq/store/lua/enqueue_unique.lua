-- enqueue_unique.lua: put jobs into the queue that have keys, if no other job holds the key.
--
-- KEYS[1]    delayed: job id by due time in ms
-- KEYS[2]    control
-- KEYS[3]    cancelled: job id by the time of the request
-- KEYS[4]    unique: digest of a key -> id of the job that holds it, and '<digest>:next' -> that of
--            one that waits until it is free
-- KEYS[5..]  streams
-- ARGV[1]    group
-- ARGV[2]    prefix of the queue's keys
-- ARGV[3]    keep_ms, as for cancel.lua
-- ARGV[4]    states: empty
-- ARGV[5]    inbox of the caller, notified when jobs with mark 1 end
-- ARGV[6]    max_length, or more limits, as ARGV[3] of enqueue.lua. Jobs for later need no room
-- ARGV[7..]  seven for each job:
--              id
--              stream, an index into KEYS (from 5)
--              mark: 0 no waiter yet, 1 the caller waits, 2 no result is kept
--              due: '+' and ms from now, or ms since 1970; empty for now
--              rule: five words, see below
--              digest of its key
--              envelope, JSON
--
-- A rule is '<until> <conflict> <keep_ms> <window_ms> <max_wait_ms>'. until is 'done' or 'started':
-- the key is held from the enqueue to the end of the job, or to its start, before which free_key.lua
-- frees it. Or it is 'window': the key is held for window_ms, whatever becomes of the job. Or it is
-- 'moved': the job is delayed by window_ms, and while it waits, each call of its key gives it its
-- envelope and moves it, to max_wait_ms after the first call at most; later calls begin a new job. Or
-- it is 'latest': the key is held as with 'done', and one more job is delayed until it is free; while
-- that one waits, each call of its key gives it its envelope. conflict says what happens if another
-- job holds the key: 'return' and 'raise' change nothing; 'drop' ends the new job as dropped, with an
-- outcome that is kept for keep_ms; 'replace' cancels the other job, as cancel.lua does, and gives its
-- key to the new one.
--
-- Returns {ahead, places, holders}: how many clients are ahead if the caller waits for room; the
-- places (from 1) of the jobs that were not put in, negative as in enqueue.lua if there was no room;
-- and for each of these the id of the job that holds its key, or '' if it is not about the key. An id
-- that is taken changes nothing, so a call that is repeated after a lost reply adds nothing twice,
-- and no job is kept from the queue by itself. Looks at a few other keys, and forgets those whose
-- holders have ended.
-- Cost O(jobs log delayed), about 10 microseconds each, and 30 to 50 for a job that cancels or moves
-- another one; callers send at most 100.
--
-- uses: calls cancelling delayed ending keep_latest put_new room stats time unique

local delayed, control, unique = KEYS[1], KEYS[2], KEYS[4]
local prefix, inbox = ARGV[2], ARGV[5]
local FIRST, EACH, STREAMS = 7, 7, 4
local lane_at = string.len(prefix) + string.len('stream:') + 1
local now = read_clock()
local first = first_due(delayed)
local room = load_room(prefix, inbox, ARGV[6], KEYS[STREAMS + tonumber(ARGV[FIRST + 1] or 1)])
local places, holders = {}, {}
local added, replaced = 0, 0

-- As id_ms of settle.lua.
local ID_MS = 60000

local function refuse(place, holder)
  places[#places + 1], holders[#holders + 1] = place, holder
end

-- End a new job as dropped, as another one holds its key.
local function drop(one, holder)
  local task = task_in(one.envelope)
  local outcome = cjson.encode({
    state = 'dropped', n = 0, task = task,
    error = { type = 'Drop', message = 'job ' .. holder .. ' has the same key', traceback = '' },
  })
  if one.keep_ms > 0 then
    redis.call('SET', prefix .. 'result:' .. one.id, outcome, 'PX', one.keep_ms)
    notify(prefix, one.mark == '1' and inbox, one.id, outcome, CANCELLED_INBOX_MS)
  end
  if one.keep_ms < ID_MS then
    redis.call('HSET', one.job, 'ended', '0')
    if one.mark == '2' then
      redis.call('HSET', one.job, 'k', '0')
    end
    redis.call('PEXPIRE', one.job, ID_MS)
  end
  note_end(one.id, task, 'dropped')
end

-- Put a job into its lane, or keep it until it is due.
local function put(one)
  local lane = string.sub(one.stream, lane_at)
  if one.due == '' then
    local entry = put_new(one.stream, lane, one.job, one.id, one.mark, inbox, one.envelope)
    note_added(room, one.stream, entry, string.len(one.envelope))
  else
    local due = tonumber(one.due)
    if string.sub(one.due, 1, 1) == '+' then
      due = now + due
    end
    delay_new(delayed, due, lane, one.job, one.id, one.mark, inbox, one.envelope)
  end
  added = added + 1
end

-- Cancel a job, as another one takes its key.
local function cancel(id)
  replaced = replaced + 1
  cancelling.load(replaced, id)
  if cancelling.states[replaced] == 'in_lane' then
    local lane, entry = cancelling.lanes[replaced], cancelling.entries[replaced]
    local found = redis.pcall('XRANGE', prefix .. 'stream:' .. lane, entry, entry)[1]
    local state = found and cancelling.state_in(lane, entry) or 'queued'
    cancelling.note_entry(replaced, state, found and found[2])
  end
  cancelling.handle(replaced, id)
end

-- Return the id of the job that holds a key, if another one does.
local function holder_of(one)
  if one.held == 'window' then
    local holder = redis.call('GET', prefix .. 'unique:' .. one.digest)
    return holder and holder ~= one.id and holder or nil
  end
  local holder = redis.call('HGET', unique, one.digest)
  return holder and holder ~= one.id and holds_key(prefix, holder, now) and holder or nil
end

local function hold_key(one)
  if one.held == 'window' then
    redis.call('SET', prefix .. 'unique:' .. one.digest, one.id, 'PX', one.window_ms)
  else
    redis.call('HSET', unique, one.digest, one.id)
  end
end

-- Return the first of some jobs that a call has reached before its reply was lost.
local function reached_by(one, jobs)
  for at = 1, 2 do
    if jobs[at] and has_call(prefix .. 'job:' .. jobs[at], one.id) then
      return jobs[at]
    end
  end
end

-- Return what a new job must remember, so that a repeated call does not win over it: the calls of the
-- job before it, which is one of two, or has ended. Nil if this call is among them; it is refused then.
local function earlier_calls(one, holder, waiting)
  local ended, ids = kept_calls(prefix, one.digest)
  if is_among(ids, one.id) then
    refuse(one.place, ended)
    return nil
  end
  for _, job in ipairs({ waiting or '', holder or '' }) do -- the later one knows the calls of the other
    local first, present = calls_of(prefix .. 'job:' .. job)
    if first then
      return present
    end
  end
  return ids
end

-- Give a debounced job that waits the envelope of a call, and move it.
local function move(one, holder)
  local first, due = change(prefix .. 'job:' .. holder, one, now), now + one.window_ms
  if one.max_wait_ms > 0 then
    due = math.min(due, math.max(now, first + one.max_wait_ms))
  end
  delay_until(delayed, due, holder)
end

-- Have a call move the job of its key, or begin a new one.
local function debounce(one)
  local holder = redis.call('HGET', unique, one.digest)
  local job = reached_by(one, { holder })
  if not job and holder and holds_key(prefix, holder, now)
    and can_be_changed(prefix .. 'job:' .. holder) then
    job = holder
    move(one, holder)
  end
  if job then
    refuse(one.place, job)
    return
  end
  local earlier = earlier_calls(one, holder)
  if earlier then
    put(one)
    note_call(one.job, now, earlier, one.id)
    hold_key(one)
  end
end

-- Have a call change the job that waits for its key, or wait for it itself. Return false if the key is
-- free and no job waits.
local function keep_latest(one)
  local known = redis.call('HMGET', unique, one.digest, waiting_field(one.digest))
  local holder, waiting, job = known[1], known[2], reached_by(one, known)
  if job then
    refuse(one.place, job)
    return true
  end
  local is_held = holder and holds_key(prefix, holder, now)
  if waiting and is_waiting(prefix .. 'job:' .. waiting) and holds_key(prefix, waiting, now) then
    change(prefix .. 'job:' .. waiting, one, now)
    if not is_held then
      delay_until(delayed, now, waiting) -- the other job has ended without a worker
    end
    refuse(one.place, waiting)
    return true
  end
  local earlier = earlier_calls(one, holder, waiting)
  if is_held and earlier then
    one.due = '+' .. FIRST_LOOK_MS
    put(one)
    note_call(one.job, now, earlier, one.id)
    wait_for_key(unique, one.digest, one.job, one.id)
  end
  return is_held or not earlier
end

local function handle(one)
  if is_taken(one.job, prefix .. 'result:' .. one.id) then
    refuse(one.place, '')
    return
  elseif one.held == 'moved' then
    debounce(one)
    return
  elseif one.held == 'latest' and keep_latest(one) then
    return
  end
  local holder = holder_of(one)
  if holder and one.conflict ~= 'replace' then
    if one.conflict == 'drop' then
      drop(one, holder)
    else
      refuse(one.place, holder)
    end
  elseif one.due == '' and not lane_has_room(room, one.stream, string.len(one.envelope)) then
    refuse(-one.place, '')
  else
    put(one) -- before the other job ends: this is refused if memory is full
    hold_key(one)
    if holder then
      cancel(holder)
    end
  end
end

for at = FIRST, #ARGV, EACH do
  local id = ARGV[at]
  local held, conflict, keep_ms, window_ms, max_wait_ms =
    string.match(ARGV[at + 4], '^(%S+) (%S+) (%d+) (%d+) (%d+)$')
  handle({
    place = (at - FIRST) / EACH + 1, id = id, job = prefix .. 'job:' .. id,
    stream = KEYS[STREAMS + tonumber(ARGV[at + 1])], mark = ARGV[at + 2], due = ARGV[at + 3],
    held = held, conflict = conflict, keep_ms = tonumber(keep_ms), window_ms = tonumber(window_ms),
    max_wait_ms = tonumber(max_wait_ms), digest = ARGV[at + 5], envelope = ARGV[at + 6],
    inbox = inbox,
  })
end

-- Last, as it needs no memory: before this, a script that finds Redis full is stopped.
sweep_keys(prefix, unique, now, 2 * added)
wake_if_earlier(control, first)
if replaced > 0 then
  cancelling.finish() -- which counts the ends, too
else
  count_noted_ends(prefix)
end
return { finish_room(room), places, holders }
