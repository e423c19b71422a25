-- charge_rate.lua: set what a running job takes of a rate, in place of what was charged before.
--
-- KEYS[1]  due: tokens of limits that backlogs wait for
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  token of the rate
-- ARGV[3]  cost, a number
-- ARGV[4]  job id
-- ARGV[5]  entry of the delivery in the stream of admitted jobs
--
-- The charge of a delivery is at first what was reserved when it was admitted, and then what the last
-- call has set: a call that is repeated changes nothing. It is kept in field r of the job,
-- '<entry> <token> <cost>', and after that the same for other rates of this delivery.
-- Returns 1; 0 if the delivery has left its worker, and nothing is changed. Raises, with the name of the
-- key, if one of the limit is not of its type. If the charge is less than before, the workers look again
-- at what waits for the rate.
-- Cost O(limits of the job), about 15 microseconds.
--
-- uses: charges job limits look_again time
-- flags: allow-oom

local due, prefix, token, cost, id, entry = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local job = prefix .. 'job:' .. id

if not is_present(prefix, id, prefix .. 'stream:admitted', entry) then
  return 0
end
local now = read_clock()
load_limits(prefix, { token }, now)
local limit = loaded_limits[token]
if limit.trouble then
  return redis.error_reply(limit.trouble)
end

-- Return what was reserved when the job was admitted.
local function reserved(name, costs)
  local places, place = {}, 0
  for one in string.gmatch(name or '', '[cor]=%S+') do
    place = place + 1
    places[one] = place
  end
  place = 0
  for one in string.gmatch(costs or '', '%S+') do
    place = place + 1
    if place == places[token] then
      return tonumber(one) or 1
    end
  end
  return 1
end

-- Return what is charged for the delivery, and what is charged for it to other rates.
local function charged(known)
  local others, mine = {}, nil
  for at, one, amount in string.gmatch(known[3] or '', '(%S+) (%S+) (%S+)') do
    if at == entry and one == token then
      mine = tonumber(amount)
    elseif at == entry then
      others[#others + 1] = table.concat({ at, one, amount }, ' ')
    end
  end
  return mine or math.min(reserved(known[1], known[2]), limit.burst), others
end

if limit.interval then
  local before, others = charged(redis.call('HMGET', job, 'b', 'o', 'r'))
  others[#others + 1] = table.concat({ entry, token, string.format('%.12g', cost) }, ' ')
  redis.call('HSET', job, 'r', table.concat(others, ' '))
  -- No less than nothing is charged, and no more than twice what the limit has.
  limit.paid_off = math.min(now + 2 * limit.span,
    math.max(now, limit.paid_off + (cost - before) * limit.interval))
  save_rate(prefix, limit, now)
  if cost < before and redis.call('ZSCORE', due, token) then
    look_again(prefix, token, now)
  end
end
return 1
