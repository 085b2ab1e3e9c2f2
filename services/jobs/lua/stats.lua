-- The store in figures, of all tenants: of each pool, what there is of what, what the last jobs took, how often what
-- has happened; and what is all pools'.

-- How many jobs wait with the priority, and since when the oldest of them.
local function queued(model, priority)
  local oldest = redis.call('ZRANGE', waiting(model, priority), 0, 0, 'WITHSCORES')
  return redis.call('ZCARD', waiting(model, priority)), tonumber(oldest[2] or now)
end

local function pool_stats(model)
  local low, low_since = queued(model, 'low')
  local normal, normal_since = queued(model, 'normal')
  local high, high_since = queued(model, 'high')
  local figures = {
    'waiting:low', low, 'waiting:normal', normal, 'waiting:high', high,
    'oldest_waiting_ms', now - math.min(low_since, normal_since, high_since),
    'jobs_running', redis.call('ZCARD', leases(model)), 'workers', living(model),
  }
  local fullest = redis.call('ZREVRANGE', memory(model), 0, 0, 'WITHSCORES')[2]
  local took_ms, counted = redis.call('LRANGE', durations(model), 0, -1), redis.call('HGETALL', counters(model))
  return {model, figures, took_ms, counted, fullest}
end

function reads.stats()
  local function due(set) return redis.call('ZCOUNT', set, '-inf', now) end
  local by_model = {}
  for _, model in ipairs(pools()) do table.insert(by_model, pool_stats(model)) end
  local figures = {
    'jobs_quarantined', redis.call('ZCARD', QUARANTINE),
    'webhooks_due', due(DELIVERIES), 'objects_due', due(EXPIRY), 'objects_failing', redis.call('HLEN', FAILURES),
  }
  return {figures, by_model}
end
