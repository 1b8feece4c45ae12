-- One atomic step over a convention's slots (article 4; C01). Whatever is asked, each call does, in this order:
--   1. late    it runs after its caller gave up, or this server's clock was set forward: nothing is done
--   2. nodes   the asking node is seen; the smallest cap and line that a live node knows are in force
--   3. lost    leases may be missing (emptied, restarted, failed over): nothing new is granted for one lease
--   4. sweep   lapsed leases go
--   5. release what the caller owes
--   6. what was asked
--
-- KEYS   leases (sorted set: slot by instant of lapse), records (hash: slot to JSON), epoch (hash),
--        nodes (hash: node to JSON), interconnection (string). Instants are this server's, in milliseconds.
-- ARGV   the request as JSON: op, node, cap, line? (kb/s), revision?, reserved?, lease (ms), latest?, stepped?,
--        release, slots
-- Reply  status, now, hold left (ms), slots in use, cap in force, interconnection, rows

local LEASES, RECORDS, EPOCH, NODES, INTERCONNECTION = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ask = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lapse = now + ask.lease

if ask.latest and now > ask.latest then
  return {'late', now}
end

-- Nodes ---------------------------------------------------------------------------------------------------------

if ask.op == 'open' then
  redis.call('DEL', LEASES, RECORDS, NODES)
end

-- What is reserved is in SQL; of what the live nodes have read there, the newest holds.
local cap, line = ask.cap, ask.line or math.huge
local revision, reserved = ask.revision or -1, ask.reserved or {}
local seen = redis.call('HGETALL', NODES)
for i = 1, #seen, 2 do
  local node = cjson.decode(seen[i + 1])
  -- No node was seen later than now: this clock was set back.
  node.lapse = math.min(node.lapse, now + node.lease)
  if node.lapse <= now then
    redis.call('HDEL', NODES, seen[i])
  elseif seen[i] ~= ask.node then
    redis.call('HSET', NODES, seen[i], cjson.encode(node))
    if node.lease ~= ask.lease then
      return {'disagreed', now}
    end
    cap, line = math.min(cap, node.cap), math.min(line, node.line or math.huge)
    if (node.revision or -1) > revision then
      revision, reserved = node.revision, node.reserved
    end
  end
end
redis.call('HSET', NODES, ask.node, cjson.encode({
  cap = ask.cap, line = ask.line, lease = ask.lease, lapse = lapse, revision = ask.revision, reserved = ask.reserved,
}))

-- Lost ----------------------------------------------------------------------------------------------------------

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not run or not history then
  return redis.error_reply('ERR this server does not tell its run_id and master_replid: its losses cannot be seen')
end
local server = run .. ':' .. history
local epoch = redis.call('HMGET', EPOCH, 'server', 'leases', 'hold_until')
local counted = redis.call('ZCARD', LEASES)
local lost = epoch[1] ~= server or tonumber(epoch[2]) ~= counted or redis.call('HLEN', RECORDS) ~= counted
local hold_until = tonumber(epoch[3] or 0)
if ask.op == 'open' then
  hold_until = 0
elseif lost or ask.stepped then
  hold_until = lapse
end
hold_until = math.min(hold_until, lapse)
local holding = hold_until > now

-- Sweep ---------------------------------------------------------------------------------------------------------

local records = {}
local in_use = 0

local function put(slot, record)
  if not records[slot] then
    in_use = in_use + 1
  end
  records[slot] = record
  redis.call('ZADD', LEASES, lapse, slot)
  redis.call('HSET', RECORDS, slot, cjson.encode(record))
end

local function drop(slot)
  if records[slot] then
    in_use = in_use - 1
  end
  records[slot] = nil
  redis.call('ZREM', LEASES, slot)
  redis.call('HDEL', RECORDS, slot)
end

-- A record's formers are the nodes that had the slot before, by the instant until which each may still deliver.
local function keep_formers(record)
  local latest
  for node, at in pairs(record.formers or {}) do
    at = math.min(at, lapse)
    record.formers[node] = at > now and at or nil
    if at > now then
      latest = math.max(latest or 0, at)
    end
  end
  if not latest then
    record.formers = nil
  end
  return latest
end

-- A slot that is given back while a former node may still deliver stays taken, by nobody, until that one has let go.
local function give_back(slot)
  local record = records[slot]
  local latest = keep_formers(record)
  if not latest then
    drop(slot)
    return
  end
  record.node, record.term = '', record.term + 1
  redis.call('ZADD', LEASES, latest, slot)
  redis.call('HSET', RECORDS, slot, cjson.encode(record))
end

local stored = redis.call('HGETALL', RECORDS)
for i = 1, #stored, 2 do
  records[stored[i]] = cjson.decode(stored[i + 1])
  in_use = in_use + 1
end
local leased = {}
local ranked = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for i = 1, #ranked, 2 do
  local slot, at = ranked[i], tonumber(ranked[i + 1])
  leased[slot] = true
  if at <= now or not records[slot] then
    drop(slot)
  elseif at > lapse then
    redis.call('ZADD', LEASES, lapse, slot)
  end
end
for i = 1, #stored, 2 do
  if not leased[stored[i]] then
    drop(stored[i])
  end
end

-- Release -------------------------------------------------------------------------------------------------------

for _, slot in ipairs(ask.release) do
  if records[slot] and records[slot].node == ask.node then
    give_back(slot)
  end
end

-- What was asked ------------------------------------------------------------------------------------------------

local function granted(slot)
  local record = records[slot]
  return {record.term, record.since, record.holder}
end

-- A node tells how long nothing has gone to a reader; the record keeps since when, by this server's clock.
local function since_idle(mine)
  return mine.idle and now - mine.idle or nil
end

-- A lease that the store has lost is put back only while nothing is granted, and only where there is room.
local function put_back(mine)
  put(mine.slot, {
    node = ask.node, term = mine.term, since = mine.since, holder = mine.holder, kbps = mine.kbps,
    doing = mine.doing, idle = since_idle(mine),
  })
end

local function listed()
  local rows = {}
  local order = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
  for i = 1, #order, 2 do
    local record = records[order[i]]
    rows[#rows + 1] = {
      order[i], record.node, record.since, tonumber(order[i + 1]) - now, record.holder,
      record.doing or '', record.idle and now - record.idle or -1,
    }
  end
  return rows
end

-- What all streams, but the one in a slot, take of the line, in kb/s.
local function taken(without)
  local kbps = 0
  for slot, record in pairs(records) do
    kbps = kbps + (slot ~= without and record.kbps or 0)
  end
  return kbps
end

-- Room ----------------------------------------------------------------------------------------------------------

local function service_of(holder)
  local read, shown = pcall(cjson.decode, holder)
  return read and type(shown.service) == 'string' and shown.service or ''
end

-- The slots in use without one of them, and by service what is used, and what is reserved now.
local function shares(without)
  local taken_by, kept, in_all = {}, {}, 0
  for slot, record in pairs(records) do
    if slot ~= without then
      local service = service_of(record.holder)
      taken_by[service], in_all = (taken_by[service] or 0) + 1, in_all + 1
    end
  end
  for _, each in ipairs(reserved) do
    if each.until_ms > now then
      kept[each.service] = (kept[each.service] or 0) + each.slots
    end
  end
  return in_all, taken_by, kept
end

-- What is kept free for others than a service, as rows, and their sum.
local function withheld(service, taken_by, kept)
  local rows, sum = {}, 0
  for other, slots in pairs(kept) do
    local unused = slots - (taken_by[other] or 0)
    if other ~= service and unused > 0 then
      rows[#rows + 1], sum = {other, unused}, sum + unused
    end
  end
  return rows, sum
end

-- Within its own reservation a service needs a free slot; beyond it, one that is kept for nobody else.
local function has_room(service, without)
  local in_all, taken_by, kept = shares(without)
  if (taken_by[service] or 0) < (kept[service] or 0) then
    return in_all < cap
  end
  local _, sum = withheld(service, taken_by, kept)
  return in_all + sum < cap
end

-- The slots that PP's rule lets a new stream have, those first in which nothing has gone to a reader the longest.
local function idle_ones(mine, service)
  local rows = {}
  for slot, record in pairs(records) do
    local idle_ms = record.idle and now - record.idle or -1
    local may_go = mine.idle_after and idle_ms >= mine.idle_after and record.node ~= '' and not keep_formers(record)
    if may_go and has_room(service, slot) and taken(slot) + mine.kbps <= line then
      rows[#rows + 1] = {slot, record.node, idle_ms}
    end
  end
  table.sort(rows, function(one, other) return one[3] > other[3] end)
  return rows
end

local function full(mine, service)
  local _, taken_by, kept = shares()
  return {listed(), (withheld(service, taken_by, kept)), idle_ones(mine, service)}
end

local ops = {}

function ops.acquire()
  local mine = ask.slots[1]
  local record, service = records[mine.slot], service_of(mine.holder)
  if record and (record.node ~= ask.node or keep_formers(record)) then
    return 'elsewhere', {}
  elseif record then
    record.holder = mine.holder
    put(mine.slot, record)
  elseif holding and (mine.term == 0 or in_use >= cap) then
    return 'held back', {}
  elseif in_use >= cap or not (holding or has_room(service)) then
    return 'full', full(mine, service)
  elseif holding then
    put_back(mine)
  elseif taken() + mine.kbps > line then
    return 'line full', {taken(), line}
  else
    put(mine.slot, {node = ask.node, term = 1, since = now, holder = mine.holder, kbps = mine.kbps, idle = now})
  end
  return 'granted', granted(mine.slot)
end

-- A slot in which nothing is delivered any more becomes another stream's, in one step, on whichever node that is.
function ops.bequeath()
  local mine = ask.slots[1]
  local record = records[mine.slot]
  if not record or record.node ~= ask.node or keep_formers(record) or records[mine.heir] then
    return 'absent', {}
  end
  drop(mine.slot)
  put(mine.heir, {node = mine.node, term = 1, since = now, holder = mine.holder, kbps = mine.kbps, idle = now})
  return 'done', {}
end

function ops.claim()
  local slot = ask.slots[1].slot
  local record = records[slot]
  if not record then
    return holding and 'held back' or 'absent', {}
  end
  record.formers = record.formers or {}
  if record.node ~= ask.node then
    if record.node ~= '' then
      record.formers[record.node] = tonumber(redis.call('ZSCORE', LEASES, slot))
    end
    record.formers[ask.node] = nil
    record.node, record.term = ask.node, record.term + 1
  end
  local latest = keep_formers(record)
  put(slot, record)
  if not latest then
    return 'granted', granted(slot)
  end
  local formers = {}
  for node in pairs(record.formers) do
    formers[#formers + 1] = node
  end
  return 'moving', {latest - now, formers}
end

function ops.let_go()
  local slot = ask.slots[1].slot
  local record = records[slot]
  if record and record.formers then
    record.formers[ask.node] = nil
    if record.node ~= '' then
      redis.call('HSET', RECORDS, slot, cjson.encode(record))
    else
      give_back(slot)
    end
  end
  return 'done', {}
end

function ops.renew()
  local verdicts = {}
  for i, mine in ipairs(ask.slots) do
    local record = records[mine.slot]
    if not record and not (holding and in_use < cap) then
      verdicts[i] = 'lost'
    elseif record and (record.term > mine.term or (record.term == mine.term and record.node ~= ask.node)) then
      verdicts[i] = 'moved'
    elseif record and record.term == mine.term then
      record.kbps, record.holder, record.doing, record.idle = mine.kbps, mine.holder, mine.doing, since_idle(mine)
      put(mine.slot, record)
      verdicts[i] = 'kept'
    else
      put_back(mine)
      verdicts[i] = 'kept'
    end
  end
  return 'done', verdicts
end

function ops.open()
  for _, mine in ipairs(ask.slots) do
    put_back(mine)
  end
  return 'done', {}
end

function ops.release()
  return 'done', {}
end

function ops.list()
  return 'done', listed()
end

local status, rows = ops[ask.op]()
redis.call('HSET', EPOCH, 'server', server, 'leases', in_use, 'hold_until', hold_until)
return {status, now, math.max(0, hold_until - now), in_use, cap, redis.call('GET', INTERCONNECTION) or '', rows}
