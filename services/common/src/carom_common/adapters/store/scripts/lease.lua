-- Renews (lease_ms > 0) or releases (0) a lease that is still this delivery's.
-- ARGV: owner field, lease field, owner, lease_ms.
-- Replies 1, or 0 when the lease is lost, or 2 when the job that is being called was cancelled.
local r = get(ARGV[1], ARGV[2], 'status')
if ARGV[1] == 'owner' and r[3] == 'cancelled' then return 2 end
if r[1] ~= ARGV[3] or (r[2] or '0') == '0' then return 0 end
set(ARGV[2], ARGV[4] == '0' and '0' or clock() + ARGV[4])
return 1
