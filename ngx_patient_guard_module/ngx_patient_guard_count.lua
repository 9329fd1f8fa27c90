-- Check and charge, one atomic step: the twin of ngx_patient_guard_count.c.
--
-- An account is one hash.  Field "!challenge" holds since when (ms, 8 bytes)
-- and the state of the limit that challenged it; every other field is what
-- was counted in one window, little-endian:
--
--   newest slice I8 | total I4 | 33 counts I4, of slice S at S % 33 | set
--
-- The set of a limit on patients is their aliases, 8 bytes each, those of
-- the oldest slice first: the counts tell where a slice ends.
--
-- KEYS  account [, the same account under the other key of the secret]
-- ARGV  nonce, now, proof, flags (1 dry run, 2 exempt), grants, their window,
--       aliases of the patients, the same under the other key or "",
--       then for each limit: state, 1 for a set, action, window, count
-- Reply nonce, flags (1 charged, 2 challenged, 4 passed), the limit that
--       challenged from 0, ms until a grant is left, then for each limit its
--       total and ms until the lookup fits

local SLICES, RING, SET = 32, 13, 145
local SLOTS = string.rep('I4', SLICES + 1)
local LOG, CHALLENGE = 0, 2                -- actions
local LAPSE, SKEW = 90 * 86400000, 300000

local now, proof = tonumber(ARGV[2]), tonumber(ARGV[3])
local flags = tonumber(ARGV[4])
local dry_run, exempt = flags % 2 == 1, flags >= 2
local grants_count, grants_window = tonumber(ARGV[5]), tonumber(ARGV[6])
local current, previous = ARGV[7], ARGV[8]
local npatients = #current / 8

local limits, fields = {}, {'!challenge', '!grants'}
local ttl = grants_window

for i = 9, #ARGV, 5 do
    local limit = {state = ARGV[i], set = ARGV[i + 1] == '1',
                   action = tonumber(ARGV[i + 2]),
                   window = tonumber(ARGV[i + 3]),
                   count = tonumber(ARGV[i + 4])}
    limits[#limits + 1] = limit
    fields[#fields + 1] = limit.state
    ttl = math.max(ttl, limit.window)
end

local function read()
    local values = redis.call('HMGET', KEYS[1], unpack(fields))
    for i = 1, #fields do
        if values[i] then
            return values, true
        end
    end
    return values, false
end

local held, found = read()

if not found and KEYS[2] and redis.call('EXISTS', KEYS[1]) == 0
   and redis.call('EXISTS', KEYS[2]) == 1
then
    redis.call('RENAME', KEYS[2], KEYS[1])
    held = read()
end

local function empty(window)
    window.total, window.counts, window.set = 0, {}, ''
    for i = 1, SLICES + 1 do
        window.counts[i] = 0
    end
end

-- moves the window to the present; see ngx_patient_guard_slice_advance()

local function advance(window, slice)
    local newest = window.newest

    if slice == newest
       or slice < newest and newest - slice <= SLICES and window.total > 0
    then
        return
    end

    window.newest = slice

    if slice > newest + SLICES or window.total == 0 then
        empty(window)
        return
    end

    local counts = window.counts

    if slice < newest then
        local ahead, into = 0, slice % (SLICES + 1) + 1

        for later = math.max(slice + 1, newest - SLICES), newest do
            local slot = later % (SLICES + 1) + 1
            ahead = ahead + counts[slot]
            counts[slot] = 0
        end

        counts[into] = counts[into] + ahead

    else
        local dropped = 0

        for old = newest - SLICES, slice - SLICES - 1 do
            local slot = old % (SLICES + 1) + 1
            dropped = dropped + counts[slot]
            counts[slot] = 0
        end

        window.total = window.total - dropped
        window.set = string.sub(window.set, 8 * dropped + 1)
    end
end

-- what is to be written: a window that only moved as well, lest a clock that
-- goes back find here what shared memory has dropped

local changed = {}

local function open(state, value, length, set)
    local slice = math.floor(now * SLICES / length)
    local window = {length = length, newest = slice}

    if not value then
        empty(window)
        return window
    end

    if #value < SET - 1 then
        return nil
    end

    window.newest, window.total = struct.unpack('<I8I4', value)
    window.counts = {struct.unpack('<' .. SLOTS, value, RING)}
    window.set = string.sub(value, SET)

    -- nothing that was damaged is believed; from 2^53 on a slice plus one is
    -- the same slice, and a loop over slices would not end

    local counted = 0
    for i = 1, SLICES + 1 do
        counted = counted + window.counts[i]
    end

    if counted ~= window.total or window.newest >= 2 ^ 52
       or #window.set ~= (set and 8 * window.total or 0)
    then
        return nil
    end

    local newest = window.newest
    advance(window, slice)

    if window.newest ~= newest then
        changed[state] = window
    end

    return window
end

-- ms until "room" more fit under the count

local function wait(window, room, count)
    if window.total + room <= count then
        return 0
    end

    if room > count then
        return window.length
    end

    local excess = window.total + room - count

    for slice = window.newest - SLICES, window.newest do
        excess = excess - window.counts[slice % (SLICES + 1) + 1]
        if excess <= 0 then
            local dropped = math.ceil((slice + SLICES + 1) * window.length
                                      / SLICES)
            return math.max(dropped - now, 1)
        end
    end

    return window.length
end

local function find(set, alias)
    local at = 0
    repeat
        at = string.find(set, alias, at + 1, true)
    until not at or at % 8 == 1
    return at
end

-- where the set has the patient, under either key

local function known(set, patient)
    local from, to = 8 * patient - 7, 8 * patient
    return find(set, string.sub(current, from, to))
           or previous ~= '' and find(set, string.sub(previous, from, to))
end

local function charge_count(window, count)
    local slot = window.newest % (SLICES + 1) + 1

    count = math.min(count, 4294967295 - window.total)
    window.counts[slot] = window.counts[slot] + count
    window.total = window.total + count
end

local function charge_set(window, cap)
    local counts, set = window.counts, window.set
    local newest = window.newest % (SLICES + 1) + 1
    local added = {}

    for patient = 1, npatients do
        local alias = string.sub(current, 8 * patient - 7, 8 * patient)
        local at = known(set, patient)

        if at then
            local before = (at - 1) / 8
            local slice = window.newest - SLICES - 1

            while before >= 0 and slice < window.newest do
                slice = slice + 1
                before = before - counts[slice % (SLICES + 1) + 1]
            end

            local slot = slice % (SLICES + 1) + 1

            if slot ~= newest then
                counts[slot] = counts[slot] - 1
                counts[newest] = counts[newest] + 1
                set = string.sub(set, 1, at - 1) .. string.sub(set, at + 8)
                      .. alias

            elseif string.sub(set, at, at + 7) ~= alias then
                set = string.sub(set, 1, at - 1) .. alias
                      .. string.sub(set, at + 8)
            end

        elseif window.total < cap then
            window.total = window.total + 1
            added[#added + 1] = alias
        end
    end

    counts[newest] = counts[newest] + #added
    window.set = set .. table.concat(added)
end

local windows = {}

for i, limit in ipairs(limits) do
    windows[i] = open(limit.state, held[i + 2], limit.window, limit.set)
    if not windows[i] then
        return redis.error_reply('PGSTATE malformed value of ' .. limit.state)
    end
end

local grants = open('!grants', held[2], grants_window, false)
local since, challenger = nil, ''

if held[1] and #held[1] >= 8 then
    since, challenger = struct.unpack('<I8', held[1]), string.sub(held[1], 9)
end

if not grants or held[1] and not since then
    return redis.error_reply('PGSTATE malformed challenge')
end

-- a clock that ran ahead: no challenge is of the future, nor an old proof
-- good for it

local opened = false

if since and since > now + SKEW then
    since, opened = math.max(now, proof), true
end

-- a proof given after the challenge: the limits that challenge start afresh

local grants_wait = wait(grants, 1, grants_count)
local passed = since and proof > since and grants_wait == 0

if passed then
    since, opened = nil, false
    redis.call('HDEL', KEYS[1], '!challenge')

    for i, limit in ipairs(limits) do
        if limit.action == CHALLENGE then
            windows[i].newest = math.floor(now * SLICES / limit.window)
            empty(windows[i])
            changed[limit.state] = windows[i]
        end
    end

    charge_count(grants, 1)
    changed['!grants'] = grants
    grants_wait = wait(grants, 1, grants_count)
end

local refuse = since and true or false
local rooms = {}

for i, limit in ipairs(limits) do
    local cost = npatients

    if limit.set then
        cost = 0
        for patient = 1, npatients do
            if not known(windows[i].set, patient) then
                cost = cost + 1
            end
        end
    end

    rooms[i] = cost == 0 and 0 or wait(windows[i], cost, limit.count)

    if rooms[i] > 0 and limit.action > LOG then
        refuse = true

        if limit.action == CHALLENGE and not since and grants_wait == 0
           and not exempt and not dry_run
        then
            since, challenger, opened = math.max(now, proof), limit.state, true
        end
    end
end

local charged = exempt or not refuse

if charged then
    for i, limit in ipairs(limits) do
        if limit.set then
            charge_set(windows[i], math.min(2 * limit.count, 4294967295))
        else
            charge_count(windows[i], npatients)
        end
        changed[limit.state] = windows[i]
    end
end

local put = {}

for state, window in pairs(changed) do
    put[#put + 1] = state
    put[#put + 1] = struct.pack('<I8I4' .. SLOTS, window.newest, window.total,
                                unpack(window.counts, 1, SLICES + 1))
                    .. window.set
end

if opened then
    put[#put + 1] = '!challenge'
    put[#put + 1] = struct.pack('<I8', since) .. challenger
end

-- a node that does not know of the longest window yet must not cut it short;
-- with a pass the challenge's lapse ends

if #put > 0 then
    ttl = math.ceil(ttl + ttl / SLICES) + 1000
    if since then
        ttl = LAPSE
    elseif not passed then
        ttl = math.max(ttl, redis.call('PTTL', KEYS[1]))
    end
    redis.call('HSET', KEYS[1], unpack(put))
    redis.call('PEXPIRE', KEYS[1], ttl)

elseif since and redis.call('PTTL', KEYS[1]) < LAPSE / 2 then
    redis.call('PEXPIRE', KEYS[1], LAPSE)
end

local by = #limits

for i, limit in ipairs(limits) do
    if limit.state == challenger then
        by = i - 1
    end
end

local reply = {ARGV[1],
               (charged and 1 or 0) + (since and 2 or 0) + (passed and 4 or 0),
               by, grants_wait}

for i = 1, #limits do
    reply[#reply + 1] = windows[i].total
    reply[#reply + 1] = rooms[i]
end

return table.concat(reply, ' ')
