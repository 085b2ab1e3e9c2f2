-- API keys and limits. An operator's `limits` are fields and values: rate, running, queued.

function writes.add_key(key_id, document) redis.call('HSET', KEYS, key_id, document) end
function reads.keys() return redis.call('HVALS', KEYS) end
function frees.revoke(key_id) return redis.call('HDEL', KEYS, key_id) end
function reads.limits(tenant) return redis.call('HGETALL', limits_of(tenant)) end

-- Have the tenant's jobs wait where its slots say, some of them in each call; answers whether there are more.
function frees.balance(tenant)
  local more = false
  for _, model in ipairs(pools()) do
    admit_to(model, tenant)
    hold_back(model, tenant)
    local free = free_slots(model, tenant)
    local misplaced = free > 0 and held(model, tenant) or free < 0 and entered(model, tenant)
    more = more or misplaced and redis.call('EXISTS', misplaced) == 1
  end
  return more
end

-- Replace the limits; what waits is bound by them from now on.
function frees.limit(tenant, ...)
  redis.call('DEL', limits_of(tenant))
  if #{...} > 0 then redis.call('HSET', limits_of(tenant), ...) end
  return frees.balance(tenant)
end

-- What is kept of a key, and its tenant's limits.
function reads.caller(key_id)
  local key = redis.call('HGET', KEYS, key_id)
  return key and {key, reads.limits(cjson.decode(key).tenant)}
end
