-- Claims an Idempotency-Key. KEYS[1] carom:{idem:<tenant>:<sha256 of the key>}: hash of job, body, created and, while
-- the request is under way, token and until; once it is answered, answer.
-- ARGV: job, body, created, token, hold_ms, keep_ms
-- Replies {'claimed', job, created} | {'answered', job, answer} | {'busy', ms} | {'other'} (another body)
local now = clock()
local r = get('job', 'body', 'created', 'answer', 'token', 'until')
if not r[1] then
  set('job', ARGV[1], 'body', ARGV[2], 'created', ARGV[3], 'token', ARGV[4], 'until', now + ARGV[5])
  redis.call('PEXPIRE', state, ARGV[6])
  return {'claimed', ARGV[1], ARGV[3]}
end
if r[2] ~= ARGV[2] then return {'other'} end
if r[4] then return {'answered', r[1], r[4]} end
local busy = left('until', r[6], now, ARGV[5])
if busy > 0 and r[5] ~= ARGV[4] then return {'busy', busy} end
set('token', ARGV[4], 'until', now + ARGV[5])
return {'claimed', r[1], r[3]}
