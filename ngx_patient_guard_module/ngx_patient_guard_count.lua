-- What Redis does for the guard, each call one atomic step.  COUNT is check
-- and charge, the twin of ngx_patient_guard_count.c.  SYNC takes what a node
-- has counted by itself, and tells what the fleet has.
--
-- An account is one hash.  Field "!challenge" holds since when (ms, 8 bytes)
-- and the state of the limit that challenged it, "!cleared" when it was last
-- passed (ms), "@" the last call that was charged of each session, 8 bytes
-- and its number I8; every other field what was counted in one window,
-- little-endian:
--
--   newest slice I8 | total I4 | 33 counts I4, of slice S at S % 33 | set
--
-- The set of a limit on patients is their aliases, 8 bytes each, those of
-- the oldest slice first: the counts tell where a slice ends.
--
-- Sets may be told twice, bare counts may not: a call is charged only if its
-- number is above the last one of its session.  So a node whose call went
-- unanswered can tell it again, and the first one, should it still come, is
-- superseded.
--
-- KEYS  account [, the same account under the other key of the secret]
-- ARGV  nonce, now, proof, flags (1 dry run, 2 exempt, 4 unnamed: who the
--       patients are will be told later, 8 probe: nothing is charged, 16 SYNC,
--       32 SYNC that asks for the sets), grants, their window, aliases of the patients,
--       the same under the other key or "", since when the node knows of a
--       challenge or 0, its limit's state, session or "";
--       COUNT: how many records are read;
--       SYNC: when the node knows the challenge was last passed, the number
--       of its counts in that session, what was charged without an answer:
--       session, number I8, when I8 (ms), count I4 each;
--       then for each limit: state, 1 for a set, action, window, count,
--       SYNC: and the window that the node adds, or ""
-- Reply nonce, flags (1 charged, 2 challenged, 4 passed, 8 superseded), the
--       limit that challenged from 0, ms until a grant is left, since when it
--       is challenged, when it was last passed,
--       then for each limit
--       COUNT: its total and ms until the lookup fits;
--       SYNC: its window without the set, a number I4 and as many aliases

local SLICES, RING, SET = 32, 13, 145
local SLOTS = string.rep('I4', SLICES + 1)
local LOG, CHALLENGE = 0, 2                -- actions
local LAPSE, SKEW = 90 * 86400000, 300000

local SESSIONS, TELL, FEW = 64, 7000, 4

local nonce, now, proof = tonumber(ARGV[1]), tonumber(ARGV[2]),
                          tonumber(ARGV[3])
local flags = tonumber(ARGV[4])
local dry_run, exempt = flags % 2 == 1, flags % 4 >= 2
local unnamed, probe = flags % 8 >= 4, flags % 16 >= 8
local sync, tell = flags >= 16, flags >= 32
local grants_count, grants_window = tonumber(ARGV[5]), tonumber(ARGV[6])
local current, previous = ARGV[7], ARGV[8]
local npatients = #current / 8
local session = ARGV[11]
local records = sync and 0 or tonumber(ARGV[12])

local limits, fields = {}, {'!challenge', '!grants', '!cleared', '@'}
local BEFORE = #fields
local ttl = grants_window

for i = sync and 15 or 13, #ARGV, sync and 6 or 5 do
    local limit = {state = ARGV[i], set = ARGV[i + 1] == '1',
                   action = tonumber(ARGV[i + 2]),
                   window = tonumber(ARGV[i + 3]),
                   count = tonumber(ARGV[i + 4]), more = ARGV[i + 5]}
    limits[#limits + 1] = limit
    fields[#fields + 1] = limit.state
    ttl = math.max(ttl, limit.window)
end

local function read()
    local values = redis.call('HMGET', KEYS[1], unpack(fields))
    for i = 1, BEFORE + #limits do
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

-- what a session has told last: a later call of an older number is void

local put = {}
local sessions = held[4] and #held[4] % 16 == 0 and held[4] or ''

local function told_last(name)
    for at = 1, #sessions, 16 do
        if string.sub(sessions, at, at + 7) == name then
            return struct.unpack('<I8', sessions, at + 8), at
        end
    end
    return 0, nil
end

local function tell_last(name, number)
    local _, at = told_last(name)

    if at then
        sessions = string.sub(sessions, 1, at - 1)
                   .. string.sub(sessions, at + 16)
    end

    -- of too many, the one that was not heard of for longest has gone

    sessions = string.sub(sessions, -16 * (SESSIONS - 1)) .. name
               .. struct.pack('<I8', number)
    put['@'] = sessions
end

local last = 0

if session ~= '' then
    last = told_last(session)
end

if not sync and session ~= '' and nonce <= last and last < 2 ^ 53 then
    local reply = {ARGV[1], 8, #limits, 0, 0, 0}
    for i = 1, #limits do
        reply[#reply + 1] = '0 0'
    end
    return table.concat(reply, ' ')
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

-- how many of the patients the set does not have

local function strangers(set)
    local cost, there = 0, {}

    if npatients > FEW then
        for at = 1, #set, 8 do
            there[string.sub(set, at, at + 7)] = true
        end
    end

    for patient = 1, npatients do
        local from, to = 8 * patient - 7, 8 * patient
        local had

        if npatients > FEW then
            had = there[string.sub(current, from, to)]
                  or previous ~= '' and there[string.sub(previous, from, to)]
        else
            had = known(set, patient)
        end

        cost = cost + (had and 0 or 1)
    end

    return cost
end

local function charge_count(window, slice, count)
    local slot = slice % (SLICES + 1) + 1

    count = math.min(count, 4294967295 - window.total)
    window.counts[slot] = window.counts[slot] + count
    window.total = window.total + count
end

-- in which slice the patient was counted who is at that place of the set

local function slice_of(window, at)
    local before, slice = (at - 1) / 8, window.newest - SLICES - 1

    while before >= 0 and slice < window.newest do
        slice = slice + 1
        before = before - window.counts[slice % (SLICES + 1) + 1]
    end

    return slice
end

-- SYNC: one patient whom a node has counted in a slice

local function add_patient(window, alias, slice, cap)
    local counts, set = window.counts, window.set
    local at = find(set, alias)

    if at then
        local old = slice_of(window, at)

        if old >= slice then
            return
        end

        counts[old % (SLICES + 1) + 1] = counts[old % (SLICES + 1) + 1] - 1
        set = string.sub(set, 1, at - 1) .. string.sub(set, at + 8)

    elseif window.total < cap then
        window.total = window.total + 1

    else
        return
    end

    local place = 0

    for s = window.newest - SLICES, slice do
        place = place + counts[s % (SLICES + 1) + 1]
    end

    counts[slice % (SLICES + 1) + 1] = counts[slice % (SLICES + 1) + 1] + 1
    window.set = string.sub(set, 1, 8 * place) .. alias
                 .. string.sub(set, 8 * place + 1)
end

local function add_count(window, slice, count)
    slice = math.min(slice, window.newest)

    if slice >= window.newest - SLICES then
        charge_count(window, slice, count)
    end
end

-- Many at once: the set is taken apart and put together again.  Who is there
-- under the other key bears the name that "renamed" has for him.

local function add_patients(window, told, cap, renamed)
    local lists, where, at = {}, {}, 1

    for slice = window.newest - SLICES, window.newest do
        local list = {}
        for i = 1, window.counts[slice % (SLICES + 1) + 1] do
            local alias = string.sub(window.set, at, at + 7)
            list[i] = renamed[alias] or alias
            where[list[i]] = slice
            at = at + 8
        end
        lists[slice] = list
    end

    for _, one in ipairs(told) do
        local alias, slice = one[1], one[2]
        local old = where[alias]

        if not old and window.total < cap then
            window.total = window.total + 1
            old = slice - 1
        end

        if old and old < slice then
            where[alias] = slice
            lists[slice][#lists[slice] + 1] = alias
        end
    end

    local set = {}

    for slice = window.newest - SLICES, window.newest do
        local before = #set
        for _, alias in ipairs(lists[slice]) do
            if where[alias] == slice then
                set[#set + 1] = alias
                where[alias] = nil
            end
        end
        window.counts[slice % (SLICES + 1) + 1] = #set - before
    end

    window.set, window.total = table.concat(set), #set
end

-- as told by a node, all in the present

local function charge_many(window, cap)
    local told, renamed = {}, {}

    for at = 1, #current, 8 do
        local alias = string.sub(current, at, at + 7)
        told[#told + 1] = {alias, window.newest}
        if previous ~= '' then
            renamed[string.sub(previous, at, at + 7)] = alias
        end
    end

    add_patients(window, told, cap, renamed)
end

local function charge_set(window, cap)
    if npatients > FEW then
        return charge_many(window, cap)
    end

    local counts, set = window.counts, window.set
    local newest = window.newest % (SLICES + 1) + 1
    local added = {}

    for patient = 1, npatients do
        local alias = string.sub(current, 8 * patient - 7, 8 * patient)
        local at = known(set, patient)

        if at then
            local slot = slice_of(window, at) % (SLICES + 1) + 1

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

local function add_window(window, limit, counted)
    local newest = struct.unpack('<I8', limit.more)
    local counts = {struct.unpack('<' .. SLOTS, limit.more, RING)}
    local cap = math.min(2 * limit.count, 4294967295)
    local told, at = {}, SET

    for slice = newest - SLICES, newest do
        local count = counts[slice % (SLICES + 1) + 1]

        if not limit.set then
            if counted then
                add_count(window, slice, count)
            end

        else
            for _ = 1, count do
                if slice >= window.newest - SLICES then
                    told[#told + 1] = {string.sub(limit.more, at, at + 7),
                                       math.min(slice, window.newest)}
                end
                at = at + 8
            end
        end
    end

    if #told > FEW then
        add_patients(window, told, cap, {})
    else
        for _, one in ipairs(told) do
            add_patient(window, one[1], one[2], cap)
        end
    end
end

local windows = {}

for i, limit in ipairs(limits) do
    windows[i] = open(limit.state, held[i + BEFORE], limit.window, limit.set)
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

local cleared = held[3] and #held[3] == 8 and struct.unpack('<I8', held[3])
                or 0
local whole = cleared < 2 ^ 53 and (not since or since < 2 ^ 53)

for at = 9, #sessions, 16 do
    whole = whole and struct.unpack('<I8', sessions, at) < 2 ^ 53
end

if not whole then
    return redis.error_reply('PGSTATE malformed time or number')
end

-- a challenge that Redis has lost, or was never told: not one passed since

local opened = false

if not since and tonumber(ARGV[9]) > cleared then
    since, challenger, opened = tonumber(ARGV[9]), ARGV[10], true
end

-- a clock that ran ahead: no challenge is of the future, nor an old proof
-- good for it

if since and since > now + SKEW then
    since, opened = math.max(now, proof), true
end

-- a proof given after the challenge: the limits that challenge start afresh

local grants_wait = wait(grants, 1, grants_count)
local passed = since and proof > since and grants_wait == 0

if passed then
    cleared = math.max(now, since, cleared + 1)
    put['!cleared'] = struct.pack('<I8', cleared)
    since, opened = nil, false
    redis.call('HDEL', KEYS[1], '!challenge')

    for i, limit in ipairs(limits) do
        if limit.action == CHALLENGE then
            windows[i].newest = math.floor(now * SLICES / limit.window)
            empty(windows[i])
            changed[limit.state] = windows[i]
        end
    end

    charge_count(grants, grants.newest, 1)
    changed['!grants'] = grants
    grants_wait = wait(grants, 1, grants_count)
end

local charged = false
local superseded = false
local rooms = {}

local function weigh()
    local refuse = since and true or false

    for i, limit in ipairs(limits) do
        local cost = records

        if limit.set then
            cost = strangers(windows[i].set)
        end

        rooms[i] = cost == 0 and 0 or wait(windows[i], cost, limit.count)

        if rooms[i] > 0 and limit.action > LOG then
            refuse = true

            if limit.action == CHALLENGE and not since and grants_wait == 0
               and not exempt and not dry_run
            then
                since, challenger = math.max(now, proof), limit.state
                opened = true
            end
        end
    end

    return refuse
end

local function charge()
    for i, limit in ipairs(limits) do
        if limit.set then
            if not unnamed then
                charge_set(windows[i], math.min(2 * limit.count, 4294967295))
            end
        else
            charge_count(windows[i], windows[i].newest, records)
        end
        changed[limit.state] = windows[i]
    end

    if session ~= '' then
        tell_last(session, nonce)
    end
end

-- what the node counted before a challenge that has been passed since is not
-- counted against the limits that challenge

local function take()
    local stale = tonumber(ARGV[12]) < cleared
    local number = tonumber(ARGV[13])
    local counted = number > last

    superseded = number > 0 and not counted

    for i, limit in ipairs(limits) do
        if limit.more ~= '' and not (stale and limit.action == CHALLENGE) then
            add_window(windows[i], limit, counted)
            changed[limit.state] = windows[i]
        end
    end

    if number > 0 and counted then
        tell_last(session, number)
    end

    for at = 1, #ARGV[14], 28 do
        local by, of, when, count = struct.unpack('<c8I8I8I4', ARGV[14], at)

        if of > told_last(by) then
            for i, limit in ipairs(limits) do
                if not limit.set
                   and not (stale and limit.action == CHALLENGE)
                then
                    add_count(windows[i],
                              math.floor(when * SLICES / limit.window), count)
                    changed[limit.state] = windows[i]
                end
            end
            tell_last(by, of)
        end
    end
end

if sync then
    take()
else
    charged = not weigh() or exempt
    if charged and not probe then
        charge()
    end
end

local function image(window)
    return struct.pack('<I8I4' .. SLOTS, window.newest, window.total,
                       unpack(window.counts, 1, SLICES + 1))
end

for state, window in pairs(changed) do
    put[state] = image(window) .. window.set
end

if opened then
    put['!challenge'] = struct.pack('<I8', since) .. challenger
end

local values = {}

for field, value in pairs(put) do
    values[#values + 1] = field
    values[#values + 1] = value
end

-- a node that does not know of the longest window yet must not cut it short;
-- with a pass the challenge's lapse ends

if #values > 0 then
    ttl = math.ceil(ttl + ttl / SLICES) + 1000
    if since then
        ttl = LAPSE
    elseif not passed then
        ttl = math.max(ttl, redis.call('PTTL', KEYS[1]))
    end
    redis.call('HSET', KEYS[1], unpack(values))
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
               (charged and 1 or 0) + (since and 2 or 0) + (passed and 4 or 0)
               + (superseded and 8 or 0),
               by, grants_wait, string.format('%.0f', since or 0),
               string.format('%.0f', cleared)}

if sync then
    local left = tell and TELL or 0

    reply = {table.concat(reply, ' '), ' '}

    for i = 1, #limits do
        local n = limits[i].set and math.min(windows[i].total, left) or 0

        left = left - n
        reply[#reply + 1] = image(windows[i]) .. struct.pack('<I4', n)
        reply[#reply + 1] = n > 0 and string.sub(windows[i].set, -8 * n) or ''
    end

    return table.concat(reply)
end

for i = 1, #limits do
    reply[#reply + 1] = windows[i].total
    reply[#reply + 1] = rooms[i]
end

return table.concat(reply, ' ')
