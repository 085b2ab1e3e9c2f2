-- Which job is next. A job waits in the queue of its model, by the time of its submission, shifted by its priority:
-- whatever is submitted HEAD_START or more later than another one's shifted time starts after it, so that nothing
-- starves. A tenant that may run n jobs at once has n slots. Of each queue it has as many jobs in it as slots in which
-- nothing runs, so that a model without workers keeps no other's jobs waiting; its others are held.

local HEAD_START = {high = 600e6, normal = 0, low = -600e6}  -- µs
local MEASURED = 100     -- the last jobs, for the estimate
local PICKUP_MS = 500    -- in which a free worker takes a job, nearly always
local WORKER_MS = 60000  -- how long a silent worker still counts

local function limit_of(tenant, name)
  local value = redis.call('HGET', limits_of(tenant), name)
  return value and tonumber(value)
end

local function hint(model)
  local message = table.concat(HINT, 'hint-' .. redis.call('INCR', HINT_IDS))
  return (string.gsub(message, 'HINT%-POOL', string.sub(hints(model), #HINTS + 1)))
end

-- Have as many hints lie there as jobs, up to BATCH, which keep any number of workers busy: a claim gives new ones.
local function give_hints(model)
  for _ = redis.call('LLEN', hints(model)) + 1, math.min(BATCH, redis.call('ZCARD', queue(model))) do
    redis.call('LPUSH', hints(model), hint(model))
  end
end

-- Of the tenant's slots, those without a job that runs; and those without any of the model's, below 0 where a limit is
-- new.
local function idle_slots(tenant)
  local function size(status) return redis.call('ZCARD', status_of(tenant, status)) end
  local running = limit_of(tenant, 'running')
  return running and running - size('running') - size('canceling') or math.huge
end

local function free_slots(model, tenant) return idle_slots(tenant) - redis.call('ZCARD', entered(model, tenant)) end

local function let_in(id, model, tenant, turn)
  redis.call('ZREM', all_held(model), id)
  redis.call('ZREM', held(model, tenant), id)
  redis.call('ZADD', queue(model), turn, id)
  redis.call('ZADD', entered(model, tenant), turn, id)
  give_hints(model)
end

local function hold(id, model, tenant, turn)
  redis.call('ZREM', queue(model), id)
  redis.call('ZREM', entered(model, tenant), id)
  redis.call('ZADD', all_held(model), turn, id)
  redis.call('ZADD', held(model, tenant), turn, id)
end

-- Let jobs in that are held, as far as there are slots: those of the model, or of any.
local function admit_to(model, tenant)
  for _, id in ipairs(redis.call('ZRANGE', held(model, tenant), 0, BATCH - 1)) do
    if free_slots(model, tenant) < 1 then return end
    let_in(id, model, tenant, field(id, 'turn'))
  end
end

local function admit(tenant)
  for _, model in ipairs(pools()) do admit_to(model, tenant) end
end

-- Hold jobs that are in the queue and have no slot, those first whose turn comes last.
local function hold_back(model, tenant)
  local over = math.min(-free_slots(model, tenant), BATCH)
  if over < 1 then return end
  for _, id in ipairs(redis.call('ZREVRANGE', entered(model, tenant), 0, over - 1)) do
    hold(id, model, tenant, field(id, 'turn'))
  end
end

-- Jobs that come in one call, with one time, go in order, too.
local function new_turn(priority)
  memo.turns = (memo.turns or 0) + 1
  return string.format('%.0f', time[1] * 1e6 + time[2] + memo.turns - HEAD_START[priority])
end

-- Have the job wait for its turn, which it keeps when it comes again.
local function enqueue(id, model, tenant, turn, priority, since)
  know(model)
  redis.call('ZADD', waiting(model, priority), since, id)
  local place = free_slots(model, tenant) > 0 and let_in or hold
  place(id, model, tenant, turn)
end

-- The job runs, or waits no more.
local function dequeue(id, model, tenant)
  redis.call('ZREM', waiting(model, field(id, 'priority')), id)
  redis.call('ZREM', queue(model), id)
  redis.call('ZREM', entered(model, tenant), id)
  redis.call('ZREM', all_held(model), id)
  redis.call('ZREM', held(model, tenant), id)
end

-- The job neither waits nor runs any more: its tenant's next one may, whatever its model.
local function release(id, model, tenant)
  dequeue(id, model, tenant)
  admit(tenant)
end

-- Jobs that name no model wait for `model` from now on.
local function adopt(model)
  for _, set in ipairs({queue(DEFAULT), all_held(DEFAULT)}) do
    for _, id in ipairs(redis.call('ZRANGE', set, 0, BATCH - 1)) do
      local tenant, turn, priority, since = unpack(redis.call('HMGET', job(id), 'tenant', 'turn', 'priority', 'created_at'))
      dequeue(id, DEFAULT, tenant)
      redis.call('HSET', job(id), 'model', model)
      enqueue(id, model, tenant, turn, priority, since)
    end
  end
end

local function quantile(sorted, q)
  local place = 1 + q * (#sorted - 1)
  local low = math.floor(place)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (place - low) * (sorted[high] - sorted[low])
end

-- When so many of the model's workers are free, if each job takes `ms`; ascending.
local function free_times(model, number, ms)
  local running = redis.call('ZRANGE', leases(model), 0, number - 1)
  local free = {}
  for _, id in ipairs(running) do
    table.insert(free, math.max(0, ms - (now - (field(id, 'started_at') or now))))
  end
  while #free < number do table.insert(free, 0) end
  table.sort(free)
  return free
end

local function living(model) return redis.call('ZCOUNT', workers(model), now - WORKER_MS, '+inf') end

-- What the model's last jobs took and when workers are free; false without workers or before anything was measured.
local function measured(model)
  local number, took_ms = living(model), redis.call('LRANGE', durations(model), 0, -1)
  if number == 0 or #took_ms < 2 then return false end
  for i, ms in ipairs(took_ms) do took_ms[i] = tonumber(ms) end
  table.sort(took_ms)
  local p50, p90 = quantile(took_ms, 0.5), quantile(took_ms, 0.9)
  return {p50 = p50, spread = p90 - p50, workers = number, free = free_times(model, math.min(number, BATCH), p50)}
end

-- Milliseconds until the model's job at `position` starts, as a median and a 90th percentile: it waits for a worker that is
-- free soonest, and for whole rounds of jobs before it; independent jobs' spreads add up as their root.
local function eta(model, position)
  if memo.measured[model] == nil then memo.measured[model] = measured(model) end
  local known = memo.measured[model]
  if not known then return {} end
  local rounds = math.floor((position - 1) / known.workers)
  local first = known.free[math.min((position - 1) % known.workers + 1, #known.free)]
  local jobs = rounds + (first > 0 and 1 or 0)
  local p50 = first + rounds * known.p50
  return {math.floor(p50), math.floor(p50 + math.sqrt(jobs) * known.spread + PICKUP_MS)}
end

-- A waiting job's position, and when it starts.
local function place(id)
  local model = model_of(id)
  local rank = redis.call('ZRANK', queue(model), id)
  if not rank then
    rank = redis.call('ZRANK', all_held(model), id)
    rank = rank and rank + redis.call('ZCARD', queue(model))
  end
  if not rank then return nil end
  return {rank + 1, unpack(eta(model, rank + 1))}
end

-- Remember when the job should start at the latest, in nine cases of ten; `keep_promise` counts how it came out.
-- Answers with the job's place.
local function promise(id)
  local here = place(id)
  local p90 = here[3]
  if p90 then redis.call('HSET', job(id), 'promised_at', now + p90) end
  return here
end

local function keep_promise(id, model)
  local promised = field(id, 'promised_at')
  if not promised then return end
  redis.call('HDEL', job(id), 'promised_at')
  count(model, 'eta:promised')
  if now <= tonumber(promised) then count(model, 'eta:held') end
end

local function took(model, ms)
  redis.call('LPUSH', durations(model), ms)
  redis.call('LTRIM', durations(model), 0, MEASURED - 1)
end

-- Jobs that a worker of the model could take now.
function reads.waiting(model) return redis.call('ZCARD', queue(model)) end
