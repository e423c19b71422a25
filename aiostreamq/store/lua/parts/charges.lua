-- charges.lua: charges limits for jobs that are admitted.
--
-- uses: limits turns

-- Return the permits of deliveries that have left their workers unnoticed. Each call looks at the
-- oldest, and at any other: the oldest may be that of a long job.
local function return_stray_permits(prefix, limit, now)
  limit.is_checked = true
  local permits = prefix .. 'permits:' .. limit.token
  local oldest = redis.call('ZRANGE', permits, 0, 0)[1]
  local at = now % limit.held
  local any = redis.call('ZRANGE', permits, at, at)[1]
  for _, member in ipairs(any == oldest and { oldest } or { oldest, any }) do
    if not is_permit_held(prefix, member) then
      redis.call('ZREM', permits, member)
      limit.held = limit.held - 1
    end
  end
end

-- The same as limit_has_room, after a look for permits that may be returned if the limit is full. Whether
-- an order has room depends on the job; without one it has none.
local function find_room(prefix, limit, cost, now, id)
  if limit.is_order then
    if not id then
      return false
    end
    return has_turn(prefix, limit, id, now)
  end
  if limit.most and limit.held >= limit.most and limit.most > 0 and not limit.is_checked then
    return_stray_permits(prefix, limit, now)
  end
  return limit_has_room(limit, cost, now)
end

-- Charge a limit for a job that is admitted. member: its permit.
local function charge(limit, cost, member)
  if limit.most then
    limit.held = limit.held + 1
    limit.given[#limit.given + 1] = member
  elseif limit.interval then
    limit.paid_off = limit.paid_off + math.min(cost, limit.burst) * limit.interval
    limit.is_charged = true
  end
end

-- Save when a quiet ends that would be longer than was asked for, as the clock was set back.
local function save_quiet(prefix, limit, now)
  local until_ms = string.format('%.0f', math.ceil(limit.quiet_until))
  redis.call('SET', prefix .. 'quiet:' .. limit.token,
    until_ms .. ' ' .. limit.quiet_span .. ' ' .. limit.quiet_by,
    'PX', string.format('%.0f', math.max(1, math.ceil(limit.quiet_until - now))))
end

-- Save when all that a rate was charged is paid off.
local function save_rate(prefix, limit, now)
  local owed = limit.paid_off > now + limit.span + ROUNDING and ' ' .. owed_under(limit) or ''
  redis.call('SET', prefix .. 'rate:' .. limit.token, string.format('%.3f', limit.paid_off) .. owed,
    'PX', string.format('%.0f', math.max(1, math.ceil(limit.paid_off - now))))
end

-- Save what was charged.
local function save_charges(prefix, now)
  for token, limit in pairs(loaded_limits) do
    if limit.given and #limit.given > 0 then
      local members = {}
      for place, member in ipairs(limit.given) do
        members[2 * place - 1], members[2 * place] = string.format('%.0f', now), member
      end
      redis.call('ZADD', prefix .. 'permits:' .. token, unpack(members))
    elseif limit.interval and limit.is_charged then
      save_rate(prefix, limit, now)
    end
    if limit.is_quiet_moved then
      save_quiet(prefix, limit, now)
    end
  end
end
