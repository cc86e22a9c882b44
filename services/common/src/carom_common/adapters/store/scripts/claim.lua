-- Claims an attempt for one delivery.
-- ARGV: now, generation, attempt, message_id, owner, lease_ms (0: only ask), keep_until, created, job, history
-- Replies {'run', claims so far} | {'unknown'} (call again with the job) | {'leased', ms} | {'drop', why}
--       | {'settled', status, eta, completed, error, dead, entry}: this very copy settled, its next step is due again
local now, generation, attempt = clock(), tonumber(ARGV[2]), tonumber(ARGV[3])
local r = get('generation', 'attempt', 'status', 'settled_by', 'owner', 'lease')
local known, settled = tonumber(r[1]), tonumber(r[2])

if known and (generation < known) then return {'drop', 'stale generation'} end
if known and generation == known then
  if attempt <= settled then
    if attempt < settled or r[4] ~= ARGV[4] then return {'drop', 'settled by another copy'} end
    local s = get('status', 'eta', 'completed', 'error', 'dead')
    -- The record is ahead when the next attempt has begun: its message exists, nothing is due.
    if s[1] == 'in_progress' then return {'drop', 'next attempt began'} end
    return {'settled', s[1], s[2] or '0', s[3] or '0', s[4] or '', s[5] or '0', redis.call('LINDEX', log, -1)}
  end
  if is_final(r[3]) then return {'drop', r[3]} end
  local lease = tonumber(r[6] or '0')
  if lease > now and r[5] ~= ARGV[5] then return {'leased', lease - now} end
end
if not known or generation > known or attempt > settled + 1 then
  if ARGV[9] == '' then return {'unknown'} end
  rebuild(ARGV[9], generation, attempt - 1, ARGV[8], ARGV[10])
  keep_until(ARGV[7])
end
local claims = 0
if ARGV[6] ~= '0' then
  claims = redis.call('HINCRBY', state, 'claims', 1)
  set('status', 'in_progress', 'owner', ARGV[5], 'lease', now + ARGV[6], 'updated', ARGV[1], 'eta', '0')
end
return {'run', claims}
