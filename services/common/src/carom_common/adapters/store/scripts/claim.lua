-- Claims an attempt for one delivery.
-- ARGV: now, generation, attempt, message_id, owner, lease_ms, keep_until, eta, birth, job, history, only ask (0 | 1),
--       why it is held (empty: it is not; only where it asks)
-- Replies {'run', claims so far, rebuilt (0 | 1), was held (0 | 1), times held} | {'unknown'} (call again with the job)
--       | {'leased', ms} | {'drop', why}
--       | {'settled', status, eta, completed, error, dead, reason, entry}: this very copy settled, its next step is due
--         again; entry is empty where no call was made
local now, generation, attempt = clock(), tonumber(ARGV[2]), tonumber(ARGV[3])
local r = get('generation', 'attempt', 'status', 'settled_by', 'owner', 'lease', 'wait_reason', 'claims')
local known, settled = tonumber(r[1]), tonumber(r[2])

local function as_settled(entry)
  local s = get('status', 'eta', 'completed', 'error', 'dead', 'reason')
  -- The record is ahead when the next attempt has begun: its message exists, nothing is due.
  if s[1] == 'in_progress' then return {'drop', 'next attempt began'} end
  return {'settled', s[1], s[2] or '0', s[3] or '0', s[4] or '', s[5] or '0', s[6] or '', entry}
end

if known and (generation < known) then return {'drop', 'stale generation'} end
if known and generation == known then
  if attempt <= settled then
    if attempt < settled or r[4] ~= ARGV[4] then return {'drop', 'settled by another copy'} end
    if r[3] == 'cancelled' then return {'drop', r[3]} end
    return as_settled(redis.call('LINDEX', log, -1))
  end
  if is_final(r[3]) then
    if r[4] == ARGV[4] and r[3] ~= 'cancelled' then return as_settled('') end
    return {'drop', r[3]}
  end
  local lease = left('lease', r[6], now, ARGV[6])
  if lease > 0 and r[5] ~= ARGV[5] then return {'leased', lease} end
end
local rebuilt = 0
if not known or generation > known or attempt > settled + 1 then
  if ARGV[10] == '' then return {'unknown'} end
  rebuild(ARGV[10], generation, attempt - 1, ARGV[8], ARGV[9], ARGV[11])
  keep_until(ARGV[7])
  rebuilt, r[8] = 1, '0'
end
local claims = 0
if ARGV[12] == '0' then
  claims = tonumber(r[8] or '0') + 1
  set('status', 'in_progress', 'owner', ARGV[5], 'lease', now + ARGV[6], 'updated', ARGV[1], 'eta', '0', 'claims', claims)
  if r[7] then redis.call('HDEL', state, 'wait_reason', 'holds') end
end
local holds = 0
if ARGV[13] ~= '' then
  holds = redis.call('HINCRBY', state, 'holds', 1)
  set('wait_reason', ARGV[13])
  keep_until(ARGV[7])
end
return {'run', claims, rebuilt, r[7] and 1 or 0, holds}
