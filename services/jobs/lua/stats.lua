-- The store in figures, of all tenants: what there is of what, what the last jobs took, how often what has happened.

-- How many jobs wait with the priority, and since when the oldest of them.
local function queued(priority)
  local oldest = redis.call('ZRANGE', waiting(priority), 0, 0, 'WITHSCORES')
  return redis.call('ZCARD', waiting(priority)), tonumber(oldest[2] or now)
end

function reads.stats()
  local function size(set) return redis.call('ZCARD', set) end
  local function due(set) return redis.call('ZCOUNT', set, '-inf', now) end
  local low, low_since = queued('low')
  local normal, normal_since = queued('normal')
  local high, high_since = queued('high')
  local figures = {
    'waiting:low', low, 'waiting:normal', normal, 'waiting:high', high,
    'oldest_waiting_ms', now - math.min(low_since, normal_since, high_since),
    'jobs_running', size(LEASES), 'jobs_quarantined', size(QUARANTINE),
    'workers', redis.call('ZCOUNT', WORKERS, now - WORKER_MS, '+inf'),
    'webhooks_due', due(DELIVERIES), 'objects_due', due(EXPIRY), 'objects_failing', redis.call('HLEN', FAILURES),
  }
  return {figures, redis.call('LRANGE', DURATIONS, 0, -1), redis.call('HGETALL', COUNTERS)}
end
