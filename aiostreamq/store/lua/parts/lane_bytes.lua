-- lane_bytes.lua: counts the bytes of the jobs in a lane, for lanes that are bounded in bytes.
--
-- `bytes:<lane>` is a hash: the `total`, the numbers of the `first` and the `last` block, and by its
-- number each block of jobs, '<first entry> <last entry> <bytes>'. Scripts that take jobs out of a
-- lane know nothing of it. A block is forgotten when the lane seems full and none of its entries is
-- left, which the group of the lane shows without their payloads. So the total is too high by up
-- to a block for each job that still runs, and a block has a hundredth of what the lane may hold.
--
-- uses: group

local BLOCKS, MOST_LOOKED_AT, KEEP_LEDGER_MS = 100, 200, 30 * 24 * 3600000

local function load_ledger(prefix, stream, lane, group, max_bytes)
  local key = prefix .. 'bytes:' .. lane
  local found = redis.call('HMGET', key, 'total', 'first', 'last')
  local last = tonumber(found[3]) or 1
  local ledger = {
    key = key, stream = stream, group = group, most = max_bytes, last = last,
    total = tonumber(found[1]) or 0, first = tonumber(found[2]) or 1,
    gone = {},
  }
  ledger.from, ledger.to, ledger.bytes =
    string.match(redis.call('HGET', key, tostring(last)) or '', '(%S+) (%S+) (%S+)')
  ledger.bytes = tonumber(ledger.bytes) or 0
  return ledger
end

-- Forget the blocks of which no job is left.
local function sweep(ledger)
  local delivered = last_delivered(ledger.stream, ledger.group)
  for number = ledger.first, math.min(ledger.last, ledger.first + MOST_LOOKED_AT) do
    local from, to, bytes = ledger.from, ledger.to, ledger.bytes
    if number < ledger.last then
      from, to, bytes =
        string.match(redis.call('HGET', ledger.key, tostring(number)) or '', '(%S+) (%S+) (%S+)')
    end
    if from and not is_before(to, delivered) then
      break
    end
    if from and #redis.call('XPENDING', ledger.stream, ledger.group, from, to, 1) == 0 then
      ledger.total = ledger.total - bytes
      redis.call('HDEL', ledger.key, tostring(number))
      if number == ledger.last then
        ledger.from, ledger.to, ledger.bytes = nil, nil, 0
      end
      from = nil
    end
    if not from and number == ledger.first and number < ledger.last then
      ledger.first = number + 1
    end
  end
end

-- Whether a lane has room for a job of *size* bytes. An empty one always has.
local function has_bytes(ledger, size)
  if ledger.total > 0 and ledger.total + size > ledger.most and not ledger.is_swept then
    ledger.is_swept = true -- once a call: no job leaves within it
    sweep(ledger)
  end
  return ledger.total <= 0 or ledger.total + size <= ledger.most
end

local function add_bytes(ledger, entry, size)
  if ledger.from and ledger.bytes + size > ledger.most / BLOCKS then
    redis.call('HSET', ledger.key, tostring(ledger.last),
      ledger.from .. ' ' .. ledger.to .. ' ' .. string.format('%.0f', ledger.bytes))
    ledger.last, ledger.from, ledger.bytes = ledger.last + 1, nil, 0
  end
  ledger.from, ledger.to = ledger.from or entry, entry
  ledger.bytes, ledger.total = ledger.bytes + size, ledger.total + size
end

local function save_ledger(ledger)
  redis.call('HSET', ledger.key, 'total', string.format('%.0f', math.max(0, ledger.total)),
    'first', tostring(ledger.first), 'last', tostring(ledger.last))
  if ledger.from then
    redis.call('HSET', ledger.key, tostring(ledger.last),
      ledger.from .. ' ' .. ledger.to .. ' ' .. string.format('%.0f', ledger.bytes))
  end
  redis.call('PEXPIRE', ledger.key, KEEP_LEDGER_MS)
end
