-- cancelling.lua: cancels jobs. A part of every script that cancels some.
--
-- KEYS[1..3] and ARGV[1..4] are the same in all these scripts: see cancel.lua. The script notes the
-- jobs at places of its choice, looks at their lanes, cancels each, and calls finish at the end.
--
-- uses: backlog cancelled check_keys control ending entry job job_state parked stats time

local cancelling = {} -- what the scripts use of this part

do
  local delayed, control, cancelled = KEYS[1], KEYS[2], KEYS[3]
  local group, prefix, usual_ms, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
  local job_prefix = prefix .. 'job:'
  local now = string.format('%.0f', (read_clock()))
  local running, in_lanes = {}, {}

  -- The jobs, by their places. Most are plain: they are in a lane, have not run, and no caller waits for
  -- them. Nothing else is kept of these, as each table costs as much as a command.
  local entries, lanes, states, envelopes, others = {}, {}, {}, {}, {}
  local PLAIN = { waiters = false, keeps_result = true, is_bare = true }

  check_stream(control)
  check_sorted_set(cancelled)

  -- A longer envelope is not decoded for one number.
  local LONGEST_ENVELOPE = 65536

  local is_wanted = {}
  for state in string.gmatch(wanted == '' and 'delayed held parked queued running' or wanted, '%S+') do
    is_wanted[state] = true
  end

  local function keep_ms(job, envelope)
    if not job.keeps_result then
      return 0
    end
    if envelope and string.find(envelope, '"result_ttl"', 1, true)
      and string.len(envelope) <= LONGEST_ENVELOPE then
      local is_json, call = pcall(cjson.decode, envelope)
      local ttl = is_json and type(call) == 'table' and call.result_ttl
      if type(ttl) == 'number' and ttl >= 0 then
        return math.floor(math.min(ttl, 3e9) * 1000)
      end
    end
    return usual_ms
  end

  -- Note what is known of the job at a place. All fields are read: a plain job has one or two, and a
  -- field that is asked for costs as much if it is missing.
  local function load(place, id)
    local flat = redis.pcall('HGETALL', job_prefix .. id)
    if flat[1] == 'e' and (#flat == 2 or #flat == 4 and flat[3] == 's') then
      entries[place], lanes[place], states[place] = flat[2], flat[4] or 'default', 'in_lane'
      return
    end
    if #flat == 0 and not flat.err then
      return -- there is no such job, or only its outcome
    end
    local job = load_job(job_prefix .. id)
    entries[place], lanes[place], states[place] = job.entry, job.lane, state_of(job)
    if states[place] == 'delayed' or states[place] == 'held' then
      envelopes[place] = redis.call('HGET', job_prefix .. id, 'p') or nil
    end
    others[place] = job
  end

  -- Note that a job is in a lane, and its envelope. Without an entry, no worker will receive it, and the
  -- envelope stays unknown.
  local function note_entry(place, state, fields)
    states[place] = state
    envelopes[place] = fields
      and (fields[ENVELOPE - 1] == 'job' and fields[ENVELOPE] or fields_by_name(fields).job or '')
  end

  -- Return the deliveries that workers have between two entries, by entry; nil if there may be more of
  -- them than *count*.
  local function deliveries_between(stream, first, last, count)
    local deliveries = {}
    local pending = redis.pcall('XPENDING', stream, group, first, last, count)
    for _, delivery in ipairs(pending.err and {} or pending) do
      deliveries[delivery[1]] = true
    end
    return #pending < count and deliveries or nil
  end

  -- Return whether a job in a lane is 'running' or 'queued'. deliveries: see deliveries_between.
  local function state_in(lane, entry, deliveries)
    if deliveries then
      return deliveries[entry] and 'running' or 'queued'
    end
    return lane_state(prefix, group, { lane = lane, entry = entry })
  end

  -- End a job that waits. Return nil, or its outcome if it has ended before.
  local function end_waiting(place, id)
    local job, envelope = others[place] or PLAIN, envelopes[place]
    return end_as_cancelled(prefix, id, task_in(envelope), keep_ms(job, envelope), job)
  end

  local function note_in_lane(id)
    in_lanes[#in_lanes + 1] = now
    in_lanes[#in_lanes + 1] = id
  end

  local function take_out_parked(place)
    local entry, task = string.match(others[place].parked_at, '^(%S+) (.*)$')
    local parked = prefix .. 'parked:' .. task
    local found = redis.call('XRANGE', parked, entry, entry)[1]
    are_any_parked(prefix)
    redis.call('XDEL', parked, entry)
    forget_if_empty(prefix, task)
    envelopes[place] = found and fields_by_name(found[2]).job
  end

  -- Have the worker of a job end it. A repeated request sends the message again: the worker may have
  -- missed the first one.
  local function ask_worker(place, id)
    local keep = keep_ms(others[place] or PLAIN, envelopes[place])
    redis.call('HSET', job_prefix .. id, 'c', string.format('%.0f', keep))
    running[#running + 1] = lanes[place]
    running[#running + 1] = entries[place]
    note_in_lane(id)
  end

  -- Cancel a job. Return nil, or its outcome if it has ended before.
  local function cancel(place, id, state)
    if state == 'running' then
      ask_worker(place, id)
      return nil
    elseif state == 'delayed' then
      redis.call('ZREM', delayed, id)
    elseif state == 'held' then
      leave_backlog(prefix, others[place].place, id)
    elseif state == 'parked' then
      take_out_parked(place)
    end
    local outcome = end_waiting(place, id)
    if outcome then
      return outcome
    elseif state == 'queued' and envelopes[place] then
      note_in_lane(id)
    else -- it has no entry, or lost it with its stream: no worker will receive it
      let_expire(prefix, id)
    end
  end

  -- Cancel the job at a place if it has not ended and is wanted. Return the answer.
  local function handle(place, id)
    local state, outcome = states[place], nil
    -- Whether a plain job that waits has an outcome is found when this script writes one.
    if state ~= 'queued' or others[place] or not is_wanted[state] then
      outcome = outcome_of(prefix, id)
    end
    if not outcome and is_wanted[state] then
      outcome = cancel(place, id, state)
    end
    return outcome or state or false
  end

  -- Do what is left to do when the jobs have been cancelled.
  local function finish()
    if #in_lanes > 0 then
      redis.call('ZADD', cancelled, unpack(in_lanes))
    end
    if #running > 0 then
      send_to_workers(control, 'cancel', 'entries', table.concat(running, ' '))
    end

    -- Remove the oldest ones if their entries are gone, although no worker has received them.
    for _, id in ipairs(redis.call('ZRANGE', cancelled, 0, 1)) do
      local job = load_job(prefix .. 'job:' .. id)
      local stream = prefix .. 'stream:' .. job.lane
      if not job.entry or #redis.pcall('XRANGE', stream, job.entry, job.entry) == 0 then
        redis.call('ZREM', cancelled, id)
        let_expire(prefix, id)
      end
    end
    save_held_counts(prefix)
    count_noted_ends(prefix)
  end

  cancelling.entries, cancelling.lanes, cancelling.states = entries, lanes, states
  cancelling.envelopes = envelopes
  cancelling.others, cancelling.is_wanted, cancelling.load = others, is_wanted, load
  cancelling.note_entry, cancelling.state_in = note_entry, state_in
  cancelling.deliveries_between = deliveries_between
  cancelling.handle, cancelling.finish = handle, finish
end
