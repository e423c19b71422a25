-- callbacks.lua: puts a job into its lane because another one, its parent, has ended.
--
-- A script calls this in the step that ends the parent, so a parent that has ended has its callback
-- once. The callback's id is made from the parent's: "<parent>.success" or "<parent>.failure".
--
-- uses: put_new

-- Bytes of a parent's id that its callbacks have in theirs: ids have at most 256 characters.
local MOST_OF_PARENT = 180

-- Return the id of a callback. n: the number of the parent's last delivery, which differs if the
-- parent ends again after a replay. entry: that of the delivery; it differs if another job of the
-- same id had ended before.
local function callback_id(prefix, parent, n, entry, when)
  local id = parent
  if string.len(parent) > MOST_OF_PARENT then
    -- Without half a character at the end.
    id = string.gsub(string.sub(parent, 1, MOST_OF_PARENT), '[\128-\255]+$', '')
  end
  id = id .. '.' .. when
  if n ~= '1' and string.len(n) <= 15 and string.find(n, '^%d+$') then
    id = id .. '.' .. n
  end
  return is_taken(prefix .. 'job:' .. id, prefix .. 'result:' .. id) and id .. '.' .. entry or id
end

-- Put a callback into its lane. callback: when, lane, mark, and job, its envelope.
local function call_back(prefix, parent, n, entry, callback)
  local lane, envelope = callback.lane, callback.job
  if type(redis.pcall('XLEN', prefix .. 'stream:' .. lane)) ~= 'number' then
    lane = 'returned' -- another program has overwritten the lane
  end
  local fields = string.match(envelope, '^(.+)}%s*$')
  if fields then
    envelope = fields .. ',"parent":' .. cjson.encode(parent) .. '}'
  end
  local id = callback_id(prefix, parent, n, entry, callback.when)
  put_new(prefix .. 'stream:' .. lane, lane, prefix .. 'job:' .. id, id, callback.mark, '',
    envelope)
end

-- Put the callback into its lane that an envelope has for the failure of its job, if it has one.
local function call_on_failure(prefix, parent, n, entry, envelope)
  if not string.find(envelope or '', '"on_failure"', 1, true) then
    return -- usually: no envelope is decoded for this
  end
  local is_json, call = pcall(cjson.decode, envelope)
  local callback = is_json and type(call) == 'table' and call.on_failure
  if type(callback) == 'table'
    and type(callback.lane) == 'string' and type(callback.job) == 'string' then
    callback.when = 'failure'
    call_back(prefix, parent, n, entry, callback)
  end
end
