-- Take no commands any more. KEYS owners, alive:me, orders:me   ARGV me
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  if flat[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[1], flat[i]) end
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
