-- What Redis does for the guard, each call one atomic step.  COUNT is check
-- and charge, the twin of ngx_patient_guard_count.c.  SYNC takes what a node
-- has counted by itself, and tells what the fleet has.
--
-- An account is one hash; so is whatever else a limit counts by, its key.
-- Field "!challenge" of an account holds since when (ms, 8 bytes) and the state
-- of the limit that challenged it, "!cleared" when it was last passed (ms),
-- "!due" since when its sessions have to have proved themselves (ms, 8 bytes),
-- until when (s, I4), and the limit's state, "@" the last call that was charged
-- of each session, 8 bytes and its number I8, "~" the slice of its memory that
-- patients were last seen in, I4, and "~a" to "~p" whom it knows; every other
-- field what was counted in one window, little-endian:
--
--   newest slice I8 | total I4 | 33 counts I4, of slice S at S % 33 | set
--
-- The set of a limit on distinct ones is their aliases, 8 bytes each, those of
-- the oldest slice first: the counts tell where a slice ends.
--
-- "^" and a limit's state has what is usual by it, see
-- ngx_patient_guard_habit.h: day I4, the most of that day I4, eight weeks I4.
--
-- Whom an account knows lies in the field of the low 4 bits of his alias:
-- the slice I4 that was the newest when it was written, then of each patient
-- bits 8 to 31 of his alias, and the low 8 bits of the slice that he was last
-- seen in.  Of 10,000 known patients one new one in 25,000 is taken for known.
--
-- Sets and what is known may be told twice, bare counts may not: a call is
-- charged only if its number is above the last one of its session.  So a node
-- whose call went unanswered can tell it again, and the first one, should it
-- still come, is superseded.
--
-- KEYS  account, or the key by which limits count, and others after it; then,
--       while the secret is being rotated, the same under its other key
-- ARGV  1 nonce I8, now I8, proof I8, since when the node knows of a challenge
--         or 0 I8, window of grants I8, memory (ms) or 0 I8, flags I4 (1 dry
--         run, 2 exempt, 4 unnamed: who the patients are will be told later, 8
--         probe: nothing is charged, 16 SYNC, 32 SYNC that asks for the sets,
--         64 SYNC of what is no account, 128 the proof is that of the session
--         that asks, 256 the challenge that the node knows of has been passed),
--         grants I4, how many keys I4, limits I4, how many records are read I4,
--         session or eight zeros, aliases of address and account, the same
--         under the other key
--       2 of each limit: signal B, action B, by which of the keys it counts, 0:
--         by none of them B, window I8, count I4, factor of what is usual in
--         thousandths or 0 I4, and no less than that I4, state with its length I2
--       3 aliases of the patients, 4 the same under the other key or ""
--       5 the state of the limit that challenged, as the node knows, or ""
--       6 COUNT: of each patient "1" if the node knows him, or ""
--         SYNC: when the node knows the challenge was last passed I8, the number
--         of its counts in that session I8
--       SYNC: 7 what was charged without an answer: session, number I8, when I8
--         (ms), records I4, new patients I4 each; 8 whom it has seen: alias,
--         when I4 (s), 1 if he was new to it, else 0; then of each limit the
--         window that the node adds, or ""
-- Reply nonce I8, flags B (1 charged, 2 challenged, 4 passed, 8 superseded, 16
--       this session has not proved itself since), the limit that challenged
--       from 0 B, how many patients were new I4, ms until a grant is left I8,
--       since when it is challenged I8, when it was last passed I8, since when
--       proofs are due, or 0, I8, and until when I4, then for each limit
--       COUNT: its total I4, ms until the lookup fits I8, the count that holds
--       I4;
--       SYNC: its window without the set, a number I4 and as many aliases

local SLICES, RING, SET = 32, 13, 145
local SLOTS = string.rep('I4', SLICES + 1)
local LOG, CHALLENGE = 0, 2                -- actions
local LOOKUPS, PATIENTS, NEW, MISSES, ADDRESSES, ACCOUNTS = 0, 1, 2, 3, 4, 5
local LAPSE, SKEW = 90 * 86400000, 300000

local SESSIONS, TELL = 64, 7000
local FEW, PART = 4, 1000                  -- of a set, one by one
local BUCKET = 770                         -- patients in one field, at most
local DAY, KEPT = 86400000, 60             -- ms, days
local WEEKS, LAST, FIRST, PEAK = 8, 5, 7, 0xffffff
local WORKED, MORE = 5, 12                 -- days, of windows of a week more

local nonce, now, proof, told_since, grants_window, memory, flags,
      grants_count, nkeys, nlimits, records, session =
    struct.unpack('<I8I8I8I8I8I8I4I4I4I4I4c8', ARGV[1])
local SUBJECTS = 77                        -- where they begin
local current, previous = ARGV[3], ARGV[4]
local stated = {struct.unpack('<' .. string.rep('BBBI8I4I4I4I2c0', nlimits),
                              ARGV[2])}
local PER = {[ADDRESSES] = 1, [ACCOUNTS] = 9}
local STATED = 8                           -- values of each limit
local REPLY = '<c8BBI4I8I8I8I8I4'

-- whose field of the memory a patient is in, and what stands for him there

local function field_of(alias)
    return '~' .. string.char(97 + string.byte(alias) % 16)
end

local function print_of(alias)
    local print = string.sub(alias, 2, 4)
    return print == '\0\0\0' and '\1\0\0' or print
end

-- where a set has one, whose entries are of so many bytes and begin at "from"

local function at_of(set, alias, from, step)
    local at = string.find(set, alias, from, true)
    while at and (at - from) % step ~= 0 do
        at = string.find(set, alias, at + 1, true)
    end
    return at
end

-- The ordinary lookup, for its speed: one account, whom nothing is wrong with,
-- reads of one patient, in the slices in which it was charged before, and there
-- is room.  It leaves out what can't matter then, and is no other verdict: what
-- it does not do in full is left to all that follows, which begins anew.  How
-- long the key lives was said when the last of its windows moved.

local function ordinary()
    if flags >= 256 or flags % 128 >= 4 or told_since > 0 or #KEYS > 1
       or #current ~= 8
    then
        return nil
    end

    local sub, char, floor = string.sub, string.char, math.floor
    local pack, unpacked = struct.pack, struct.unpack
    local bucket = field_of(current)
    local fields = {'HMGET', KEYS[1], '@', '!challenge', '!grants', '!due',
                    '!cleared', '~', bucket}

    for i = 1, nlimits do
        fields[9 + i] = stated[STATED * i]
    end

    local held = redis.call(unpack(fields))
    local sessions, grants, cleared = held[1], held[3], held[5]

    if held[2] or held[4] or cleared and #cleared ~= 8 then
        return nil
    end

    if grants then
        if #grants ~= SET - 1 then
            return nil
        end

        local newest, total = unpacked('<I8I4', grants)

        if newest ~= floor(now * SLICES / grants_window)
           or total >= grants_count
        then
            return nil
        end
    end

    local put = {'HSET', KEYS[1]}

    if session ~= '\0\0\0\0\0\0\0\0' then
        if not sessions or #sessions % 16 > 0 then
            return nil
        end

        local at = at_of(sessions, session, 1, 16)
        local number = sub(ARGV[1], 1, 8)

        if not at then
            sessions = sub(sessions, -16 * (SESSIONS - 1)) .. session
                       .. number
        elseif nonce <= unpacked('<I8', sessions, at + 8) then
            return nil
        elseif at + 15 == #sessions then
            sessions = sub(sessions, 1, at + 7) .. number
        else
            sessions = sub(sessions, 1, at - 1)
                       .. sub(sessions, at + 16) .. session .. number
        end

        put[3], put[4] = '@', sessions
    end

    local novel = 0

    if memory > 0 then
        local month = floor(now * SLICES / memory)
        local stamp, byte = pack('<I4', month), char(month % 256)
        local known, print = held[7] or stamp, print_of(current)

        if held[6] ~= stamp or sub(known, 1, 4) ~= stamp
           or #known % 4 > 0 or #known >= 4 + 4 * BUCKET
        then
            return nil
        end

        local at = at_of(known, print, 5, 4)

        if not at then
            novel = ARGV[6] == '1' and 0 or 1
            put[#put + 1], put[#put + 2] = bucket, known .. print .. byte
        elseif sub(known, at + 3, at + 3) ~= byte then
            put[#put + 1], put[#put + 2] = bucket,
                sub(known, 1, at + 2) .. byte
                .. sub(known, at + 4)
        end
    end

    local reply = {REPLY .. string.rep('I4I8I4', nlimits), ARGV[1], 1, nlimits,
                   novel, 0, 0, cleared and unpacked('<I8', cleared) or 0,
                   0, 0}

    for i = 1, nlimits do
        local at = STATED * (i - 1)
        local signal, length, count = stated[at + 1], stated[at + 4],
                                      stated[at + 5]
        local value, total, newest = held[7 + i], 0, nil

        if stated[at + 6] > 0 then
            return nil
        end

        if stated[at + 3] > 0 then
            local slice = floor(now * SLICES / length)

            if not value or #value < SET - 1 then
                return nil
            end

            newest, total = unpacked('<I8I4', value)

            local slot = RING + 4 * (slice % (SLICES + 1))
            local counted, cost, more = unpacked('<I4', value, slot), 0,
                                        ''

            if newest ~= slice
               or #value - SET + 1 ~= ((signal == PATIENTS
                                        or signal >= ADDRESSES)
                                       and 8 * total or 0)
            then
                return nil
            end

            if signal == LOOKUPS then
                cost = records
            elseif signal == NEW then
                cost = novel
            elseif signal == MISSES then
                if total >= count then
                    return nil
                end
            else
                if signal == PATIENTS then
                    more = current
                else
                    more = sub(ARGV[1], PER[signal] + SUBJECTS - 1,
                                      PER[signal] + SUBJECTS + 6)
                end

                local place = at_of(value, more, SET, 8)

                if not place then
                    cost = 1
                elseif place < SET + 8 * (total - counted) then
                    return nil
                end
            end

            if total + cost > count then
                return nil
            end

            if cost > 0 then
                total = total + cost
                put[#put + 1], put[#put + 2] = stated[at + 8],
                    pack('<c8I4c0I4', value, total,
                         sub(value, RING, slot - 1), counted + cost)
                    .. sub(value, slot + 4) .. more
            end
        end

        at = #reply
        reply[at + 1], reply[at + 2], reply[at + 3] = total, 0, count
    end

    if #put > 2 then
        redis.call(unpack(put))
    end

    return pack(unpack(reply))
end

local reply = ordinary()

if reply then
    return reply
end

local told_due = flags >= 256
local session_proof = flags % 256 >= 128
flags = flags % 128
local dry_run, exempt = flags % 2 == 1, flags % 4 >= 2
local unnamed, probe = flags % 8 >= 4, flags % 16 >= 8
local sync, tell = flags >= 16, flags % 64 >= 32
local npatients = #current / 8
local seen = sync and ARGV[8] or ''
local node_cleared, number = 0, 0

if sync then
    node_cleared, number = struct.unpack('<I8I8', ARGV[6])
end

if session == string.rep('\0', 8) then
    session = ''
end

-- each key with its fields, "held" by name once they are read

local keys = {}

for i = 1, nkeys do
    keys[i] = {name = KEYS[i], before = KEYS[nkeys + i], fields = {'@'},
               put = {}, ttl = 0, windows = {}}
end

local account = keys[1]

if flags < 64 then
    account.fields = {'@', '!challenge', '!grants', '!cleared'}
    account.ttl = math.max(grants_window, memory)

    if session_proof then
        account.fields[#account.fields + 1] = '!due'
    end
end

local limits = {}

for i = 1, nlimits do
    local at = STATED * (i - 1)
    local signal = stated[at + 1]
    local limit = {signal = signal,
                   set = signal == PATIENTS or signal >= ADDRESSES,
                   action = stated[at + 2], key = keys[stated[at + 3]],
                   window = stated[at + 4], count = stated[at + 5],
                   factor = stated[at + 6], floor = stated[at + 7],
                   state = stated[at + 8], more = sync and ARGV[8 + i]}
    limits[#limits + 1] = limit

    if limit.key then
        local key = limit.key
        key.fields[#key.fields + 1] = limit.state
        key.ttl = math.max(key.ttl, limit.window)

        if limit.factor > 0 and not sync then
            key.fields[#key.fields + 1] = '^' .. limit.state
            key.ttl = math.max(key.ttl, KEPT * DAY)
        end
    end
end

local asked = {}

local function ask(aliases, step)
    for at = 1, #aliases, step do
        local field = field_of(string.sub(aliases, at, at))
        if not asked[field] then
            asked[field] = true
            account.fields[#account.fields + 1] = field
        end
    end
end

if memory > 0 then
    account.fields[#account.fields + 1] = '~'
    ask(current, 8)
    ask(previous, 8)
    ask(seen, 13)
end

local function read(key)
    local values = redis.call('HMGET', key.name, unpack(key.fields))
    local found = false
    key.held = {}
    for i, field in ipairs(key.fields) do
        if values[i] then
            key.held[field] = values[i]
            found = true
        end
    end
    return found
end

for _, key in ipairs(keys) do
    if not read(key) and key.before
       and redis.call('EXISTS', key.name) == 0
       and redis.call('EXISTS', key.before) == 1
    then
        redis.call('RENAME', key.before, key.name)
        read(key)
    end
end

local held, put = account.held, account.put

-- what a session has told last: a later call of an older number is void

local function told_last(key, name)
    for at = 1, #key.sessions, 16 do
        if string.sub(key.sessions, at, at + 7) == name then
            return struct.unpack('<I8', key.sessions, at + 8), at
        end
    end
    return 0, nil
end

local function tell_last(key, name, number)
    local _, at = told_last(key, name)

    if at then
        key.sessions = string.sub(key.sessions, 1, at - 1)
                       .. string.sub(key.sessions, at + 16)
    end

    -- of too many, the one that was not heard of for longest has gone

    key.sessions = string.sub(key.sessions, -16 * (SESSIONS - 1)) .. name
                   .. struct.pack('<I8', number)
    key.put['@'] = key.sessions
end

for _, key in ipairs(keys) do
    local sessions = key.held['@']
    key.sessions = sessions and #sessions % 16 == 0 and sessions or ''
end

local last = 0

if session ~= '' then
    for _, key in ipairs(keys) do
        last = math.max(last, (told_last(key, session)))
    end
end

if not sync and session ~= '' and nonce <= last and last < 2 ^ 53 then
    return struct.pack(REPLY, ARGV[1], 8, #limits, 0, 0, 0, 0, 0, 0)
           .. string.rep('\0', 16 * #limits)
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

local function open(key, state, length, set)
    local value = key.held[state]
    local slice = math.floor(now * SLICES / length)
    local window = {length = length, newest = slice, state = state}

    key.windows[#key.windows + 1] = window

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
        window.changed = true
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
    return at_of(set, alias, 1, 8)
end

-- where the set has the one of that number, under either key

local function known(set, one, current, previous)
    local from, to = 8 * one - 7, 8 * one
    return find(set, string.sub(current, from, to))
           or previous ~= '' and find(set, string.sub(previous, from, to))
end

-- whom a limit counts, under either key

local function subjects(limit)
    local from = PER[limit.signal]

    if from and records == 0 and npatients == 0 then
        return '', ''
    elseif from then
        from = from + SUBJECTS - 1
        return string.sub(ARGV[1], from, from + 7),
               #KEYS > nkeys and string.sub(ARGV[1], from + 16, from + 23)
               or ''
    end

    return current, previous
end

-- Is the whole set to be taken apart for them?  Or else it is searched and copied
-- for each one, by Redis' own C, which is a thousand times as fast as Lua is.

local function many(n, total)
    return n > FEW and n > total / PART
end

-- how many of them the set does not have

local function strangers(limit, set)
    local current, previous = subjects(limit)
    local cost, there, n = 0, nil, #current / 8

    if many(n, #set / 8) then
        there = {}
        for at = 1, #set, 8 do
            there[string.sub(set, at, at + 7)] = true
        end
    end

    for one = 1, n do
        local from, to = 8 * one - 7, 8 * one
        local had

        if there then
            had = there[string.sub(current, from, to)]
                  or previous ~= '' and there[string.sub(previous, from, to)]
        else
            had = known(set, one, current, previous)
        end

        cost = cost + (had and 0 or 1)
    end

    return cost
end

-- the memory: whom the account knows

local month, buckets, malformed = nil, {}, false

local function since_slice(byte, newest)
    return newest - (newest - byte) % 256
end

local function read_bucket(field)
    local bucket, value = {text = ''}, held[field]

    buckets[field] = bucket

    if not value then
        return bucket
    end

    if #value % 4 ~= 0 or #value < 4 or #value > 4 + 4 * BUCKET then
        malformed = true
        return bucket
    end

    local newest = struct.unpack('<I4', value)

    bucket.text = string.sub(value, 5)

    if newest ~= month then
        local kept = {}

        for at = 1, #bucket.text, 4 do
            local slice = since_slice(string.byte(bucket.text, at + 3),
                                      newest)
            slice = math.min(slice, month)
            if slice + SLICES >= month then
                kept[#kept + 1] = string.sub(bucket.text, at, at + 2)
                                  .. string.char(slice % 256)
            end
        end

        bucket.text, bucket.changed = table.concat(kept), true
    end

    return bucket
end

if memory > 0 then
    local newest = held['~'] and #held['~'] == 4
                   and struct.unpack('<I4', held['~'])

    month = math.floor(now * SLICES / memory)

    if newest and month < newest and newest - month <= SLICES then
        month = newest
    end

    if newest and month ~= newest then
        put['~'] = struct.pack('<I4', month)
    end

    for field in pairs(asked) do
        read_bucket(field)
    end
end

local function place_in(bucket, print)
    return at_of(bucket.text, print, 1, 4)
end

local function knows(alias)
    return place_in(buckets[field_of(alias)], print_of(alias))
end

local function remember(alias, slice)
    local bucket, print = buckets[field_of(alias)], print_of(alias)
    local text, at = bucket.text, place_in(bucket, print)

    if at then
        if since_slice(string.byte(text, at + 3), month) >= slice then
            return
        end

        bucket.text = string.sub(text, 1, at + 2)
                      .. string.char(slice % 256) .. string.sub(text, at + 4)

    else
        if #text >= 4 * BUCKET then
            local oldest, place = nil, 1

            for entry = 1, #text, 4 do
                local last = since_slice(string.byte(text, entry + 3), month)
                if not oldest or last < oldest then
                    oldest, place = last, entry
                end
            end

            text = string.sub(text, 1, place - 1)
                   .. string.sub(text, place + 4)
        end

        bucket.text = text .. print .. string.char(slice % 256)
    end

    bucket.changed = true
end

local novel = 0

if memory > 0 and not sync then
    for one = 1, npatients do
        local from, to = 8 * one - 7, 8 * one

        if not knows(string.sub(current, from, to))
           and not (previous ~= '' and knows(string.sub(previous, from, to)))
           and string.sub(ARGV[6], one, one) ~= '1'
        then
            novel = novel + 1
        end
    end
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

local function charge_many(window, cap, current, previous)
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

local function charge_set(window, limit)
    local cap = math.min(2 * limit.count, 4294967295)
    local current, previous = subjects(limit)
    local n = #current / 8

    if many(n, window.total) then
        return charge_many(window, cap, current, previous)
    end

    local counts, set = window.counts, window.set
    local newest = window.newest % (SLICES + 1) + 1
    local added = {}

    for one = 1, n do
        local alias = string.sub(current, 8 * one - 7, 8 * one)
        local at = known(set, one, current, previous)

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

    if many(#told, window.total) then
        add_patients(window, told, cap, {})
    else
        for _, one in ipairs(told) do
            add_patient(window, one[1], one[2], cap)
        end
    end
end

-- what is usual for the account; see ngx_patient_guard_habit.c

local function habit_of(limit)
    local value = account.held['^' .. limit.state]
    local day = math.floor(now / DAY)
    local habit = {day = 0, peak = 0, weeks = {}}

    if value then
        if #value ~= 8 + 4 * WEEKS then
            return nil
        end
        habit.day, habit.peak = struct.unpack('<I4I4', value)
        habit.weeks = {struct.unpack('<' .. string.rep('I4', WEEKS), value,
                                     9)}
    end

    for slot = 1, WEEKS do
        habit.weeks[slot] = habit.weeks[slot] or 0
    end

    if habit.day == day
       or habit.day > day and habit.day - day <= 7 * WEEKS
    then
        return habit
    end

    local week, this = math.floor(habit.day / 7), math.floor(day / 7)

    if day > habit.day and habit.peak > 0 then
        local slot = week % WEEKS + 1
        habit.weeks[slot] = habit.weeks[slot] + 8 * habit.peak + 1
    end

    local fresh = day > habit.day and math.min(this - week, WEEKS) or WEEKS

    for n = 0, fresh - 1 do
        habit.weeks[(this - n) % WEEKS + 1] = 0
    end

    habit.day, habit.peak, habit.changed = day, 0, true

    return habit
end

local function usual(limit, habit)
    local week, sum, days = math.floor(habit.day / 7), 0, 0

    for n = LAST, FIRST do
        local one = habit.weeks[(week - n) % WEEKS + 1]
        sum = sum + math.floor(one / 8)
        days = days + one % 8
    end

    if days < (limit.window < 7 * DAY and WORKED or MORE) then
        return limit.count
    end

    return math.min(limit.count,
                    math.max(limit.floor,
                             math.ceil(limit.factor * sum / (1000 * days))))
end

for _, limit in ipairs(limits) do
    limit.holds = limit.count

    if limit.factor > 0 and not sync then
        limit.habit = habit_of(limit)
        if not limit.habit then
            return redis.error_reply('PGSTATE malformed habit')
        end
        limit.holds = usual(limit, limit.habit)
    end
end

local windows = {}

for i, limit in ipairs(limits) do
    if limit.key then
        windows[i] = open(limit.key, limit.state, limit.window, limit.set)
        if not windows[i] then
            return redis.error_reply('PGSTATE malformed value of '
                                     .. limit.state)
        end
    end
end

local grants = open(account, '!grants', grants_window, false)
local since, challenger = nil, ''
local challenge, passing = held['!challenge'], held['!cleared']

if challenge and #challenge >= 8 then
    since, challenger = struct.unpack('<I8', challenge),
                        string.sub(challenge, 9)
end

-- a challenge that was passed: sessions that have not proved themselves since

local due = {since = 0, ends = 0, by = ''}

if held['!due'] and #held['!due'] >= 12 then
    due.since, due.ends = struct.unpack('<I8I4', held['!due'])
    due.by = string.sub(held['!due'], 13)
elseif held['!due'] then
    malformed = true
end

if not grants or challenge and not since or malformed then
    return redis.error_reply('PGSTATE malformed challenge or memory')
end

local cleared = passing and #passing == 8 and struct.unpack('<I8', passing)
                or 0
local whole = cleared < 2 ^ 53 and (not since or since < 2 ^ 53)
              and due.since < 2 ^ 53

for _, key in ipairs(keys) do
    for at = 9, #key.sessions, 16 do
        whole = whole and struct.unpack('<I8', key.sessions, at) < 2 ^ 53
    end
end

if not whole then
    return redis.error_reply('PGSTATE malformed time or number')
end

-- a challenge that Redis has lost, or was never told: not one passed since

local opened = false

if not since and not told_due and told_since > cleared then
    since, challenger, opened = told_since, ARGV[5], true
end

-- a clock that ran ahead: no challenge is of the future, nor an old proof
-- good for it

if since and since > now + SKEW then
    since, opened = math.max(now, proof), true
end

-- a proof given after the challenge: the limits that challenge start afresh

local function write_due()
    put['!due'] = struct.pack('<I8I4', due.since, due.ends) .. due.by
end

if due.since > 0 and due.ends <= math.floor(now / 1000) then
    redis.call('HDEL', KEYS[1], '!due')
    due = {since = 0, ends = 0, by = ''}
elseif due.since > now + SKEW then
    due.since = now
    write_due()
end

-- of two the later one, as long as a grant of now is held

local function add_due(since, by)
    local slice = math.floor(now * SLICES / grants_window)
    local ends = math.ceil((slice + SLICES + 1) * grants_window / SLICES)

    due.ends = math.max(due.ends, math.ceil(ends / 1000))

    if since > due.since then
        due.since, due.by = since, by
    end

    write_due()
end

if told_due and session_proof and told_since > due.since
   and told_since <= now + SKEW
then
    add_due(told_since, ARGV[5])
end

local grants_wait = wait(grants, 1, grants_count)
local passed = since and proof > since and grants_wait == 0

if passed then
    cleared = math.max(now, since, cleared + 1)
    put['!cleared'] = struct.pack('<I8', cleared)

    if session_proof then
        add_due(since, challenger)
    end

    since, opened = nil, false
    redis.call('HDEL', KEYS[1], '!challenge')

    for i, limit in ipairs(limits) do
        if limit.action == CHALLENGE and limit.key == account then
            windows[i].newest = math.floor(now * SLICES / limit.window)
            empty(windows[i])
            windows[i].changed = true
        end
    end

    charge_count(grants, grants.newest, 1)
    grants.changed = true
    grants_wait = wait(grants, 1, grants_count)
end

local unproved = session_proof and not sync and not since
                 and due.since > 0 and proof <= due.since

if not since then
    challenger = due.since > 0 and due.by or ''
end

local charged = false
local superseded = false
local rooms = {}

-- a miss shows in the response: room for one is wanted all the same

local function cost_of(limit, window)
    if limit.signal == LOOKUPS then
        return records
    elseif limit.signal == NEW then
        return novel
    elseif limit.signal == MISSES then
        return 1
    end
    return strangers(limit, window.set)
end

-- what all share and an account can't make room in: who has passed a challenge
-- is not challenged by it again, as long as that grant is held

local function excused(limit)
    return limit.key ~= account and limit.action == CHALLENGE
           and grants.total > 0
end

local function weigh()
    local refuse = since and true or unproved

    for i, limit in ipairs(limits) do
        local window = windows[i]
        local cost = window and cost_of(limit, window) or 0

        rooms[i] = cost == 0 and 0 or wait(window, cost, limit.holds)

        if rooms[i] > 0 and excused(limit) then
            rooms[i] = 0
        end

        if rooms[i] > 0 and limit.action > LOG then
            refuse = true

            if limit.action == CHALLENGE and not since and not unproved
               and not exempt and not dry_run
            then
                since, challenger = math.max(now, proof), limit.state
                opened = true
            end
        end
    end

    return refuse
end

local function charge_limit(limit, window)
    window.changed = true

    if unnamed and (limit.signal == PATIENTS or limit.signal == NEW) then
        return
    elseif limit.set then
        charge_set(window, limit)
    elseif limit.signal == LOOKUPS then
        charge_count(window, window.newest, records)
    elseif limit.signal == NEW then
        charge_count(window, window.newest, novel)
    end

    local habit = limit.habit

    if habit and window.total > habit.peak then
        habit.peak, habit.changed = math.min(window.total, PEAK), true
    end
end

local function charge()
    for i, limit in ipairs(limits) do
        if windows[i] then
            charge_limit(limit, windows[i])
        end
    end

    if memory > 0 and not unnamed then
        for at = 1, #current, 8 do
            remember(string.sub(current, at, at + 7), month)
        end
    end

    if session ~= '' then
        for _, key in ipairs(keys) do
            tell_last(key, session, nonce)
        end
    end
end

-- what the node counted before a challenge that has been passed since is not
-- counted against the limits that challenge

local stale = sync and flags < 64 and node_cleared < cleared

local function takes(i, limit)
    return windows[i] and not (stale and limit.action == CHALLENGE)
end

-- whom the node has seen: new are those of whom nobody has told before

local function take_seen()
    for at = 1, #seen, 13 do
        local alias = string.sub(seen, at, at + 7)
        local when, new = struct.unpack('<I4B', seen, at + 8)

        if new == 1 and not knows(alias) then
            novel = novel + 1

            for i, limit in ipairs(limits) do
                if limit.signal == NEW and takes(i, limit) then
                    add_count(windows[i], math.floor(when * 1000 * SLICES
                                                     / limit.window), 1)
                    windows[i].changed = true
                end
            end
        end

        local slice = math.floor(when * 1000 * SLICES / memory)

        if slice + SLICES >= month then
            remember(alias, math.min(slice, month))
        end
    end
end

-- of a call that was charged by a node and not answered

local function take_doubt(when, records, novel)
    for i, limit in ipairs(limits) do
        local count = limit.signal == LOOKUPS and records
                      or limit.signal == NEW and flags >= 64 and novel or 0

        if count > 0 and takes(i, limit) then
            add_count(windows[i], math.floor(when * SLICES / limit.window),
                      count)
            windows[i].changed = true
        end
    end
end

local function take()
    local counted = number > last

    superseded = number > 0 and not counted

    for i, limit in ipairs(limits) do
        if limit.more ~= '' and takes(i, limit) then
            add_window(windows[i], limit, counted)
            windows[i].changed = true
        end
    end

    if number > 0 and counted then
        tell_last(account, session, number)
    end

    for at = 1, #ARGV[7], 32 do
        local by, of, when, records, novel =
            struct.unpack('<c8I8I8I4I4', ARGV[7], at)

        if of > told_last(account, by) then
            take_doubt(when, records, novel)
            tell_last(account, by, of)
        end
    end

    if memory > 0 then
        take_seen()
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

for _, key in ipairs(keys) do
    for _, window in ipairs(key.windows) do
        if window.changed then
            key.put[window.state] = image(window) .. window.set
        end
    end
end

for field, bucket in pairs(buckets) do
    if bucket.changed then
        put[field] = struct.pack('<I4', month) .. bucket.text
        put['~'] = struct.pack('<I4', month)
    end
end

for _, limit in ipairs(limits) do
    local habit = limit.habit

    if habit and habit.changed then
        put['^' .. limit.state] =
            struct.pack('<I4I4' .. string.rep('I4', WEEKS), habit.day,
                        habit.peak, unpack(habit.weeks, 1, WEEKS))
    end
end

if opened then
    put['!challenge'] = struct.pack('<I8', since) .. challenger
end

-- a node that does not know of the longest window yet must not cut it short;
-- with a pass the challenge's lapse ends

for _, key in ipairs(keys) do
    local values = {}

    for field, value in pairs(key.put) do
        values[#values + 1] = field
        values[#values + 1] = value
    end

    local challenged = since and key == account

    if #values > 0 then
        local ttl = math.ceil(key.ttl + key.ttl / SLICES) + 1000
        if challenged then
            ttl = LAPSE
        elseif not (passed and key == account) then
            ttl = math.max(ttl, redis.call('PTTL', key.name))
        end
        redis.call('HSET', key.name, unpack(values))
        redis.call('PEXPIRE', key.name, ttl)

    elseif challenged and redis.call('PTTL', key.name) < LAPSE / 2 then
        redis.call('PEXPIRE', key.name, LAPSE)
    end
end

local by = #limits

for i, limit in ipairs(limits) do
    if limit.state == challenger then
        by = i - 1
    end
end

local reply = {struct.pack(REPLY, ARGV[1],
                           (charged and 1 or 0) + (since and 2 or 0)
                           + (passed and 4 or 0) + (superseded and 8 or 0)
                           + (unproved and 16 or 0), by, novel, grants_wait,
                           since or 0, cleared, due.since,
                           due.since > 0 and due.ends or 0)}

if sync then
    local left = tell and TELL or 0

    for i = 1, #limits do
        local window = windows[i]

        if window then
            local n = limits[i].set and math.min(window.total, left) or 0

            left = left - n
            reply[#reply + 1] = image(window) .. struct.pack('<I4', n)
            reply[#reply + 1] = n > 0 and string.sub(window.set, -8 * n) or ''
        end
    end

    return table.concat(reply)
end

for i = 1, #limits do
    reply[#reply + 1] = struct.pack('<I4I8I4',
                                    windows[i] and windows[i].total or 0,
                                    rooms[i], limits[i].holds)
end

return table.concat(reply)
