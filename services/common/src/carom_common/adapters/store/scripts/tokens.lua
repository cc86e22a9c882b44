-- Takes tokens from the bucket of one destination: `rate` a second, at most `burst` of them in store.
-- KEYS[1] carom:{dest:<host>}:tokens, a hash. ARGV: rate, burst, how many. Replies {taken, ms until the next one}.
-- A repeat after a lost reply takes again: then less than the rate is used, never more.
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = clock()
local r = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if r[1] then tokens = math.min(burst, tonumber(r[1]) + math.max(0, now - tonumber(r[2])) * rate / 1000) end
local taken = math.min(math.floor(tokens + 1e-6), tonumber(ARGV[3]))
tokens = tokens - taken
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {taken, math.max(1, math.ceil((1 - tokens) / rate * 1000))}
