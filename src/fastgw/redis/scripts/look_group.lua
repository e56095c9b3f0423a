-- Who reads for a group; nothing is changed.   KEYS members, leases
-- Returns {consumers that live, mailboxes that one of them has}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
return {
  redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf'), redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf'),
}
