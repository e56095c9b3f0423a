-- When sessions of shards began, by the server's clock; nothing is changed.   KEYS the shards' hashes
-- Returns ms for each, or '' of one whose events nobody published.
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HGET', KEYS[i], 'epoch') or '' end
return found
