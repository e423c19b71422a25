-- control.lua: messages to all workers. A part of every script that sends some; only this part
-- does.

-- About how many messages are kept.
local CONTROL_LENGTH = 1000

-- Send a message, and maybe more fields and values. Raises if `control` is not a stream, so check
-- that before the first write.
local function send_to_workers(control, ...)
  redis.call('XADD', control, 'MAXLEN', '~', CONTROL_LENGTH, '*', 'say', ...)
end

-- Send a message that may get lost: workers look now and then anyway.
local function hint_to_workers(control, ...)
  redis.pcall('XADD', control, 'MAXLEN', '~', CONTROL_LENGTH, '*', 'say', ...)
end
