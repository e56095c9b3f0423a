-- Say what a group of consumers wants.
-- KEYS groups, version, era, again (group -> 1)
-- ARGV group, wanted, a word that nobody used before, 1 if the server knew it before and has lost it
-- A server that lost its memory counts anew, under another era; one that lost the last of it goes
-- on above what it may have said before, as the version is a time.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] == '1' then redis.call('HSET', KEYS[4], ARGV[1], '1') end
redis.call('SET', KEYS[3], ARGV[3], 'NX')
local version = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
redis.call('SET', KEYS[2], string.format('%.0f', version))
return 1
