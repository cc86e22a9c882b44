-- Ends a bulk act that is running. KEYS[1] carom:campaign:<id>. ARGV: status (done | stopped), now, keep_until.
-- Replies the status that it has then, or nothing when there is no such act.
local status = redis.call('HGET', state, 'status')
if status ~= 'running' then return status end
set('status', ARGV[1], 'ended', ARGV[2])
keep_until(ARGV[3])
return ARGV[1]
