-- room.lua: whether the lanes have room for new jobs. A part of scripts that put jobs of several kinds
-- into lanes; enqueue.lua does the same for plain jobs by itself, where each function costs.
--
-- uses: lane_bytes room_line

local load_room, lane_has_room, note_added, finish_room

do
  -- A lane of which less than one in this many places is taken is nearly empty.
  local ROOMY = 4

  local function lane_of(room, stream)
    return string.sub(stream, string.len(room.prefix) + string.len('stream:') + 1)
  end

  -- Return the ledger of a lane that is bounded in bytes, nil for others.
  local function ledger_of(room, stream)
    if room.max_bytes and not room.ledgers[stream] then
      room.ledgers[stream] =
        load_ledger(room.prefix, stream, lane_of(room, stream), room.group, room.max_bytes)
    end
    return room.ledgers[stream]
  end

  local function places_left(room, stream)
    return room.max_length - room.overflowed - redis.call('XLEN', stream)
  end

  local function is_roomy(room, stream)
    local ledger = ledger_of(room, stream)
    return (room.max_length == 0
        or places_left(room, stream) * ROOMY >= room.max_length * (ROOMY - 1))
      and (not ledger or ledger.total * ROOMY <= room.max_bytes)
  end

  -- Return the limits of the lanes. limits: as ARGV[3] of enqueue.lua. stream: that of the first job.
  load_room = function(prefix, inbox, limits, stream)
    local max_length, max_bytes, group, waited_ms = tonumber(limits), nil, nil, nil
    if not max_length then
      max_length, max_bytes, group, waited_ms = string.match(limits, '(%d+) (%d+) (%S+) ?(%d*)')
      max_length, max_bytes, waited_ms =
        tonumber(max_length), tonumber(max_bytes), tonumber(waited_ms)
    end
    local room = {
      prefix = prefix, max_length = max_length, group = group, overflowed = 0,
      max_bytes = max_bytes and max_bytes > 0 and max_bytes or nil,
      left = {}, ledgers = {}, lacked = false,
    }
    if max_length > 0 then
      room.overflowed = redis.call('XLEN', prefix .. 'stream:overflow:thread')
        + redis.call('XLEN', prefix .. 'stream:overflow:process')
        + redis.call('XLEN', prefix .. 'stream:overflow:slot')
    end
    if waited_ms then
      room.place = find_place(prefix, lane_of(room, stream), inbox, waited_ms)
      room.must_wait = not (is_turn(room.place) or is_roomy(room, stream))
    end
    return room
  end

  -- Whether a lane has room for one more job, which is put into it next.
  lane_has_room = function(room, stream, size)
    local found = not room.must_wait
    if found and room.max_length > 0 then
      local left = room.left[stream] or places_left(room, stream)
      room.left[stream] = left - 1
      found = left >= 1
    end
    if found and room.max_bytes then
      found = has_bytes(ledger_of(room, stream), size)
    end
    room.lacked = room.lacked or not found
    return found
  end

  note_added = function(room, stream, entry, size)
    if room.max_bytes then
      add_bytes(ledger_of(room, stream), entry, size)
    end
  end

  -- Keep what was counted. Return how many clients are ahead of the caller, if it waits for room.
  finish_room = function(room)
    for _, ledger in pairs(room.ledgers) do
      save_ledger(ledger)
    end
    if room.place and room.lacked then
      return stay_in_line(room.place)
    elseif room.place then
      leave_line(room.place)
    end
    return 0
  end
end
