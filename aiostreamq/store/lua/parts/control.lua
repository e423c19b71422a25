-- control.lua: a part of every script that sends messages to all workers. No other line does.

-- About how many messages are kept.
local CONTROL_LENGTH = 1000

-- Sends a message: what it says, and maybe more fields and values. It raises if `control` is not a
-- stream, so that is checked before the first write.
local function send_to_workers(control, ...)
  redis.call('XADD', control, 'MAXLEN', '~', CONTROL_LENGTH, '*', 'say', ...)
end

-- Sends a message that may get lost: workers look now and then anyway.
local function hint_to_workers(control, ...)
  redis.pcall('XADD', control, 'MAXLEN', '~', CONTROL_LENGTH, '*', 'say', ...)
end
