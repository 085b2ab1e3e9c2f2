-- What operators see of all tenants, in parts: `first` counts from 0, and no part is longer than BATCH.

local LISTS = {running = leases, queued = queue, held = all_held, quarantined = function() return QUARANTINE end}

local function part(set, first, ...)
  return redis.call('ZRANGE', set, first, first + BATCH - 1, ...)
end

-- The models that there are pools of.
function reads.pools() return pools() end

-- Brief views of the jobs that are at this: of the model, or in quarantine of any.
function reads.jobs_at(what, model, first)
  local views = {}
  for _, id in ipairs(part(LISTS[what](model), first)) do table.insert(views, brief(id)) end
  return views
end

-- Workers of the model, each followed by the milliseconds since its last sign of life; the silent ones first.
function reads.workers(model, first)
  local all = part(workers(model), first, 'WITHSCORES')
  for i = 2, #all, 2 do all[i] = now - all[i] end
  return all
end

-- The stored densities of texts, or those about to be, each followed by the time of its last use.
function reads.densities(first) return part(DENSITIES, first, 'WITHSCORES') end

-- The prefixes of ended jobs, uploads and found things that have a record, each in its place among those with an end; ''
-- in the place of others.
function reads.kept(first)
  local prefixes = part(EXPIRY, first)
  for i, prefix in ipairs(prefixes) do
    local kind, id = string.match(prefix, '^(%l+)/([^/]+)/$')
    local record = kind == 'jobs' and job(id) or kind == 'uploads' and upload(id) or kind == 'found' and found_thing(id)
    if not record or redis.call('EXISTS', record) == 0 then prefixes[i] = '' end
  end
  return prefixes
end

-- What of the job's, upload's or found thing's objects is left is erased, and its record says so from then on.
function frees.expire(prefix) plan(prefix) end

-- A part of those that run wait again: nobody has died with them. Answers with how many these are.
function frees.run_again()
  local found = 0
  for _, model in ipairs(pools()) do
    for _, id in ipairs(part(leases(model), 0)) do
      if field(id, 'status') == 'running' then requeue(id) else settle(id, 'canceled') end
      found = found + 1
    end
  end
  return found
end
