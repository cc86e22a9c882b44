-- Ends a claim of an Idempotency-Key: with its answer, or, where that is empty, for the next who asks the same, who
-- goes on with the same job.
-- ARGV: job, body, created, token, answer, keep_ms
local r = get('job', 'answer', 'token')
if r[1] and r[1] ~= ARGV[1] then return 0 end
if r[2] then return 1 end
if ARGV[5] == '' then
  if r[3] == ARGV[4] then set('until', 0) end
  return 1
end
set('job', ARGV[1], 'body', ARGV[2], 'created', ARGV[3], 'answer', ARGV[5])
redis.call('HDEL', state, 'token', 'until')
redis.call('PEXPIRE', state, ARGV[6])
return 1
